//! Active users: sets of users in bits, by the spans that sums across users are read in.
//!
//! A user was there when he has a record, taken back or not. Bits are therefore only ever added, and it does not matter who
//! adds them, when, and how often.

use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;

use super::{sources::ROLLED_UP_ONLY, value};

/// Who is there in the pieces that [`of_all`](super::sources::of_all) cuts the buckets into, as rows with a place and
/// dimensions (both by `placed`): of a `thousand` numbers the bits of `users`, or the name of a `stranger`, who has no
/// number yet.
///
/// Piece by piece (`OFFSET 0` keeps it so): the other way round, every row beside all pieces, looks as cheap to a planner that
/// does not know how many pieces there are. The notes are read whole, by their key, as the deltas of sums are.
///
/// Quarters at the ends of buckets, the edges of the window and what is still to be noted come from the sums of each user.
pub(super) fn present(placed: &str) -> String {
    format!(
        ", seen AS (
    SELECT {placed}, user_id
    FROM (
        SELECT at, event_type, model, provider, tool, user_id FROM edges WHERE records > 0
        UNION ALL
        SELECT sums.* FROM pieces CROSS JOIN LATERAL (
            SELECT bucket, event_type, model, provider, tool, user_id FROM usage.rollups_15m
            WHERE bucket >= low AND bucket < high AND {ROLLED_UP_ONLY} OFFSET 0) AS sums
        WHERE pieces.hours = 0
        UNION ALL
        SELECT bucket, event_type, model, provider, tool, user_id FROM usage.presence_deltas
        WHERE user_id >= '' AND bucket >= (SELECT bucket_from FROM span) AND bucket < (SELECT bucket_until FROM span)
          AND {ROLLED_UP_ONLY}) AS few
    GROUP BY 1, 2, 3, 4, 5, 6
), present AS (
    SELECT {placed}, thousand, bit_or(users) AS users, NULL::text AS stranger
    FROM (
        SELECT sets.* FROM pieces CROSS JOIN LATERAL (
            SELECT bucket AS at, event_type, model, provider, tool, thousand, users FROM usage.presence
            WHERE presence.hours = pieces.hours AND bucket >= low AND bucket < high AND {ROLLED_UP_ONLY} OFFSET 0) AS sets
        WHERE pieces.hours > 0) AS spans
    GROUP BY 1, 2, 3, 4, 5, 6
    UNION ALL
    SELECT place, event_type, model, provider, tool, number >> 10, bit_or(set_bit(0::bit(1024), number & 1023, 1)),
           CASE WHEN number IS NULL THEN user_id END
    FROM seen LEFT JOIN usage.user_numbers USING (user_id)
    GROUP BY 1, 2, 3, 4, 5, 6, 8
)"
    )
}

/// Moves at most `rows_max` notes of single transactions, who came to which quarter of an hour, into the sets of users that
/// users are counted from; answers how many. When it is as many as were asked for, there may be more.
///
/// Users without a number get one first. As [`fold_deltas`](crate::fold_deltas) in all else.
///
/// # Errors
/// [`DbError`]; then nothing was moved.
pub async fn fold(conn: &mut AsyncPgConnection, rows_max: i64) -> Result<i64, DbError> {
    pg::sql(NUMBER).bind::<BigInt, _>(rows_max).execute(conn).await?;
    value(conn, pg::sql(FOLD).bind::<BigInt, _>(rows_max)).await
}

/// Whoever has a number is left out first: each row that conflicts would use one up.
const NUMBER: &str = "
INSERT INTO usage.user_numbers (user_id)
SELECT DISTINCT user_id FROM (SELECT user_id FROM usage.presence_deltas ORDER BY user_id, id LIMIT $1) AS came
WHERE NOT EXISTS (SELECT FROM usage.user_numbers AS known WHERE known.user_id = came.user_id)
ORDER BY user_id ON CONFLICT (user_id) DO NOTHING";

/// One statement, hence one snapshot before and one after: a reader finds each delta either still there, or in all its spans.
/// Workers pass over one another's deltas, and add in the order of the keys. A set that has them all already is left alone.
/// Taken rows are found again by their place, as in the fold of sums.
const FOLD: &str = "
WITH taken AS MATERIALIZED (
    SELECT ctid AS place FROM usage.presence_deltas AS delta
    WHERE EXISTS (SELECT FROM usage.user_numbers AS known WHERE known.user_id = delta.user_id)
    ORDER BY user_id, id LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM usage.presence_deltas WHERE ctid = ANY (ARRAY(SELECT place FROM taken)) RETURNING *
), added AS (
    INSERT INTO usage.presence AS sets (hours, bucket, event_type, model, provider, tool, thousand, users)
    SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS begins, event_type,
           model, provider, tool, number >> 10 AS thousand, bit_or(set_bit(0::bit(1024), number & 1023, 1))
    FROM gone JOIN usage.user_numbers USING (user_id) CROSS JOIN unnest('{1,4,24}'::int[]) AS span (hours)
    GROUP BY span.hours, begins, event_type, model, provider, tool, thousand
    ORDER BY span.hours, begins, event_type, model, provider, tool, thousand
    ON CONFLICT (hours, bucket, event_type, model, provider, tool, thousand) DO UPDATE SET users = sets.users | excluded.users
    WHERE bit_count(excluded.users & ~sets.users) > 0
)
SELECT count(*) AS deltas FROM gone";

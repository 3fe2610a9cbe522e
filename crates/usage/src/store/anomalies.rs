//! Spending by the hour, from the roll-ups, and `usage.anomalies`.

use diesel::sql_types::{Array, BigInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CreditsSum, UserId};
use pg::DbError;
use time::OffsetDateTime;

use super::{sources::sum, values};
use crate::{Anomaly, AnomalyRule};

/// Users who were charged enough in an hour.
pub(crate) async fn spenders(
    conn: &mut AsyncPgConnection,
    hour: OffsetDateTime,
    rule: AnomalyRule,
    limit: i64,
) -> Result<Vec<UserId>, DbError> {
    let sql = pg::sql(SPENDERS)
        .bind::<Timestamptz, _>(hour)
        .bind::<BigInt, _>(rule.least.micro())
        .bind::<BigInt, _>(limit);
    values(conn, sql).await
}

/// Claims the hour for those of the users whose spending is odd.
pub(crate) async fn note(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    hour: OffsetDateTime,
    rule: AnomalyRule,
    hours_min: i64,
    users: &[UserId],
) -> Result<Vec<Anomaly>, DbError> {
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    let rows: Vec<AnomalyRow> = pg::sql(NOTE)
        .bind::<Array<Text>, _>(users)
        .bind::<Timestamptz, _>(hour)
        .bind::<BigInt, _>(rule.least.micro())
        .bind::<BigInt, _>(hours_min)
        .bind::<BigInt, _>(i64::from(rule.factor))
        .bind::<Timestamptz, _>(now)
        .load(conn)
        .await?;
    let anomaly = |row: AnomalyRow| {
        Ok(Anomaly {
            user_id: row.user_id,
            hour,
            spent: CreditsSum::from_micro(sum("credits of an hour", &row.spent)?),
            usual: CreditsSum::from_micro(sum("credits of usual hours", &row.usual)?),
        })
    };
    rows.into_iter().map(anomaly).collect()
}

/// Forgets claims of long ago.
pub(crate) async fn forget(
    conn: &mut AsyncPgConnection,
    before: OffsetDateTime,
    rows_max: i64,
) -> Result<usize, DbError> {
    let gone =
        pg::sql(FORGET).bind::<Timestamptz, _>(before).bind::<BigInt, _>(rows_max).execute(conn).await?;
    Ok(gone)
}

/// The roll-ups of one hour, of everybody.
const SPENDERS: &str = "
SELECT user_id FROM (
    SELECT user_id, sum(credits_charged) AS spent FROM usage.rollups_15m
    WHERE bucket >= $1 AND bucket < $1 + interval '1 hour'
    GROUP BY user_id HAVING sum(credits_charged) >= greatest($2, 1)) AS spending
WHERE NOT EXISTS (SELECT FROM usage.anomalies AS noted WHERE noted.user_id = spending.user_id AND noted.hour = $1)
ORDER BY spent DESC, user_id LIMIT $3";

/// The roll-ups of a week of each user, by the primary key. Claims are made in the order of the key, so that two workers wait
/// for one another at most; who comes second finds the claim and answers nothing.
const NOTE: &str = "
WITH odd AS MATERIALIZED (
    SELECT asked.user_id, spent, usual
    FROM unnest($1) AS asked (user_id) CROSS JOIN LATERAL (
        SELECT sum(charged) FILTER (WHERE hour = $2) AS spent, count(*) FILTER (WHERE hour < $2) AS hours,
               percentile_disc(0.5) WITHIN GROUP (ORDER BY charged) FILTER (WHERE hour < $2) AS usual
        FROM (
            SELECT date_bin('1 hour', bucket, '2000-01-01 00:00:00+00') AS hour, sum(credits_charged) AS charged
            FROM usage.rollups_15m AS sums
            WHERE sums.user_id = asked.user_id COLLATE \"C\"
              AND bucket >= $2 - interval '168 hours' AND bucket < $2 + interval '1 hour'
            GROUP BY 1 HAVING sum(credits_charged) > 0) AS hourly) AS found
    WHERE spent >= $3 AND hours >= $4 AND spent > $5 * usual
), claimed AS (
    INSERT INTO usage.anomalies (user_id, hour, noted_at) SELECT user_id, $2, $6 FROM odd ORDER BY user_id
    ON CONFLICT (user_id, hour) DO NOTHING RETURNING user_id
)
SELECT odd.user_id, spent::text AS spent, usual::text AS usual
FROM odd JOIN claimed ON claimed.user_id = odd.user_id COLLATE \"C\" ORDER BY odd.user_id";

const FORGET: &str = "
DELETE FROM usage.anomalies WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage.anomalies WHERE hour < $1 LIMIT $2))";

struct AnomalyRow {
    user_id: UserId,
    spent: String,
    usual: String,
}
pg::read_columns! { AnomalyRow: { user_id, spent, usual } }

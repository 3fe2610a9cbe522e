//! Where sums come from: whole quarters of an hour from roll-ups, the edges of the window from the records themselves.
//!
//! The parts of statements below are put together once. All of them take the same nine values, in this order:
//! user (absent in sums across users), first instant, end, event type, model, provider, tool, session, class of the caller. One
//! statement has one snapshot, so what a transaction adds is found in the roll-ups and at the edges, or at neither.
//!
//! Plans are made without the values (docs/adr/0008). A bare `($4 IS NULL OR ..)` would count as rare, four of them as never,
//! and many rows would be sorted that are better hashed; a CASE the planner takes for even.

use diesel::sql_types::{Nullable, Text, Timestamptz};
use kernel::{CallerClass, UserId};
use pg::{DbError, Sql};

use crate::{Coverage, Selection, core::window::Window};

/// The span of quarters that roll-ups answer (`bucket_from` up to `bucket_until`) and the two edges (`first` up to
/// `low_until`, `high_from` up to `last`).
///
/// A window within one quarter is all edge, and so is any window that asks for a session or a class of callers. An edge in a
/// month whose records were dropped gives way to the whole quarter, which `coverage` shows.
const SPAN: &str = "
WITH quarters AS (
    SELECT CASE WHEN $8::text IS NOT NULL OR $9::text IS NOT NULL THEN 'infinity' WHEN $2::timestamptz IS NULL THEN '-infinity'
                WHEN $2 < dropped_before THEN date_bin('15 minutes', $2, '2000-01-01 00:00:00+00')
                ELSE date_bin('15 minutes', $2 + interval '899.999999 seconds', '2000-01-01 00:00:00+00')
           END AS bucket_from,
           CASE WHEN $8::text IS NOT NULL OR $9::text IS NOT NULL THEN '-infinity' WHEN $3::timestamptz IS NULL THEN 'infinity'
                WHEN $3 > dropped_before THEN date_bin('15 minutes', $3, '2000-01-01 00:00:00+00')
                ELSE date_bin('15 minutes', $3 + interval '899.999999 seconds', '2000-01-01 00:00:00+00')
           END AS bucket_until,
           coalesce($2, '-infinity') AS first, coalesce($3, 'infinity') AS last, dropped_before
    FROM usage.retention WHERE one
), span AS MATERIALIZED (
    SELECT bucket_from, bucket_until, first, last,
           CASE WHEN bucket_from < bucket_until THEN bucket_from ELSE last END AS low_until,
           CASE WHEN bucket_from < bucket_until THEN bucket_until ELSE last END AS high_from,
           CASE WHEN $8::text IS NULL AND $9::text IS NULL THEN CASE WHEN bucket_from < first OR bucket_until > last THEN 1 ELSE 0 END
                WHEN first < dropped_before THEN 2 ELSE 0 END AS coverage
    FROM quarters
)";

/// The condition on the rows of roll-ups.
pub(super) const ROLLED_UP_ONLY: &str =
    "CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR (model = $5 AND model <> ''))
                AND ($6::text IS NULL OR (provider = $6 AND provider <> '')) AND ($7::text IS NULL OR (tool = $7 AND tool <> ''))
               THEN true ELSE false END";

/// Credits deducted for a `record`. A correction takes back those of its record, which is found by its key.
pub(super) const DEDUCTED: &str =
    "CASE WHEN charge_seq IS NOT NULL THEN credits_charged - credits_uncollected
                WHEN correction_of IS NULL THEN 0
                ELSE coalesce((
                    SELECT taken.credits_uncollected - taken.credits_charged FROM usage.records AS taken
                    WHERE taken.user_id = record.user_id AND taken.occurred_at = record.occurred_at
                      AND taken.id = record.correction_of AND taken.charge_seq IS NOT NULL), 0) END";

/// The parts of one user.
pub(super) fn of_user() -> String {
    let (edges, rolled_up) =
        (edges("user_id = $1 AND"), rolled_up("user_id", "rollups_15m", "user_id = $1 AND"));
    format!("{SPAN}{edges}, parts AS ({rolled_up} UNION ALL SELECT * FROM edges)")
}

/// The parts of all users, each with its user.
pub(super) fn of_each() -> String {
    let (edges, rolled_up) = (edges(""), rolled_up("user_id", "rollups_15m", ""));
    format!("{SPAN}{edges}, parts AS ({rolled_up} UNION ALL SELECT * FROM edges)")
}

/// [`of_all_in`] one bucket, which is the window.
pub(super) fn of_all_at_once() -> String {
    of_all_in("SELECT bucket_from AS low, bucket_until AS high FROM span")
}

/// [`of_all_in`] buckets whose beginnings are `$10`, the first of them that of the window. In zones of long ago they may begin
/// within a quarter, which then belongs to the bucket that its beginning lies in.
pub(super) fn of_all() -> String {
    of_all_in(
        "
        SELECT CASE WHEN nth = 1 THEN bucket_from ELSE greatest(begins, bucket_from) END AS low,
               least(coalesce(lead(begins) OVER (ORDER BY nth), 'infinity'), bucket_until) AS high
        FROM span, (
            SELECT nth, date_bin('15 minutes', start + interval '899.999999 seconds', '2000-01-01 00:00:00+00') AS begins
            FROM unnest($10::timestamptz[]) WITH ORDINALITY AS given (start, nth)) AS starts",
    )
}

/// The parts of all users, without telling whose they are.
///
/// The deltas are read whole, by their key: a scan without an index is so dear in these sessions that beside it the planner
/// sees no difference between good and bad plans for the rest. The row of `retention` is read by its key for the same reason.
fn of_all_in(buckets: &str) -> String {
    format!(
        "{SPAN}{}{}, parts AS ({} UNION ALL{} UNION ALL{} UNION ALL SELECT * FROM edges)",
        edges(""),
        pieces(buckets),
        in_pieces("rollups_all_hours", "sums.hours = pieces.hours AND ", "> 0"),
        in_pieces("rollups_all", "", "= 0"),
        rolled_up("''", "rollup_deltas", "id > 0 AND"),
    )
}

/// Rows of a table of roll-ups that lie in the span; `owner` narrows them further.
fn rolled_up(user: &str, table: &str, owner: &str) -> String {
    format!(
        "
    SELECT bucket AS at, {user} AS user_id, event_type, model, provider, tool, records, tokens_used, prompt_tokens, completion_tokens,
           credits_charged, credits_deducted, cost_usd
    FROM usage.{table} WHERE {owner} bucket >= (SELECT bucket_from FROM span) AND bucket < (SELECT bucket_until FROM span)
      AND {ROLLED_UP_ONLY}"
    )
}

/// Records at both edges, in the shape of roll-ups.
///
/// Materialized, because they are few and the planner expects many: what it thinks they cost would drown the difference
/// between hashing and sorting all the rest.
fn edges(owner: &str) -> String {
    let (low, high) = (edge(owner, "first", "low_until"), edge(owner, "high_from", "last"));
    format!(", edges AS MATERIALIZED ({low} UNION ALL{high})")
}

fn edge(owner: &str, from: &str, until: &str) -> String {
    format!(
        "
    SELECT occurred_at AS at, user_id, event_type, coalesce(model_name, '') AS model, coalesce(provider, '') AS provider,
           coalesce(tool_name, '') AS tool, sign::bigint AS records, tokens_used, prompt_tokens, completion_tokens, credits_charged,
           {DEDUCTED} AS credits_deducted, cost_usd
    FROM usage.records AS record
    WHERE {owner} occurred_at >= (SELECT {from} FROM span) AND occurred_at < (SELECT {until} FROM span)
      AND CASE WHEN ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR model_name = $5) AND ($6::text IS NULL OR provider = $6)
                AND ($7::text IS NULL OR tool_name = $7) AND ($8::text IS NULL OR session_id = $8)
                AND ($9::text IS NULL OR recorded_by = $9)
               THEN true ELSE false END"
    )
}

/// The spans that sums across users are read in: of each bucket the whole days in the middle, towards its ends spans of
/// four hours, of one, and then quarters (0). They follow one another, so a month in any zone is some hundred spans at most.
///
/// `buckets` answers the buckets, as whole quarters from `low` up to `high`. Where no span of a length fits in, all of it
/// is left to the shorter ones: its beginning and end both become the end of those.
fn pieces(buckets: &str) -> String {
    format!(
        ", pieces AS MATERIALIZED (
    SELECT hours, piece.low, piece.high
    FROM ({buckets}) AS bucket,
    LATERAL (SELECT date_bin('1 hour', low + interval '3599.999999 seconds', '2000-01-01 00:00:00+00') AS low1,
                    date_bin('1 hour', high, '2000-01-01 00:00:00+00') AS high1) AS span1,
    LATERAL (SELECT CASE WHEN low1 < high1 THEN low1 ELSE high END AS from1,
                    CASE WHEN low1 < high1 THEN high1 ELSE high END AS until1) AS fit1,
    LATERAL (SELECT date_bin('4 hours', low + interval '14399.999999 seconds', '2000-01-01 00:00:00+00') AS low4,
                    date_bin('4 hours', high, '2000-01-01 00:00:00+00') AS high4) AS span4,
    LATERAL (SELECT CASE WHEN low4 < high4 THEN low4 ELSE until1 END AS from4,
                    CASE WHEN low4 < high4 THEN high4 ELSE until1 END AS until4) AS fit4,
    LATERAL (SELECT date_bin('1 day', low + interval '86399.999999 seconds', '2000-01-01 00:00:00+00') AS low24,
                    date_bin('1 day', high, '2000-01-01 00:00:00+00') AS high24) AS span24,
    LATERAL (SELECT CASE WHEN low24 < high24 THEN low24 ELSE until4 END AS from24,
                    CASE WHEN low24 < high24 THEN high24 ELSE until4 END AS until24) AS fit24,
    LATERAL (VALUES (0, low, from1), (1, from1, from4), (4, from4, from24), (24, from24, until24),
                    (4, until24, until4), (1, until4, until1), (0, until1, high)) AS piece (hours, low, high)
    WHERE piece.low < piece.high
)"
    )
}

/// Rows of a table of sums across users that lie in the pieces of `hours`.
fn in_pieces(table: &str, hours: &str, pieces: &str) -> String {
    format!(
        "
    SELECT bucket AS at, '' AS user_id, event_type, model, provider, tool, records, tokens_used, prompt_tokens,
           completion_tokens, credits_charged, credits_deducted, cost_usd
    FROM pieces JOIN usage.{table} AS sums ON {hours}bucket >= low AND bucket < high
    WHERE pieces.hours {pieces} AND {ROLLED_UP_ONLY}"
    )
}

type Texts = Nullable<Text>;
type Times = Nullable<Timestamptz>;

/// Binds what all statements of this kind take.
pub(super) fn ask<'a>(
    sql: &'static str,
    user: Option<&'a UserId>,
    window: Window,
    only: &'a Selection,
) -> Sql<'a> {
    pg::sql(sql)
        .bind::<Texts, _>(user.map(UserId::as_str))
        .bind::<Times, _>(window.start)
        .bind::<Times, _>(window.end)
        .bind::<Texts, _>(only.event_type.as_deref())
        .bind::<Texts, _>(only.model_name.as_deref())
        .bind::<Texts, _>(only.provider.as_deref())
        .bind::<Texts, _>(only.tool_name.as_deref())
        .bind::<Texts, _>(only.session_id.as_deref())
        .bind::<Texts, _>(only.recorded_by.map(CallerClass::as_str))
}

/// Reads the column `coverage` of the span.
pub(super) fn coverage(column: i32) -> Result<Coverage, DbError> {
    match column {
        0 => Ok(Coverage::Exact),
        1 => Ok(Coverage::WholeQuarters),
        2 => Ok(Coverage::KeptRecords),
        other => Err(DbError::Inconsistent(format!("coverage {other}"))),
    }
}

/// Reads an exact sum: 2^63 records of 64 bits add up to less than 128 bits.
pub(super) fn sum(of: &str, text: &str) -> Result<i128, DbError> {
    text.parse().map_err(|_| DbError::Inconsistent(format!("the sum of {of} reads {text}")))
}

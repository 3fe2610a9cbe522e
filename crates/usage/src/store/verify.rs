//! The rules of a range of time, asked of one snapshot.

use diesel::sql_types::{BigInt, Nullable, SmallInt, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;
use time::OffsetDateTime;

use super::{
    audits::{AUDITS_OF_DAYS, AUDITS_OF_HOURS},
    value,
};

/// Most sums of hours or days that are looked at to find where a range ends.
const SUMS_MAX: i64 = 10_000;

/// Content of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Whole hours: for what is compared by quarters.
    Hours,
    /// Whole days: for longer spans.
    Days,
}

/// A range of time.
#[derive(Debug)]
pub(crate) struct Range {
    of: Of,
    from: Option<OffsetDateTime>,
    /// Where it ends; `None` if there is nothing behind it.
    pub(crate) until: Option<OffsetDateTime>,
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule, for example `usage U1: roll-ups are the sums of records ...`.
    pub rule: &'static str,
    /// User of the sum; absent across users.
    pub user_id: Option<String>,
    /// The quarter of an hour, or the beginning of a longer span.
    pub at: Option<OffsetDateTime>,
    /// Description of the violation, with amounts in credits and dollars.
    pub detail: String,
}

/// Finding of a rule, without its name.
struct FoundRow {
    user_id: Option<String>,
    at: Option<OffsetDateTime>,
    detail: String,
}
pg::read_columns! { FoundRow: { user_id, at, detail } }

/// Returns the number of records, by the sums of days: near enough to show progress.
pub(crate) async fn records(conn: &mut AsyncPgConnection) -> Result<i64, DbError> {
    let sql = pg::sql(
        "SELECT coalesce(sum(records), 0)::bigint AS count FROM usage.rollups_all_hours \
         WHERE hours = 24 AND bucket >= (SELECT dropped_before FROM usage.retention WHERE one)",
    );
    value(conn, sql).await
}

/// Returns the number of records in a range.
pub(crate) async fn records_in(conn: &mut AsyncPgConnection, range: &Range) -> Result<i64, DbError> {
    let sql = pg::sql(
        "SELECT count(*) AS count FROM usage.records \
         WHERE occurred_at >= coalesce($1, '-infinity') AND occurred_at < coalesce($2, 'infinity')",
    )
    .bind::<Nullable<Timestamptz>, _>(range.from)
    .bind::<Nullable<Timestamptz>, _>(range.until);
    value(conn, sql).await
}

/// The next range from `from` on, with at most `records_max` records by the sums across users, but at least one hour or day.
/// The last one has no end, so that whatever lies behind all sums is in it, and what was not added up yet.
pub(crate) async fn range(
    conn: &mut AsyncPgConnection,
    of: Of,
    from: Option<OffsetDateTime>,
    records_max: i64,
) -> Result<Range, DbError> {
    let hours: i16 = match of {
        Of::Hours => 1,
        Of::Days => 24,
    };
    let sql = pg::sql(
        "WITH sums AS MATERIALIZED ( \
           SELECT bucket, abs(records) AS records FROM usage.rollups_all_hours \
           WHERE hours = $1 AND bucket >= coalesce($2, '-infinity') ORDER BY bucket LIMIT $3), \
         spans AS ( \
           SELECT bucket, sum(sum(records)) OVER (ORDER BY bucket) AS records, row_number() OVER (ORDER BY bucket) AS nth \
           FROM sums GROUP BY bucket), \
         fits AS ( \
           SELECT count(*) AS spans, max(bucket) AS last FROM spans WHERE nth = 1 OR records <= $4) \
         SELECT CASE WHEN fits.spans < (SELECT count(*) FROM spans) OR (SELECT count(*) FROM sums) = $3 \
                     THEN fits.last + make_interval(hours => $1) END AS until FROM fits",
    )
    .bind::<SmallInt, _>(hours)
    .bind::<Nullable<Timestamptz>, _>(from)
    .bind::<BigInt, _>(SUMS_MAX)
    .bind::<BigInt, _>(records_max);
    Ok(Range { of, from, until: value(conn, sql).await? })
}

/// Violations in a range: one statement a rule.
pub(crate) async fn check(conn: &mut AsyncPgConnection, range: &Range) -> Result<Vec<Violation>, DbError> {
    let audits = match range.of {
        Of::Hours => &AUDITS_OF_HOURS,
        Of::Days => &AUDITS_OF_DAYS,
    };
    let mut found = Vec::new();
    for (rule, sql) in audits.iter() {
        let rows: Vec<FoundRow> = pg::sql(sql)
            .bind::<Nullable<Timestamptz>, _>(range.from)
            .bind::<Nullable<Timestamptz>, _>(range.until)
            .load(conn)
            .await?;
        found.extend(rows.into_iter().map(|FoundRow { user_id, at, detail }| Violation {
            rule,
            user_id,
            at,
            detail,
        }));
    }
    Ok(found)
}

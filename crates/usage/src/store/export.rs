//! Reading `usage.records` along its primary key.

use std::sync::LazyLock;

use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{CallerClass, UserId};
use pg::{DbError, columns::Read};
use time::{OffsetDateTime, macros::datetime};

use super::value;
use crate::{
    Record, RecordFilter,
    core::{month::Month, window::Window},
};

/// Records of a page.
const RECORDS_MAX: i64 = 500;
/// Bytes of texts and JSON of a page; its first record comes whatever its size.
const BYTES_MAX: i64 = 1024 * 1024;
/// Rows that a page looks at, so that a filter which matches nothing does not make it endless.
const ROWS_MAX: i64 = 2_000;
/// Before and behind all records.
const EARLIEST: OffsetDateTime = datetime!(0001-01-01 0:00 UTC);
const LATEST: OffsetDateTime = datetime!(9999-12-31 0:00 UTC);
/// Behind every user id.
const END: &str = "\u{7f}";

/// A record's place among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportCursor {
    user_id: String,
    at: OffsetDateTime,
    id: i64,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    /// Where to go on; `None` when nothing is left to be looked at.
    pub(crate) next: Option<ExportCursor>,
}

/// The records behind a place that the filter matches.
pub(crate) async fn page(
    conn: &mut AsyncPgConnection,
    whose: Option<&UserId>,
    window: Window,
    filter: &RecordFilter,
    after: Option<&ExportCursor>,
) -> Result<Page, DbError> {
    let (start, end) = (window.start.unwrap_or(EARLIEST), window.end.unwrap_or(LATEST));
    // One user's window is one piece of the key. Everybody's is many: whole months are walked through, of which the
    // partitions are chosen, and records outside of the window are passed over.
    let first =
        ExportCursor { user_id: whose.map(ToString::to_string).unwrap_or_default(), at: start, id: i64::MIN };
    let after = after.unwrap_or(&first);
    let rows: Vec<PageRow> = pg::sql(&PAGE)
        .bind::<Text, _>(after.user_id.as_str())
        .bind::<Timestamptz, _>(after.at)
        .bind::<BigInt, _>(after.id)
        .bind::<Text, _>(whose.map_or(END, UserId::as_str))
        .bind::<Timestamptz, _>(start)
        .bind::<Timestamptz, _>(end)
        .bind::<Timestamptz, _>(Month::containing(start).start().unwrap_or(start))
        .bind::<Timestamptz, _>(Month::containing(end).plus(1).start().unwrap_or(end))
        .bind::<Nullable<Text>, _>(filter.event_type.as_deref())
        .bind::<Nullable<Text>, _>(filter.model_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.provider.as_deref())
        .bind::<Nullable<Text>, _>(filter.tool_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.session_id.as_deref())
        .bind::<Nullable<Text>, _>(filter.recorded_by.map(CallerClass::as_str))
        .bind::<BigInt, _>(ROWS_MAX)
        .bind::<BigInt, _>(RECORDS_MAX)
        .bind::<BigInt, _>(BYTES_MAX)
        .load(conn)
        .await?;
    let (mut records, mut next): (Vec<Record>, Option<ExportCursor>) = (Vec::new(), None);
    for row in rows {
        let record = row.record;
        // The last row that was looked at marks the place to go on from when no record came.
        if row.wanted || records.is_empty() {
            next = Some(ExportCursor {
                user_id: record.user_id.to_string(),
                at: record.occurred_at,
                id: record.id,
            });
        }
        if row.wanted {
            records.push(record);
        }
    }
    Ok(Page { records, next })
}

/// The instant before which records were dropped; `None` if none were.
pub(crate) async fn dropped_before(conn: &mut AsyncPgConnection) -> Result<Option<OffsetDateTime>, DbError> {
    value(conn, pg::sql(DROPPED)).await
}

/// The innermost part walks the key over at most $15 rows, the next counts and adds up those that are wanted, the outermost
/// sends those that fit: their large values are fetched only then. All of it goes along the key row by row, so that the walk
/// ends with a full page. When none is wanted, the last row of a full walk is sent in their stead.
///
/// Both ends of the key are bounds of the index, also the end of one user's window: `occurred_at < $6` alone would have the
/// walk go on through his later records.
pub(super) static PAGE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT wanted AND fits AS wanted, {}
FROM (
    SELECT walked.*, wanted AND (nth = 1 OR (nth <= $16 AND bytes <= $17)) AS fits
    FROM (
        SELECT page.*, row_number() OVER walk AS seen, count(*) FILTER (WHERE wanted) OVER walk AS nth,
               sum(size_bytes) FILTER (WHERE wanted) OVER walk AS bytes
        FROM (
            SELECT *, CASE WHEN occurred_at >= $5 AND occurred_at < $6 AND ($9::text IS NULL OR event_type = $9)
                            AND ($10::text IS NULL OR model_name = $10) AND ($11::text IS NULL OR provider = $11)
                            AND ($12::text IS NULL OR tool_name = $12) AND ($13::text IS NULL OR session_id = $13)
                            AND ($14::text IS NULL OR recorded_by = $14)
                           THEN true ELSE false END AS wanted
            FROM usage.records
            WHERE (user_id, occurred_at, id) > ($1, $2, $3) AND (user_id, occurred_at) < ($4, $6)
              AND occurred_at >= $7 AND occurred_at < $8
            ORDER BY user_id, occurred_at, id LIMIT $15
        ) AS page
        WINDOW walk AS (ORDER BY user_id, occurred_at, id ROWS UNBOUNDED PRECEDING)
    ) AS walked
) AS record
WHERE fits OR (seen = $15 AND nth = 0)
ORDER BY user_id, occurred_at, id LIMIT $16",
        Record::list("record")
    )
});

const DROPPED: &str = "
SELECT CASE WHEN dropped_before > '-infinity' THEN dropped_before END AS dropped_before FROM usage.retention WHERE one";

struct PageRow {
    record: Record,
    wanted: bool,
}
pg::read_columns! { PageRow: { wanted } with { record: Record } }

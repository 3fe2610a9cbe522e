//! Sums of a window across users along several axes at once, in one reading.

use std::{collections::BTreeMap, sync::LazyLock};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Date as SqlDate, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::CallerClass;
use pg::DbError;
use time::{Date, OffsetDateTime};

use super::{
    presence::present,
    series::{Cell, IS_SOMETHING, SUMMED, SumRow},
    sources::{ask, coverage, of_all},
};
use crate::{
    Counted, Point, Selection, Summary, UnratedModel, Zone,
    core::{month::Month, window::Window},
};

/// Models without a price that are looked for, in the order of their names. With more than that, prices are not in use.
const MODELS_MAX: i64 = 20;
/// Newest records of each that are looked at.
const RECORDS_MAX: i64 = 500;

/// Subject of the rows of the answer.
const ALL: i64 = 0;
const DAY: i64 = 1;
const FEATURE: i64 = 2;
const MODEL: i64 = 3;
const COSTLIEST: i64 = 4;

/// Fills a summary but for its days, which are answered by bucket, and for models without a price.
///
/// Sums come from those across users, and users are counted from sets: both are few. A selection that they cannot answer reads
/// the records of the window.
pub(crate) async fn load(
    conn: &mut AsyncPgConnection,
    window: Window,
    starts: &[OffsetDateTime],
    groups_max: i64,
    only: &Selection,
) -> Result<(Summary, Vec<(usize, Point)>), DbError> {
    let rows: Vec<AxisRow> = ask(&SUMS, None, window, only)
        .bind::<Array<Timestamptz>, _>(starts)
        .bind::<BigInt, _>(groups_max)
        .load(conn)
        .await?;
    let counts: Vec<CountRow> =
        ask(&USERS, None, window, only).bind::<Array<Timestamptz>, _>(starts).load(conn).await?;
    let counts: BTreeMap<Where, i64> = counts.into_iter().map(CountRow::counted).collect();
    let (mut summary, mut days) = (Summary::default(), Vec::new());
    for row in rows {
        summary.coverage = coverage(row.sums.coverage)?;
        let (Some(axis), Some(cell)) = (row.axis, row.sums.cell()) else {
            continue;
        };
        let Cell { bucket, group, value: totals } = cell?;
        let feature = (axis == FEATURE).then(|| (group.event_type.clone(), group.tool.clone()));
        let users = counts.get(&(bucket, feature)).copied().unwrap_or(0);
        let point = |active_users| Point { totals, active_users };
        match (axis, bucket) {
            (ALL, _) => summary.total = point(users),
            (DAY, Some(bucket)) => days.push((bucket, point(users))),
            (FEATURE, _) => summary.features.push((group, point(users))),
            (MODEL, _) => summary.models.push((group, point(0))),
            (COSTLIEST, _) => summary.costliest = group.model.map(|model| (model, totals.cost_usd)),
            _ => return Err(DbError::Inconsistent(format!("a summary by axis {axis}"))),
        }
    }
    Ok((summary, days))
}

/// The models that have records without a price in a window.
///
/// Found by an index of such records alone: step by step from one model to the next, then the newest records of each, so
/// that the cost is bounded however many there are; with a class of callers, by the entries of the window. A record that was taken back is known by the event id that its
/// correction claimed.
pub(crate) async fn unrated(
    conn: &mut AsyncPgConnection,
    start: OffsetDateTime,
    end: OffsetDateTime,
    by: Option<CallerClass>,
) -> Result<Vec<UnratedModel>, DbError> {
    // Whole months: in the partitions that are left every entry of a model is a step, and none is passed over.
    let first = Month::containing(start).start().unwrap_or(start);
    let behind = Month::containing(end).plus(1).start().unwrap_or(end);
    let rows: Vec<UnratedRow> = pg::sql(UNRATED)
        .bind::<Timestamptz, _>(start)
        .bind::<Timestamptz, _>(end)
        .bind::<Timestamptz, _>(first)
        .bind::<Timestamptz, _>(behind)
        .bind::<BigInt, _>(MODELS_MAX)
        .bind::<BigInt, _>(RECORDS_MAX)
        .bind::<Nullable<Text>, _>(by.map(CallerClass::as_str))
        .load(conn)
        .await?;
    let model = |row: UnratedRow| UnratedModel {
        model: row.model,
        records: row.records,
        counted: if row.looked_at < RECORDS_MAX { Counted::All } else { Counted::AtLeast },
    };
    Ok(rows.into_iter().map(model).collect())
}

/// The local dates of instants.
pub(crate) async fn dates(
    conn: &mut AsyncPgConnection,
    zone: &Zone,
    instants: &[OffsetDateTime],
) -> Result<Vec<Date>, DbError> {
    let rows: Vec<DateRow> = pg::sql(DATES)
        .bind::<Array<Timestamptz>, _>(instants)
        .bind::<Text, _>(zone.name())
        .load(conn)
        .await?;
    DbError::expect_rows("local dates", instants.len(), rows.len())?;
    Ok(rows.into_iter().map(|row| row.date).collect())
}

/// `grouping()` has a bit for each column that a row is not grouped by. Where users are counted (in all, by day, by feature)
/// there is a row also if everything was taken back.
pub(super) static SUMS: LazyLock<String> = LazyLock::new(|| {
    let of_all = of_all();
    format!(
        "{of_all}, placed AS (
    SELECT greatest(width_bucket(at, $10), 1)::bigint AS place, event_type, model, provider, tool, records, tokens_used,
           prompt_tokens, completion_tokens, credits_charged, credits_deducted, cost_usd
    FROM parts
), axes AS (
    SELECT CASE grouping(place, event_type, model, provider)
               WHEN 15 THEN 0 WHEN 7 THEN 1 WHEN 11 THEN 2 WHEN 12 THEN 3 ELSE 4 END::bigint AS axis,
           place, event_type, model, provider, tool, NULL::text AS user_id,
           sum(credits_charged) AS credits, sum(cost_usd) AS cost, {SUMMED}
    FROM placed
    GROUP BY GROUPING SETS ((), (place), (event_type, tool), (model, provider), (model))
    HAVING grouping(place, event_type, model, provider) IN (15, 7, 11) OR {IS_SOMETHING}
), ranked AS (
    SELECT *, row_number() OVER (
                  PARTITION BY axis
                  ORDER BY CASE WHEN axis IN (3, 4) THEN cost END DESC, credits DESC, records DESC,
                           event_type, tool, model, provider) AS rank
    FROM axes WHERE axis <> 4 OR (model <> '' AND cost > 0)
)
SELECT ranked.*, coverage FROM span LEFT JOIN ranked
    ON axis <= 1 OR rank <= CASE axis WHEN 4 THEN 1 ELSE $11 END
ORDER BY axis, rank"
    )
});

/// Users are put together along each axis first, a thousand numbers at a time, and then counted.
pub(super) static USERS: LazyLock<String> = LazyLock::new(|| {
    let of_all = of_all();
    let present = present(
        "greatest(width_bucket(at, $10), 1)::bigint AS place, event_type, NULL::text AS model, NULL::text AS provider, tool",
    );
    format!(
        "{of_all}{present}, together AS (
    SELECT place, event_type, tool, coalesce(bit_count(bit_or(users)), 0) + count(DISTINCT stranger) AS users FROM present
    GROUP BY GROUPING SETS ((thousand), (place, thousand), (event_type, tool, thousand))
)
SELECT place, event_type, tool, sum(users)::bigint AS users FROM together GROUP BY place, event_type, tool"
    )
});

/// The limit of one keeps PostgreSQL from reading all event ids at once instead of looking each up.
const UNRATED: &str = "
WITH RECURSIVE models AS (
    SELECT first.model_name, 1 AS nth FROM (
        SELECT model_name FROM usage.records
        WHERE calculation_method = 'unrated' AND tokens_used > 0 AND model_name IS NOT NULL
          AND occurred_at >= $3 AND occurred_at < $4
        ORDER BY model_name LIMIT 1) AS first
    UNION ALL
    SELECT next.model_name, nth + 1 FROM models CROSS JOIN LATERAL (
        SELECT model_name FROM usage.records
        WHERE calculation_method = 'unrated' AND tokens_used > 0 AND model_name > models.model_name
          AND occurred_at >= $3 AND occurred_at < $4
        ORDER BY model_name LIMIT 1) AS next
    WHERE nth < $5
)
SELECT model_name AS model, count(*) FILTER (WHERE NOT corrected) AS records, count(*) AS looked_at
FROM models CROSS JOIN LATERAL (
    SELECT coalesce((SELECT true FROM usage.dedupe WHERE dedupe.user_id = newest.user_id
                       AND dedupe.event_id = 'correction:' || newest.id LIMIT 1), false) AS corrected
    FROM (
        SELECT user_id, id FROM usage.records
        WHERE calculation_method = 'unrated' AND tokens_used > 0 AND model_name = models.model_name
          AND occurred_at >= $1 AND occurred_at < $2
          AND CASE WHEN $7 IS NULL OR recorded_by = $7 THEN true ELSE false END
        ORDER BY occurred_at DESC LIMIT $6) AS newest) AS one
GROUP BY model_name HAVING count(*) FILTER (WHERE NOT corrected) > 0
ORDER BY records DESC, model_name";

/// Within the calendar, also where an instant at its edge is another year in the zone.
const DATES: &str = "
SELECT greatest(least((instant AT TIME ZONE $2)::date, '9999-12-31'), '0001-01-01') AS date
FROM unnest($1) WITH ORDINALITY AS given (instant, place) ORDER BY place";

#[derive(QueryableByName)]
struct AxisRow {
    #[diesel(embed)]
    sums: SumRow,
    /// `None` for the row that stands where there is nothing.
    #[diesel(sql_type = Nullable<BigInt>)]
    axis: Option<i64>,
}

struct CountRow {
    place: Option<i64>,
    event_type: Option<String>,
    tool: Option<String>,
    users: i64,
}
pg::read_columns! { CountRow: { place, event_type, tool, users } }

/// The bucket, or kind of event and tool, in which users were counted; neither for the whole window.
type Where = (Option<usize>, Option<(Option<String>, Option<String>)>);

impl CountRow {
    fn counted(self) -> (Where, i64) {
        let place = self.place.map(|place| place.saturating_sub(1));
        // A kind of event is never absent; in roll-ups an empty text stands for an absent tool.
        let feature =
            self.event_type.map(|event_type| (Some(event_type), self.tool.filter(|tool| !tool.is_empty())));
        ((place.and_then(|place| usize::try_from(place).ok()), feature), self.users)
    }
}

struct UnratedRow {
    model: String,
    records: i64,
    looked_at: i64,
}
pg::read_columns! { UnratedRow: { model, records, looked_at } }

#[derive(QueryableByName)]
struct DateRow {
    #[diesel(sql_type = SqlDate)]
    date: Date,
}

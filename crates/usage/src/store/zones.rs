//! Time zones of PostgreSQL: their names, and when their hours, days, weeks and months begin.

use diesel::sql_types::{Array, Date as SqlDate, Text, Timestamptz};
use diesel_async::AsyncPgConnection;
use pg::DbError;
use time::{Date, OffsetDateTime};

use super::values;
use crate::{Unit, Zone, Zones};

/// All names.
pub(crate) async fn names(conn: &mut AsyncPgConnection) -> Result<Zones, DbError> {
    Ok(Zones::new(values(conn, pg::sql(NAMES)).await?.into_iter()))
}

/// The instants after `start` and before `end` at which a bucket begins, in order.
pub(crate) async fn beginnings(
    conn: &mut AsyncPgConnection,
    unit: Unit,
    zone: &Zone,
    start: OffsetDateTime,
    end: OffsetDateTime,
) -> Result<Vec<OffsetDateTime>, DbError> {
    let (sql, word) = match unit {
        Unit::Quarter => (QUARTERS, "quarter of an hour"),
        Unit::Hour => (HOURS, "hour"),
        Unit::Day => (CALENDAR, "day"),
        Unit::Week => (CALENDAR, "week"),
        Unit::Month => (CALENDAR, "month"),
    };
    let sql = pg::sql(sql)
        .bind::<Timestamptz, _>(start)
        .bind::<Timestamptz, _>(end)
        .bind::<Text, _>(zone.name())
        .bind::<Text, _>(word);
    values(conn, sql).await
}

/// The first instants of days, in the order of the days.
pub(crate) async fn beginnings_of_days(
    conn: &mut AsyncPgConnection,
    zone: &Zone,
    days: &[Date],
) -> Result<Vec<OffsetDateTime>, DbError> {
    values(conn, pg::sql(DAYS).bind::<Array<SqlDate>, _>(days).bind::<Text, _>(zone.name())).await
}

const NAMES: &str = "SELECT name FROM pg_timezone_names";

const QUARTERS: &str = "
SELECT begins FROM generate_series(date_bin('15 minutes', $1, '2000-01-01 00:00:00+00'), $2, '15 minutes') AS begins
WHERE begins > $1 AND begins < $2 ORDER BY begins";

/// An hour begins with the first quarter that has its number. When clocks are set back by an hour, the hour that comes twice
/// is two buckets; when by half an hour, its second coming is one of 30 minutes.
const HOURS: &str = "
SELECT begins FROM (
    SELECT min(quarter) AS begins
    FROM generate_series(date_bin('15 minutes', $1, '2000-01-01 00:00:00+00'), $2, '15 minutes') AS quarter
    GROUP BY date_trunc('hour', quarter, $3)) AS hours
WHERE begins > $1 AND begins < $2 ORDER BY begins";

/// A day begins at the first instant that belongs to it. Where clocks are set back to midnight, that is an hour before the
/// instant which PostgreSQL takes for midnight: it prefers the later of two that have the same local time. Where they are
/// set forward at midnight, PostgreSQL's is the right one. A day that a zone has left out has no beginning of its own.
const CALENDAR: &str = "
SELECT DISTINCT begins FROM (
    SELECT CASE WHEN (later - interval '1 hour') AT TIME ZONE $3 = midnight THEN later - interval '1 hour'
                WHEN (later - interval '30 minutes') AT TIME ZONE $3 = midnight THEN later - interval '30 minutes'
                ELSE later END AS begins
    FROM (
        SELECT midnight, midnight AT TIME ZONE $3 AS later
        FROM generate_series(date_trunc($4, $1 AT TIME ZONE $3), $2 AT TIME ZONE $3 + interval '1 day',
                             ('1 ' || $4)::interval) AS midnight) AS midnights) AS beginnings
WHERE begins > $1 AND begins < $2 ORDER BY begins";

/// As [`CALENDAR`], for named days.
const DAYS: &str = "
SELECT greatest(least(begins, '9999-12-31 23:59:59.999999+00'), '0001-01-01 00:00:00+00') AS begins FROM (
    SELECT nth, CASE WHEN (later - interval '1 hour') AT TIME ZONE $2 = midnight THEN later - interval '1 hour'
                     WHEN (later - interval '30 minutes') AT TIME ZONE $2 = midnight THEN later - interval '30 minutes'
                     ELSE later END AS begins
    FROM (
        SELECT nth, day::timestamp AS midnight, day::timestamp AT TIME ZONE $2 AS later
        FROM unnest($1) WITH ORDINALITY AS days (day, nth)) AS midnights) AS beginnings
ORDER BY nth";

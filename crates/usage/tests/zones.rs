//! Time zones by name, and days that begin at odd times.

use kernel::Failure;
use testkit::user;
use time::{Duration, OffsetDateTime, macros::datetime};
use usage::{Dimension, POINTS_MAX, Selection, SeriesQuery, TopQuery, Unit, UsageRefusal, Users, Zone};

use crate::support::database;

fn days(zone: Zone, start: OffsetDateTime, end: OffsetDateTime) -> SeriesQuery {
    SeriesQuery { start, end, unit: Unit::Day, zone, group_by: [].into(), only: Selection::default() }
}

#[tokio::test]
async fn only_names_of_zones_are_zones() {
    let db = database().await;
    let mut conn = db.pool().get().await.unwrap();
    let zones = usage::zones(&mut conn).await.unwrap();
    for known in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3"] {
        assert_eq!(zones.find(known).unwrap().name(), known);
    }
    for unknown in [
        "",
        "FOO+3",
        "europe/berlin",
        "posix/Europe/Berlin",
        "localtime",
        "+03:00",
        "Europe/Berlin ",
        "2026-01-01",
    ] {
        let refusal = zones.find(unknown).unwrap_err();
        let expected = UsageRefusal::InvalidTimeZone { zone: unknown.to_owned() };
        assert_eq!(refusal, expected);
        assert_eq!(refusal.code(), "ValidationException");
    }
}

#[tokio::test]
async fn days_begin_when_the_date_changes_also_where_midnight_is_missing_or_comes_twice() {
    let db = database().await;
    let mut conn = db.pool().get().await.unwrap();
    let zones = usage::zones(&mut conn).await.unwrap();
    for (zone, start, end, expected) in [
        // Set back from 1:00 to 0:00: the date changes at the first of the two midnights.
        (
            "America/Havana",
            datetime!(2025-11-01 12:00 UTC),
            datetime!(2025-11-03 12:00 UTC),
            vec![datetime!(2025-11-02 4:00 UTC), datetime!(2025-11-03 5:00 UTC)],
        ),
        // Set forward from 0:00 to 1:00: the day begins at 1:00.
        (
            "America/Havana",
            datetime!(2026-03-07 12:00 UTC),
            datetime!(2026-03-09 12:00 UTC),
            vec![datetime!(2026-03-08 5:00 UTC), datetime!(2026-03-09 4:00 UTC)],
        ),
        // Set back from 24:00 to 23:00: the date changes an hour later.
        (
            "Asia/Beirut",
            datetime!(2025-10-25 12:00 UTC),
            datetime!(2025-10-26 12:00 UTC),
            vec![datetime!(2025-10-25 22:00 UTC)],
        ),
        // The 30th of December was left out.
        (
            "Pacific/Apia",
            datetime!(2011-12-29 12:00 UTC),
            datetime!(2012-01-01 9:00 UTC),
            vec![datetime!(2011-12-30 10:00 UTC), datetime!(2011-12-31 10:00 UTC)],
        ),
    ] {
        let query = days(zones.find(zone).unwrap(), start, end);
        let series = usage::series_all(&mut conn, &query).await.unwrap().unwrap();
        let mut starts = vec![start];
        starts.extend(expected);
        assert_eq!(series.starts, starts, "{zone}");
        assert_eq!(series.lines[0].points.len(), starts.len());
    }
}

#[tokio::test]
async fn too_many_points_are_refused_and_empty_windows_are_empty() {
    let db = database().await;
    let mut conn = db.pool().get().await.unwrap();
    let noon = testkit::instant();
    let refused = Err(UsageRefusal::TooManyPoints { limit: POINTS_MAX });
    let long = SeriesQuery { unit: Unit::Quarter, ..days(Zone::utc(), noon, noon + Duration::days(366)) };
    assert_eq!(usage::series_all(&mut conn, &long).await.unwrap(), refused);
    let ever = days(Zone::utc(), datetime!(-9999-01-01 0:00 UTC), datetime!(9999-12-31 23:59 UTC));
    assert_eq!(usage::series_all(&mut conn, &ever).await.unwrap(), refused);
    for end in [noon, noon - Duration::days(1)] {
        let mut empty = days(Zone::utc(), noon, end);
        let series = usage::series(&mut conn, &user("a"), &empty).await.unwrap().unwrap();
        assert_eq!((series.starts.len(), series.lines.len()), (0, 1));
        empty.group_by.insert(Dimension::Model);
        let top = TopQuery { series: empty, lines_max: 1, users: Users::Counted };
        let series = usage::series_top(&mut conn, &top).await.unwrap().unwrap().series;
        assert_eq!((series.starts.len(), series.lines.len()), (0, 0));
    }
}

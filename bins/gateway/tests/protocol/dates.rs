//! Bare dates: a whole day as `end_date` on every route, in `tz` where the route has one.

use crate::prelude::*;
use crate::routes::v1::users::usage::timeseries::{event, record};

const USER: &str = "/api/v1/users/auth0%7Ca";

async fn data(app: &TestApp, path: &str) -> Value {
    app.get(path).service().data().await
}

/// Records of 1, 2, 4 and 8 thousandths: the last moment before 2 July 2025 UTC, its first and last, and the next.
async fn around_a_day(app: &TestApp, user: &TestUser) {
    let events = [
        (datetime!(2025-07-01 23:59:59.999999 UTC), 1),
        (datetime!(2025-07-02 0:00 UTC), 2),
        (datetime!(2025-07-02 23:59:59.999999 UTC), 4),
        (datetime!(2025-07-03 0:00 UTC), 8),
    ];
    record(app, &events.map(|(at, credits)| event(&user.id, at, Some("m"), credits))).await;
}

#[tokio::test]
async fn an_end_date_is_that_whole_day_on_every_route() {
    let (app, user) = TestApp::with_user(&[]).await;
    around_a_day(&app, &user).await;
    let day = "start_date=2025-07-02&end_date=2025-07-02";
    assert_eq!(data(&app, &format!("{USER}/usage?{day}")).await.list().len(), 2);
    let stats = data(&app, &format!("{USER}/usage/stats?{day}")).await;
    assert_eq!(stats["total_credits_charged"], 0.006);
    assert_eq!(stats["date_range"]["end_date"], "2025-07-02", "as it was given");
    for path in [USER.to_owned() + "/usage", "/api/v1/usage".to_owned()] {
        let series = data(&app, &format!("{path}/timeseries?{day}")).await;
        series.has(json!({"series.0.totals.credits_charged": 0.006, "end": "2025-07-03T00:00:00.000000Z"}));
        let file = app.get(&format!("{path}/export?{day}&format=ndjson")).service().await;
        assert_eq!(file.expect(200).text.lines().count(), 2, "{path}");
    }
    let summary = data(&app, &format!("/api/v1/usage/summary?{day}")).await;
    summary.has(json!({"totals.credits_charged": 0.006, "period.end_date": "2025-07-02T23:59:59.999999Z"}));

    // An instant belongs to lists and not to series.
    let instant = "start_date=2025-07-02&end_date=2025-07-03T00:00:00Z";
    assert_eq!(data(&app, &format!("{USER}/usage?{instant}")).await.list().len(), 3);
    let series = data(&app, &format!("{USER}/usage/timeseries?{instant}")).await;
    assert_eq!(series["series"][0]["totals"]["credits_charged"], 0.006);
}

#[tokio::test]
async fn an_end_date_includes_the_transactions_of_its_day() {
    let (app, user) = TestApp::with_user(&[]).await;
    // The clock of tests stands at noon of 15 January 2026, when the initial grant was made.
    for (query, count) in [
        ("start_date=2026-01-15&end_date=2026-01-15", 1),
        ("end_date=2026-01-15", 1),
        ("end_date=2026-01-14", 0),
        ("start_date=2026-01-16", 0),
        ("end_date=2026-01-15T11:59:59Z", 0),
    ] {
        let path = format!("{USER}/credits/transactions?{query}");
        let reply = app.get(&path).by(&user).ok().await;
        assert_eq!(reply["data"].list().len(), count, "{query}");
    }
}

#[tokio::test]
async fn dates_are_days_of_the_zone() {
    let (app, user) = TestApp::with_user(&[]).await;
    let events = [
        (datetime!(2025-06-30 15:59:59.999999 UTC), 1),
        (datetime!(2025-06-30 16:00 UTC), 2),
        (datetime!(2025-07-31 15:59:59.999999 UTC), 4),
        (datetime!(2025-07-31 16:00 UTC), 8),
    ];
    record(&app, &events.map(|(at, credits)| event(&user.id, at, Some("m"), credits))).await;
    let july = "tz=Asia/Shanghai&start_date=2025-07-01&end_date=2025-07-31";
    for path in [USER.to_owned() + "/usage", "/api/v1/usage".to_owned()] {
        let series = data(&app, &format!("{path}/timeseries?{july}&bucket=1d")).await;
        series.has(json!({"start": "2025-06-30T16:00:00.000000Z", "end": "2025-07-31T16:00:00.000000Z"}));
        assert_eq!(series["series"][0]["points"].list().len(), 31, "{path}");
        assert_eq!(series["series"][0]["totals"]["credits_charged"], 0.006, "{path}");
    }
    let summary = data(&app, &format!("/api/v1/usage/summary?{july}")).await;
    assert_eq!(summary["totals"]["credits_charged"], 0.006);
    assert_eq!(summary["period"]["start_date"], "2025-06-30T16:00:00.000000Z");
    assert_eq!(summary["period"]["end_date"], "2025-07-31T15:59:59.999999Z");
    assert_eq!(summary["active_users_trend"].list().len(), 31);
    // A start without an end, and an end without a start.
    let series = data(&app, &format!("{USER}/usage/timeseries?tz=Asia/Shanghai&end_date=2025-07-31")).await;
    series.has(json!({"start": "2025-07-01T16:00:00.000000Z", "end": "2025-07-31T16:00:00.000000Z"}));
}

/// Clocks that are set at midnight, a day that a zone left out, and the edges of the calendar.
#[tokio::test]
async fn days_begin_at_their_first_instant_also_where_clocks_are_set() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for (zone, day, start, end) in [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("America/Havana", "2025-11-02", "2025-11-02T04:00:00", "2025-11-03T05:00:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00", "2018-11-05T02:00:00"),
        ("Asia/Kathmandu", "2025-07-01", "2025-06-30T18:15:00", "2025-07-01T18:15:00"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00", "2011-12-30T10:00:00"),
        ("Etc/GMT-14", "0001-01-01", "0001-01-01T00:00:00", "0001-01-01T10:00:00"),
        ("Etc/GMT+12", "9999-12-31", "9999-12-31T12:00:00", "9999-12-31T23:59:59"),
    ] {
        let zone_text = zone.replace('+', "%2B");
        let query = format!("tz={zone_text}&start_date={day}&end_date={day}&bucket=1h");
        let series = data(&app, &format!("{USER}/usage/timeseries?{query}")).await;
        for (name, expected) in [("start", start), ("end", end)] {
            let text = series[name].text();
            assert!(text.starts_with(expected), "{zone} {day}: {name} is {text}");
        }
        data(&app, &format!("/api/v1/usage/summary?{query}").replace("&bucket=1h", "")).await;
    }
}

/// On the clocks of a zone an instant at the edge of the calendar lies beyond it.
#[tokio::test]
async fn a_summary_at_the_edges_of_the_calendar_is_empty() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for (zone, start, end, first) in [
        ("America/New_York", "0001-01-01T00:00:00Z", "0001-01-03T00:00:00Z", "0001-01-01"),
        ("Etc/GMT-14", "9999-12-31T12:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31"),
    ] {
        let query = format!("tz={zone}&start_date={start}&end_date={end}");
        let summary = data(&app, &format!("/api/v1/usage/summary?{query}")).await;
        assert_eq!(summary["totals"]["records"], 0, "{zone}");
        let days = &summary["active_users_trend"];
        assert!(days.list().is_empty() || days[0]["date"] == first, "{zone}: {days}");
        data(&app, &format!("{USER}/usage/timeseries?{query}")).await;
    }
}

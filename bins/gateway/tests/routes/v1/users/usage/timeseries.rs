//! `/api/v1/users/{user_id}/usage/timeseries`

use kernel::{Credits, ManualClock, UserId};
use usage::{NewRecord, UsageInput};

use super::PATH;
use crate::prelude::*;

/// An event of this user at this instant.
pub fn event(user: &UserId, at: OffsetDateTime, model: Option<&str>, credits: i64) -> NewRecord {
    UsageInput {
        occurred_at: Some(at),
        model_name: model.map(str::to_owned),
        credits_charged: Some(Credits::from_micro(credits * 1_000)),
        prompt_tokens: Some(credits * 3),
        completion_tokens: Some(credits),
        ..UsageInput::new(user.clone(), if credits % 2 == 0 { "ai_chat" } else { "api_call" })
    }
    .complete()
}

/// Records events, whenever they occurred.
pub async fn record(app: &TestApp, events: &[NewRecord]) {
    for event in events {
        let clock = ManualClock::at(event.occurred_at.unwrap());
        let mut tx = pg::Tx::begin(app.db().pool()).await.unwrap();
        let outcomes = usage::record(&mut tx, &clock, std::slice::from_ref(event)).await.unwrap();
        assert!(outcomes.iter().all(Result::is_ok));
        tx.commit().await.unwrap();
    }
}

async fn ask(app: &TestApp, user: &TestUser, query: &str) -> Value {
    app.get(&format!("{PATH}/timeseries?{query}")).by(user).data().await
}

async fn refused(app: &TestApp, user: &TestUser, query: &str) -> Vec<String> {
    let reply = app.get(&format!("{PATH}/timeseries?{query}")).by(user);
    let faults = reply.expect(422).await.json()["detail"].clone();
    let fault = |fault: &Value| format!("{}:{}", fault["loc"][1].text(), fault["type"].text());
    faults.list().iter().map(fault).collect()
}

/// A figure in millionths.
fn micro(value: &Value) -> i64 {
    (value.as_f64().unwrap() * 1e6).round() as i64
}

fn starts(data: &Value) -> Vec<&str> {
    let points = data["series"][0]["points"].list();
    points.iter().map(|point| point["start"].text()).collect()
}

#[tokio::test]
async fn days_follow_the_clocks_of_a_zone_that_sets_them() {
    let (app, user) = TestApp::with_user(&[]).await;
    // Clocks go forward on 29 March 2026 and back on 25 October 2026 in Berlin.
    let events = [
        (datetime!(2026-03-28 22:59:59.999999 UTC), 1),
        (datetime!(2026-03-28 23:00 UTC), 2),
        (datetime!(2026-03-29 21:59:59.999999 UTC), 4),
        (datetime!(2026-03-29 22:00 UTC), 8),
        (datetime!(2026-10-24 22:00 UTC), 16),
        (datetime!(2026-10-25 22:59:59.999999 UTC), 32),
    ];
    let events = events.map(|(at, credits)| event(&user.id, at, Some("m"), credits));
    record(&app, &events).await;
    let spring =
        "tz=Europe/Berlin&start_date=2026-03-28T00:00:00%2B01:00&end_date=2026-03-31T00:00:00%2B02:00";
    let data = ask(&app, &user, spring).await;
    assert_eq!(
        starts(&data),
        ["2026-03-27T23:00:00.000000Z", "2026-03-28T23:00:00.000000Z", "2026-03-29T22:00:00.000000Z"]
    );
    let points = &data["series"][0]["points"];
    let sums: Vec<_> = (0..3).map(|day| &points[day]["credits_charged"]).collect();
    assert_eq!(sums, [&json!(0.001), &json!(0.006), &json!(0.008)]);
    assert_eq!(points[1]["end"], "2026-03-29T22:00:00.000000Z", "a day of 23 hours");
    assert_eq!((&data["tz"], &data["bucket"]), (&json!("Europe/Berlin"), &json!("1d")));
    let autumn = "tz=Europe/Berlin&start_date=2026-10-24T22:00:00Z&end_date=2026-10-25T23:00:00Z&bucket=";
    assert_eq!(starts(&ask(&app, &user, &format!("{autumn}1h")).await).len(), 25);
    let day = ask(&app, &user, &format!("{autumn}1d")).await;
    assert_eq!(day["series"][0]["totals"]["credits_charged"], 0.048);
    assert_eq!(starts(&day).len(), 1, "a day of 25 hours");
}

#[tokio::test]
async fn hours_and_weeks_begin_where_a_zone_of_half_hours_says() {
    let (app, user) = TestApp::with_user(&[]).await;
    record(
        &app,
        &[
            event(&user.id, datetime!(2026-01-14 18:29:59.999999 UTC), None, 1),
            event(&user.id, datetime!(2026-01-14 18:30 UTC), None, 2),
        ],
    )
    .await;
    let window =
        "tz=Asia/Kolkata&start_date=2026-01-14T00:00:00%2B05:30&end_date=2026-01-16T00:00:00%2B05:30";
    let days = ask(&app, &user, window).await;
    assert_eq!(starts(&days), ["2026-01-13T18:30:00.000000Z", "2026-01-14T18:30:00.000000Z"]);
    let points = &days["series"][0]["points"];
    assert_eq!((&points[0]["records"], &points[1]["records"]), (&json!(1), &json!(1)));
    let hours = ask(&app, &user, &format!("{window}&bucket=1h&fill=none&metrics=records")).await;
    assert_eq!(starts(&hours), ["2026-01-14T17:30:00.000000Z", "2026-01-14T18:30:00.000000Z"]);
    hours.has(json!({
        "series.0.points.0": {"start": "2026-01-14T17:30:00.000000Z", "end": "2026-01-14T18:30:00.000000Z", "records": 1},
    }));
    // The 15th is a Thursday.
    let weeks = "tz=Asia/Kolkata&bucket=1w&start_date=2026-01-15T00:00:00%2B05:30&end_date=2026-01-20T00:00:00%2B05:30";
    let weeks = ask(&app, &user, weeks).await;
    assert_eq!(starts(&weeks), ["2026-01-14T18:30:00.000000Z", "2026-01-18T18:30:00.000000Z"]);
}

#[tokio::test]
async fn without_dates_there_are_thirty_buckets_and_the_last_is_that_of_now() {
    let (app, user) = TestApp::with_user(&[]).await;
    for (query, first, last, end) in [
        ("", "2025-12-17T00:00", "2026-01-15T00:00", "2026-01-15T12:00"),
        ("tz=America/New_York", "2025-12-17T05:00", "2026-01-15T05:00", "2026-01-15T12:00"),
        ("bucket=15m", "2026-01-15T04:30", "2026-01-15T11:45", "2026-01-15T12:00"),
        ("bucket=1h", "2026-01-14T06:00", "2026-01-15T11:00", "2026-01-15T12:00"),
        ("bucket=1w", "2025-06-23T00:00", "2026-01-12T00:00", "2026-01-15T12:00"),
        ("bucket=1mo", "2023-08-01T00:00", "2026-01-01T00:00", "2026-01-15T12:00"),
        ("end_date=2025-11-05", "2025-10-07T00:00", "2025-11-05T00:00", "2025-11-06T00:00"),
        // Clocks were set in between: hours of the day, not spans of 24 hours.
        (
            "tz=Europe/Berlin&end_date=2025-11-05T00:00:00%2B01:00",
            "2025-10-05T22:00",
            "2025-11-03T23:00",
            "2025-11-04T23:00",
        ),
    ] {
        let [first, last, end] = [first, last, end].map(|minute| format!("{minute}:00.000000Z"));
        let data = ask(&app, &user, query).await;
        let starts = starts(&data);
        assert_eq!(starts.len(), 30, "{query}");
        assert_eq!((starts[0], starts[29]), (&*first, &*last), "{query}");
        data.has(json!({"start": first, "end": end, "series.0.points.29.end": end, "series.0.group": {}}));
    }
    let early = ask(&app, &user, "end_date=0001-01-01T00:00:00Z").await;
    assert_eq!(early["series"][0]["points"], json!([]));
}

#[tokio::test]
async fn groups_are_ordered_by_credits_and_a_missing_value_is_null() {
    let (app, user) = TestApp::with_user(&[]).await;
    let at = datetime!(2026-01-15 11:00 UTC);
    record(
        &app,
        &[
            event(&user.id, at, Some("small"), 2),
            event(&user.id, at, None, 10),
            event(&user.id, at, Some("large"), 20),
            event(&user.id, at - Duration::days(1), Some("large"), 1),
        ],
    )
    .await;
    let data = ask(&app, &user, "group_by=model").await;
    let groups: Vec<_> = data["series"].column("group");
    assert_eq!(groups, [&json!({"model": "large"}), &json!({"model": null}), &json!({"model": "small"})]);
    let text = app.get(&format!("{PATH}/timeseries?group_by=model&metrics=credits_charged,tokens_used"));
    let text = text.by(&user).expect(200).await.text;
    assert!(text.contains(r#""totals":{"credits_charged":0.021,"tokens_used":84}"#), "{text}");
    let two = ask(&app, &user, "group_by=event_type,model&event_type=api_call").await;
    assert_eq!(two["group_by"], json!(["event_type", "model"]));
    assert_eq!(two["series"].list().len(), 1);
    assert_eq!(two["series"][0]["group"], json!({"event_type": "api_call", "model": "large"}));
    let none = ask(&app, &user, "group_by=model&model_name=unheard-of").await;
    assert_eq!(none["series"], json!([]));
    let filled = ask(&app, &user, "model_name=unheard-of").await;
    assert_eq!(filled["series"][0]["totals"]["records"], 0);
    // A window behind which nothing lies is no fault.
    let empty = ask(&app, &user, "start_date=2026-01-01&end_date=2026-01-01T00:00:00Z").await;
    assert_eq!(empty["series"][0]["points"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_fault_with_its_place() {
    let (app, user) = TestApp::with_user(&[]).await;
    for (query, faults) in [
        ("bucket=2h", vec!["bucket:enum"]),
        ("tz=Mars/Olympus", vec!["tz:value_error"]),
        // PostgreSQL itself would take these.
        ("tz=FOO%2B3", vec!["tz:value_error"]),
        ("tz=utc", vec!["tz:value_error"]),
        ("group_by=user", vec!["group_by:enum"]),
        ("group_by=model,session", vec!["group_by:enum"]),
        ("group_by=model,provider,tool", vec!["group_by:too_long"]),
        ("metrics=records,active_users", vec!["metrics:enum"]),
        ("fill=null", vec!["fill:enum"]),
        ("start_date=2026-01-02&end_date=2026-01-01", vec!["start_date:value_error"]),
        ("start_date=2026-01-16", vec!["start_date:value_error"]),
        (
            "start_date=soon&tz=x&bucket=y",
            vec!["start_date:datetime_parsing", "bucket:enum", "tz:value_error"],
        ),
        ("bucket=15m&start_date=2025-01-01", vec!["bucket:value_error"]),
        ("bucket=15m&start_date=0001-01-01&end_date=9999-12-31", vec!["bucket:value_error"]),
    ] {
        assert_eq!(refused(&app, &user, query).await, faults, "{query}");
    }
}

#[tokio::test]
async fn points_times_series_are_bounded_together() {
    let (app, user) = TestApp::with_user(&[]).await;
    let at = datetime!(2026-01-15 11:00 UTC);
    let models = ["a", "b", "c"].map(|model| event(&user.id, at, Some(model), 1));
    record(&app, &models).await;
    // 6,667 quarters of an hour: three series have one point too many.
    let window = "bucket=15m&start_date=2025-11-06T01:15:00Z&end_date=2026-01-14T12:00:00Z";
    let quarters = starts(&ask(&app, &user, window).await).len();
    assert_eq!(quarters, 6_667);
    let till = "bucket=15m&start_date=2025-11-07T01:15:00Z&end_date=2026-01-15T12:00:00Z&group_by=model";
    assert_eq!(refused(&app, &user, till).await, ["bucket:value_error"]);
    let less = "bucket=15m&start_date=2025-11-07T01:30:00Z&end_date=2026-01-15T12:00:00Z&group_by=model";
    assert_eq!(ask(&app, &user, less).await["series"].list().len(), 3);
}

#[tokio::test]
async fn points_add_up_to_totals_and_totals_to_the_statistics() {
    let (app, user) = TestApp::with_user(&[]).await;
    let mut seed = 12_345_u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let begin = datetime!(2026-03-27 0:00 UTC);
    let mut events = Vec::new();
    for _ in 0..80 {
        let at = begin + Duration::microseconds(next(6 * 86_400 * 1_000_000) as i64);
        let model = [None, Some("x"), Some("y"), Some("z")][next(4) as usize];
        events.push(event(&user.id, at, model, next(900) as i64));
    }
    record(&app, &events).await;
    for round in 0..24_u64 {
        let from = begin + Duration::microseconds(next(3 * 86_400 * 1_000_000) as i64);
        let to = from + Duration::microseconds(next(3 * 86_400 * 1_000_000) as i64);
        let zone = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"][round as usize % 4];
        let bucket = ["15m", "1h", "1d", "1w", "1mo"][next(5) as usize];
        let group = ["", "model", "event_type,model"][next(3) as usize];
        let (start, end) = (kernel::rfc3339(from), kernel::rfc3339(to));
        let query = format!("tz={zone}&bucket={bucket}&group_by={group}&start_date={start}&end_date={end}");
        let data = ask(&app, &user, &query).await;
        // The end of a series is not part of it, that of statistics is.
        let last = kernel::rfc3339(to - Duration::MICROSECOND);
        let stats = app.get(&format!("{PATH}/stats?start_date={start}&end_date={last}"));
        let stats = stats.by(&user).data().await;
        let series = data["series"].list();
        for (figure, total) in [
            ("records", "total_records"),
            ("credits_charged", "total_credits_charged"),
            ("credits_deducted", "total_credits_deducted"),
            ("cost_usd", "total_cost_usd"),
            ("tokens_used", "total_tokens_used"),
        ] {
            let totals: Vec<i64> = series.iter().map(|line| micro(&line["totals"][figure])).collect();
            assert_eq!(totals.iter().sum::<i64>(), micro(&stats[total]), "{query} {figure}");
            for (line, total) in series.iter().zip(totals) {
                let points = line["points"].list();
                let sum: i64 = points.iter().map(|point| micro(&point[figure])).sum();
                assert_eq!(sum, total, "{query} {figure}");
                assert_eq!(
                    (&points[0]["start"], &points[points.len() - 1]["end"]),
                    (&data["start"], &data["end"])
                );
                assert!(points.windows(2).all(|pair| pair[0]["end"] == pair[1]["start"]), "{query}");
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_user_looks_like_one_that_does_not_exist() {
    let app = TestApp::start().await;
    let (a, _b) = (app.user("auth0|a").await, app.user("auth0|b").await);
    for path in ["auth0%7Cb", "auth0%7Cnobody"] {
        let reply = app.get(&format!("/api/v1/users/{path}/usage/timeseries")).by(&a);
        reply.refused(404, "UserNotFoundException").await;
    }
    let own = app.get(&format!("{PATH}/timeseries")).service().expect(200).await;
    assert_eq!(own.json()["message"], "Time series retrieved successfully");
}

//! `/api/v1/usage/timeseries`

use kernel::UserId;

use super::super::users::usage::timeseries::{event, record};
use crate::prelude::*;

const NOON: OffsetDateTime = datetime!(2026-01-15 11:00 UTC);

async fn ask(app: &TestApp, query: &str) -> Value {
    app.get(&format!("/api/v1/usage/timeseries?{query}")).service().data().await
}

fn totals(data: &Value, figure: &str) -> Vec<(Value, Value)> {
    let lines = data["series"].list();
    let told = |line: &Value| (line["group"].clone(), line["totals"][figure].clone());
    lines.iter().map(told).collect()
}

/// Users 0 to 4 with 10 to 50 thousandths of a credit each, yesterday and today; user 0 today only.
async fn five_users(app: &TestApp) {
    let mut events = Vec::new();
    for n in 0..5_i64 {
        let user: UserId = format!("auth0|{n}").parse().unwrap();
        let model = if n < 3 { Some("few") } else { Some("many") };
        events.push(event(&user, NOON, model, 5 * (n + 1)));
        let before = if n == 0 { NOON } else { NOON - Duration::days(1) };
        events.push(event(&user, before, model, 5 * (n + 1)));
    }
    record(app, &events).await;
}

#[tokio::test]
async fn series_behind_the_first_are_added_up_in_one() {
    let app = TestApp::start().await;
    five_users(&app).await;
    let data = ask(&app, "group_by=user&top=2&metrics=records,credits_charged,active_users").await;
    assert_eq!(
        totals(&data, "credits_charged"),
        [
            (json!({"user": "auth0|4"}), json!(0.05)),
            (json!({"user": "auth0|3"}), json!(0.04)),
            (json!({"other": true}), json!(0.06)),
        ]
    );
    let users: Vec<_> = totals(&data, "active_users").into_iter().map(|(_, users)| users).collect();
    assert_eq!(users, [json!(1), json!(1), json!(3)], "the rest counts each user once");
    let rest = data["series"][2]["points"].list();
    let last: Vec<_> = rest[28..].iter().map(|point| (&point["records"], &point["active_users"])).collect();
    assert_eq!(last, [(&json!(2), &json!(2)), (&json!(4), &json!(3))]);
    // Without users counted the sums are the same.
    let sums = ask(&app, "group_by=user&top=2&metrics=records,credits_charged").await;
    assert_eq!(totals(&sums, "records"), totals(&data, "records"));
    let all = ask(&app, "group_by=user&top=5").await;
    assert_eq!(all["series"].list().len(), 5, "nothing is left for a rest");
}

#[tokio::test]
async fn all_users_together_are_one_series() {
    let app = TestApp::start().await;
    five_users(&app).await;
    let data = ask(&app, "start_date=2026-01-14").await;
    assert_eq!(totals(&data, "records"), [(json!({}), json!(10))]);
    assert_eq!(totals(&data, "active_users"), [(json!({}), json!(5))], "not a sum of days");
    let days: Vec<_> = data["series"][0]["points"].column("active_users");
    assert_eq!(days, [4, 5]);
    let models =
        ask(&app, "group_by=model,provider&metrics=credits_charged,active_users&tz=Asia/Kathmandu").await;
    assert_eq!(
        totals(&models, "credits_charged"),
        [
            (json!({"model": "many", "provider": null}), json!(0.09)),
            (json!({"model": "few", "provider": null}), json!(0.06)),
        ]
    );
    let empty = ask(&app, "end_date=2020-01-01&group_by=user").await;
    assert_eq!(empty["series"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_fault_with_its_place() {
    let app = TestApp::start().await;
    for (query, place) in [
        ("top=0", "top"),
        ("top=101", "top"),
        ("group_by=session", "group_by"),
        ("tz=Nowhere", "tz"),
        ("bucket=15m&start_date=2020-01-01", "bucket"),
    ] {
        let request = app.get(&format!("/api/v1/usage/timeseries?{query}")).service();
        request.fault(&format!("query.{place}")).await;
    }
}

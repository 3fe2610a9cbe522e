//! Times at the edges of the calendar, on every route that reads one.

use crate::examples;
use crate::prelude::*;

/// Texts at and beyond the edges, with the status that a filter of them has.
const EDGES: &[(&str, u16)] = &[
    ("0001-01-01", 200),
    ("0001-01-01T00:00:00Z", 200),
    ("9999-12-31", 200),
    ("9999-12-31T23:59:59.999999Z", 200),
    ("2016-12-31T23:59:60Z", 200),
    ("9999-12-31T23:59:59-23:59", 422),
    ("9999-12-31T23:59:59.999999999-00:01", 422),
    ("0001-01-01T00:00:00+00:01", 422),
    ("0000-01-01T00:00:00Z", 422),
    ("0000-01-01T00:00:00+23:59", 422),
    ("-0001-01-01", 422),
    ("-9999-01-01T00:00:00+23:59", 422),
    ("+10000-01-01T00:00:00Z", 422),
    ("10000-01-01", 422),
    ("99999999999999999999", 422),
];
const BEYOND: &str = "9999-12-31T23:59:59-23:59";

/// Bodies with a time, by route.
fn bodies(time: &str) -> Vec<(&'static str, &'static str, Value)> {
    let usage = json!({"endpoint": "/x", "event_type": "e", "occurred_at": time});
    let price = json!({
        "model_name": "m", "rates": {"input": {"credits": 1, "cost_usd": 1, "per": 1000}}, "valid_from": time,
    });
    vec![
        ("POST", "/api/v1/users/auth0%7Ca/usage", usage.clone()),
        ("POST", "/api/v1/users/auth0%7Ca/usage/{id}/correct", json!({"reason": "r", "replacement": usage})),
        ("POST", "/api/v1/users/auth0%7Ca/credits/grants", json!({"amount": 1, "effective_at": time})),
        ("POST", "/api/v1/users/auth0%7Ca/credits/grants", json!({"amount": 1, "expires_at": time})),
        ("POST", "/api/v1/users/auth0%7Ca/sessions", json!({"expires_at": time})),
        ("PUT", "/api/v1/prices", json!({"prices": [price]})),
    ]
}

fn assert_names_the_time(reply: &TestReply, what: &str) {
    let body = reply.json();
    let kinds: Vec<_> = body["detail"].column("type");
    assert_eq!(kinds, ["datetime_parsing"], "{what}: {}", reply.text);
}

/// The paths of GET routes with the names of their parameters that are times.
fn filtered_by_time() -> Vec<(&'static str, Vec<String>)> {
    let times = |route: &gateway::http::route::Route| {
        let parameters = examples::operation(route)["parameters"].clone();
        let parameters = parameters.as_array().cloned().unwrap_or_default();
        let is_time = |parameter: &&Value| parameter["schema"]["format"] == "date-time";
        let names = parameters.iter().filter(is_time).map(|parameter| parameter["name"].text().to_owned());
        (route.path, names.collect::<Vec<_>>())
    };
    examples::routes().map(times).filter(|(_, names)| !names.is_empty()).collect()
}

#[tokio::test]
async fn every_filter_by_time_refuses_what_lies_beyond_the_calendar() {
    let (app, user) = TestApp::with_user(&[]).await;
    let routes = filtered_by_time();
    assert!(routes.len() >= 9, "{routes:?}");
    for (path, names) in routes {
        let path = path.replace("{user_id}", &user.id.as_str().replace('|', "%7C"));
        for name in names {
            for (time, status) in EDGES {
                // A window that is open at the other end, so that neither order nor size matters.
                let query = match (path.contains("/timeseries"), path.contains("/summary"), name.as_str()) {
                    (true, _, "start_date") => format!("{name}={time}&end_date={time}&bucket=1mo"),
                    (_, true, "start_date") => format!("{name}={time}&end_date={time}"),
                    _ => format!("{name}={time}"),
                };
                let sought = if path.ends_with("/search") { "q=x&" } else { "" };
                let query = format!("{sought}{}", query.replace('+', "%2B"));
                let reply = app.get(&format!("{path}?{query}")).service().await;
                assert_eq!(reply.status, *status, "{path}?{query}: {}", reply.text);
                if *status == 422 {
                    let kinds = reply.json()["detail"].clone();
                    assert_eq!(kinds[0]["type"], "datetime_parsing", "{path}?{query}: {kinds}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_body_with_a_time_refuses_what_lies_beyond_the_calendar() {
    let (app, user) = TestApp::with_user(&[]).await;
    let record = examples::record_of(&app, &user).await;
    for (time, status) in EDGES {
        for (method, path, body) in bodies(time) {
            let path = path.replace("{id}", &record.to_string());
            let method = method.parse().unwrap();
            let reply = app.request(method, &path).service().json(&body).await;
            if *status == 422 {
                assert_names_the_time(&reply.expect(422), &format!("{path} {body}"));
            } else {
                // Far in the past or in the future it may be refused, never failed at.
                assert!([200, 409, 422].contains(&reply.status), "{path} {body}: {}", reply.text);
            }
        }
    }
}

/// The item that used to end the whole batch stands behind others that were committed.
#[tokio::test]
async fn in_a_batch_only_the_item_with_the_wrong_time_fails() {
    let (app, user) = TestApp::with_user(&[]).await;
    let item = |index: usize| {
        let mut item =
            json!({"user_id": "auth0|a", "event_type": "e", "charge": true, "credits_charged": 0.5});
        if index == 501 {
            item["occurred_at"] = BEYOND.into();
        }
        item
    };
    let records: Vec<Value> = (0..1_000).map(item).collect();
    let data = app.post("/api/v1/usage/batch").by(&user).json(json!({"records": records})).data().await;
    assert_eq!((&data["recorded"], &data["failed"]), (&json!(999), &json!(1)));
    let failed = &data["results"][501];
    assert_eq!(failed["error_code"], "ValidationException", "{failed}");
    assert_eq!(failed["detail"][0]["type"], "datetime_parsing");
    assert_eq!(failed["detail"][0]["loc"], json!(["body", "occurred_at"]));
    assert_eq!(app.balance().await, 500.5);
}

//! The filter `recorded_by` of the routes that read usage records (HTTP contract 4.1)

use kernel::CallerClass;
use usage::{NewRecord, UsageInput};

use crate::prelude::*;

const LIST: &str = "/api/v1/users/auth0%7Ca/usage";
const STATS: &str = "/api/v1/users/auth0%7Ca/usage/stats";
const EXPORT: &str = "/api/v1/users/auth0%7Ca/usage/export";
const SERIES: &str = "/api/v1/users/auth0%7Ca/usage/timeseries";
const EXPORT_ALL: &str = "/api/v1/usage/export";
const SERIES_ALL: &str = "/api/v1/usage/timeseries";
const SUMMARY: &str = "/api/v1/usage/summary";

/// Two records of each class and two without one for each of two users, the newest first: user, service, none.
async fn start() -> TestApp {
    let app = TestApp::start().await;
    for user in ["auth0|a", "auth0|b"] {
        app.user(user).await;
        let of = |name: &str, recorded_by| {
            UsageInput {
                recorded_by,
                endpoint: Some(format!("/{name}")),
                tokens_used: Some(10),
                model_name: Some(name.to_owned()),
                ..UsageInput::new(user.parse().unwrap(), "ai_chat")
            }
            .complete()
        };
        for turn in 1..=2 {
            let events: [NewRecord; 3] = [
                of(&format!("none{turn}"), CallerClass::User),
                of(&format!("service{turn}"), CallerClass::Service),
                of(&format!("user{turn}"), CallerClass::User),
            ];
            let mut tx = pg::Tx::begin(app.db().pool()).await.unwrap();
            let outcomes = usage::record(&mut tx, app.clock(), &events).await.unwrap();
            assert!(outcomes.iter().all(Result::is_ok));
            tx.commit().await.unwrap();
            app.clock().advance(Duration::SECOND);
        }
    }
    let forget = "UPDATE usage.records SET recorded_by = NULL WHERE endpoint LIKE '/none%'";
    app.db().run(forget).await;
    app
}

async fn ask(app: &TestApp, path: &str, query: &str) -> TestReply {
    app.get(&format!("{path}?{query}")).service().expect(200).await
}

async fn data(app: &TestApp, path: &str, query: &str) -> Value {
    ask(app, path, query).await.json()["data"].clone()
}

fn endpoints(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["endpoint"].text()).collect()
}

/// The endpoints of a file in NDJSON.
async fn exported(app: &TestApp, path: &str, query: &str) -> Vec<String> {
    let text = ask(app, path, &format!("format=ndjson&{query}")).await.text;
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    endpoints(&rows).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_list_has_the_records_of_one_class() {
    let app = start().await;
    for (query, expected) in [
        ("recorded_by=user", vec!["/user2", "/user1"]),
        ("recorded_by=service", vec!["/service2", "/service1"]),
        ("recorded_by=service&model_name=service1", vec!["/service1"]),
        ("recorded_by=service&model_name=user1", vec![]),
    ] {
        let found = data(&app, LIST, query).await;
        assert_eq!(endpoints(found.list()), expected, "{query}");
    }
    assert_eq!(data(&app, LIST, "").await.list().len(), 6);
}

#[tokio::test]
async fn a_cursor_belongs_to_the_class_it_was_made_for() {
    let app = start().await;
    let cursor = ask(&app, LIST, "limit=1&recorded_by=user").await.header("x-next-cursor").to_owned();
    let next = data(&app, LIST, &format!("limit=1&recorded_by=user&cursor={cursor}")).await;
    assert_eq!(endpoints(next.list()), ["/user1"]);
    for query in ["recorded_by=service&", ""] {
        let path = format!("{LIST}?limit=1&{query}cursor={cursor}");
        app.get(&path).service().fault("query.cursor").await;
    }
}

#[tokio::test]
async fn exports_have_the_records_of_one_class() {
    let app = start().await;
    for class in ["user", "service"] {
        let query = format!("recorded_by={class}");
        let of_one = [format!("/{class}1"), format!("/{class}2")];
        assert_eq!(exported(&app, EXPORT, &query).await, of_one);
        let of_both = [of_one.clone(), of_one].concat();
        assert_eq!(exported(&app, EXPORT_ALL, &query).await, of_both);
        let csv = ask(&app, EXPORT_ALL, &query).await.text;
        let mut rows = csv::Reader::from_reader(csv.as_bytes());
        let column = rows.headers().unwrap().iter().position(|name| name == "recorded_by");
        let classes: Vec<String> =
            rows.records().map(|row| row.unwrap()[column.unwrap()].to_owned()).collect();
        assert_eq!(classes, [class; 4]);
    }
    assert_eq!(exported(&app, EXPORT, "").await.len(), 6);
    assert_eq!(exported(&app, EXPORT_ALL, "").await.len(), 12);
}

#[tokio::test]
async fn sums_are_those_of_one_class() {
    let app = start().await;
    for (query, class, share) in
        [("recorded_by=user", Some("user"), 1), ("recorded_by=service", Some("service"), 1), ("", None, 3)]
    {
        let stats = data(&app, STATS, query).await;
        stats.has(json!({"total_records": 2 * share, "total_tokens_used": 20 * share}));
        if let Some(class) = class {
            let models = json!({format!("{class}1"): 1, format!("{class}2"): 1});
            assert_eq!(stats["by_model"], models);
        }
        let series = data(&app, SERIES, query).await;
        assert_eq!(series["series"][0]["totals"]["records"], 2 * share);
        let across = data(&app, SERIES_ALL, &format!("metrics=records,active_users&{query}")).await;
        assert_eq!(across["series"][0]["totals"], json!({"records": 4 * share, "active_users": 2}));
        let summary = data(&app, SUMMARY, query).await;
        summary.has(json!({"totals.records": 4 * share, "totals.active_users": 2}));
        // Users have no class.
        assert_eq!(summary["totals"]["new_users"], 2);
        let unpriced = summary["suggestions"].list().iter();
        let unpriced = unpriced.filter(|one| one["code"] == "unpriced_model");
        assert_eq!(unpriced.count(), 2 * share);
        assert_eq!(summary.get("coverage"), None);
    }
}

/// A correction is made by a service, and takes back what its record says: it counts for the class of the record.
#[tokio::test]
async fn a_record_that_was_taken_back_is_in_no_sum_of_a_class() {
    let app = start().await;
    let listed = data(&app, LIST, "recorded_by=user").await;
    let path = format!("{LIST}/{}/correct", listed[0]["id"]);
    let reason = json!({"reason": "wrong"});
    let corrected = app.post(&path).service().json(&reason).expect(200).await;
    assert_eq!(corrected.json()["data"]["correction"]["recorded_by"], "user");
    for (class, left) in [("user", 1), ("service", 2)] {
        let query = format!("recorded_by={class}");
        data(&app, STATS, &query).await.has(json!({"total_records": left, "total_tokens_used": 10 * left}));
        let series = data(&app, SERIES, &query).await;
        assert_eq!(series["series"][0]["totals"]["records"], left, "{class}");
        // The two of the other user are untouched.
        let across = data(&app, SERIES_ALL, &query).await;
        assert_eq!(across["series"][0]["totals"]["records"], left + 2, "{class}");
        let summary = data(&app, SUMMARY, &query).await;
        assert_eq!(summary["totals"]["records"], left + 2, "{class}");
    }
}

#[tokio::test]
async fn another_value_is_refused() {
    let app = start().await;
    for path in [LIST, STATS, EXPORT, SERIES, EXPORT_ALL, SERIES_ALL, SUMMARY] {
        for value in ["admin", "User", "", "null"] {
            let asked = format!("{path}?recorded_by={value}");
            assert_eq!(app.get(&asked).service().fault("query.recorded_by").await["type"], "enum");
        }
    }
}

//! `/api/v1/users/{user_id}/usage` and `.../usage/stats`

use crate::prelude::*;

mod charge;
mod self_metering;
pub mod timeseries;

const PATH: &str = "/api/v1/users/auth0%7Ca/usage";

#[tokio::test]
async fn recording_keeps_all_fields_and_deducts_nothing() {
    let (app, user) = TestApp::with_user(&[]).await;
    let body = json!({
        "user_id": "auth0|a", "session_id": "sess_1", "trace_id": "t", "endpoint": "/api/chat/completion",
        "event_type": "ai_chat", "credits_charged": 5.5, "cost_usd": 0.011, "calculation_method": "gpt4_pricing",
        "tokens_used": 1250, "prompt_tokens": 800, "completion_tokens": 450, "model_name": "gpt-4",
        "provider": "openai", "tool_name": "chat_service", "operation_name": "generate_response",
        "billing_metadata": {"tier": "pro"}, "request_data": {"temperature": 0.7}, "response_data": {"ok": true},
    });
    let answer = app.post(PATH).by(&user).json(&body).ok().await;
    assert_eq!(answer["message"], "Usage recorded successfully");
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&answer["data"][name], value, "{name}");
    }
    let listed = app.get(PATH).by(&user).ok().await;
    assert_eq!(listed["data"], json!([answer["data"]]));
    assert_eq!(app.balance().await, 1000.0);
}

#[tokio::test]
async fn defaults_are_those_of_the_documents() {
    let (app, user) = TestApp::with_user(&[]).await;
    let record = |body: Value| app.post(PATH).by(&user).json(&body);
    let least = record(json!({"endpoint": "/x", "event_type": "t"})).data().await;
    least.has(json!({"calculation_method": "unknown", "credits_charged": 0.0, "billing_metadata": {}}));
    // Recorded is not charged.
    for (name, value) in [
        ("event_id", Value::Null),
        ("charged", json!(false)),
        ("credits_uncollected", json!(0.0)),
        ("transaction_id", Value::Null),
    ] {
        assert_eq!(least.get(name), Some(&value), "{name}");
    }
    let sums = json!({"endpoint": "/x", "event_type": "t", "prompt_tokens": 3, "completion_tokens": 4, "model_name": "m"});
    let summed = record(sums).data().await;
    assert_eq!((&summed["tokens_used"], &summed["calculation_method"]), (&json!(7), &json!("unrated")));
}

#[tokio::test]
async fn faults_are_listed() {
    let (app, user) = TestApp::with_user(&[]).await;
    let record = |body: Value| app.post(PATH).by(&user).json(&body);
    let faults = record(json!({"tokens_used": -1, "cost_usd": "0.0000000001"})).expect(422).await.json();
    let kinds: Vec<_> = faults["detail"].column("type");
    assert_eq!(kinds, ["missing", "missing", "greater_than_equal", "decimal_max_places"]);
    let later = app.clock().now() + Duration::minutes(6);
    for (member, value, place) in [
        // It would be held for nothing.
        ("hold_id", json!("h"), "hold_id"),
        ("charge", json!("perhaps"), "charge"),
        ("event_id", json!(""), "event_id"),
        ("event_id", json!("correction:1"), "event_id"),
        ("occurred_at", json!(later.unix_timestamp().to_string()), "occurred_at"),
        ("occurred_at", json!("2020-01-01"), "occurred_at"),
        ("cached_prompt_tokens", json!(1), "cached_prompt_tokens"),
    ] {
        let mut body = json!({"endpoint": "/x", "event_type": "t"});
        body[member] = value;
        record(body).fault(&format!("body.{place}")).await;
    }
    record(json!({"endpoint": "/x", "event_type": "t", "charge": false})).expect(200).await;
    let request = record(json!({"endpoint": "/x", "event_type": "t", "user_id": "auth0|b"}));
    request.refused(400, "UserIdMismatchException").await;
}

#[tokio::test]
async fn statistics_follow_the_filters_and_are_exact() {
    let (app, user) = TestApp::with_user(&[]).await;
    for turn in 0..6_i32 {
        app.clock().advance(Duration::minutes(1));
        let body = json!({
            "endpoint": "/x", "event_type": if turn % 2 == 0 { "ai_chat" } else { "api_call" },
            "credits_charged": "0.1", "cost_usd": 0.001, "tokens_used": 10, "model_name": "gpt-4", "provider": "openai",
        });
        app.post(PATH).by(&user).json(&body).expect(200).await;
    }
    let stats = app.get(&format!("{PATH}/stats")).by(&user).expect(200).await;
    assert!(stats.text.contains(
        r#""total_records":6,"total_credits_charged":0.6,"total_credits_deducted":0.0,"total_cost_usd":0.006,"total_tokens_used":60"#
    ));
    assert!(stats.text.contains(r#""date_range":{"start_date":null,"end_date":null}"#));
    let window = "start_date=2026-01-15T12:02:00Z&end_date=2026-01-15T12:04:00Z&event_type=ai_chat";
    let some = app.get(&format!("{PATH}/stats?{window}")).by(&user).ok().await;
    assert_eq!(some["data"]["total_records"], 1);
    assert_eq!(some["data"]["by_event_type"], json!({"ai_chat": 1}));
    assert_eq!(some["data"]["date_range"]["start_date"], "2026-01-15T12:02:00Z");
    let listed = app.get(&format!("{PATH}?{window}")).by(&user).ok().await;
    assert_eq!(listed["data"].list().len(), 1);
    app.get(&format!("{PATH}/stats?start_date=2026-02-01&end_date=2026-01-01")).by(&user).expect(422).await;
}

#[tokio::test]
async fn statistics_are_exact_beyond_64_bits() {
    let (app, user) = TestApp::with_user(&[]).await;
    let most = usage::UsageInput {
        credits_charged: Some(kernel::Credits::MAX),
        cost_usd: Some(kernel::Usd::MAX),
        ..usage::UsageInput::new(user.id.clone(), "ai_chat")
    };
    let thousand = vec![most.complete(); 1_000];
    for _ in 0..10 {
        let mut tx = pg::Tx::begin(app.db().pool()).await.unwrap();
        usage::record(&mut tx, app.clock(), &thousand).await.unwrap();
        tx.commit().await.unwrap();
    }
    let stats = app.get(&format!("{PATH}/stats")).by(&user).expect(200).await;
    let sums = r#""total_records":10000,"total_credits_charged":10000000000000.0,"total_credits_deducted":0.0,"total_cost_usd":10000000000.0,"#;
    assert!(stats.text.contains(sums), "{}", stats.text);
}

#[tokio::test]
async fn the_history_pages_newest_first() {
    let (app, user) = TestApp::with_user(&[]).await;
    for turn in 0..5 {
        let body = json!({"endpoint": format!("/{turn}"), "event_type": "t"});
        app.post(PATH).by(&user).json(&body).expect(200).await;
    }
    let pages = app.pages("usage?limit=2", &user).await;
    assert_eq!(json!(pages.concat()).column("endpoint"), ["/4", "/3", "/2", "/1", "/0"]);
}

//! `/api/v1/usage/summary`

use usage::{NewRecord, UsageInput};

use super::super::users::usage::timeseries::record;
use crate::prelude::*;

async fn ask(app: &TestApp, query: &str) -> Value {
    app.get(&format!("/api/v1/usage/summary?{query}")).service().data().await
}

/// A call of a model, `days` before the clock.
fn call(app: &TestApp, user: &str, days: i64, model: &str, cost: &str) -> NewRecord {
    UsageInput {
        occurred_at: Some(app.clock().now() - Duration::days(days)),
        model_name: Some(model.to_owned()),
        provider: Some("openai".to_owned()),
        tool_name: Some("chat".to_owned()),
        credits_charged: Some("1.5".parse().unwrap()),
        cost_usd: Some(cost.parse().unwrap()),
        prompt_tokens: Some(70),
        completion_tokens: Some(30),
        ..UsageInput::new(user.parse().unwrap(), "ai_chat")
    }
    .complete()
}

/// The same without a charge: nobody knows its price.
fn unrated(app: &TestApp, user: &str, days: i64, model: &str) -> NewRecord {
    UsageInput {
        occurred_at: Some(app.clock().now() - Duration::days(days)),
        model_name: Some(model.to_owned()),
        prompt_tokens: Some(10),
        ..UsageInput::new(user.parse().unwrap(), "ai_chat")
    }
    .complete()
}

#[tokio::test]
async fn a_summary_tells_who_used_what_and_who_came() {
    let app = TestApp::start().await;
    app.user("auth0|old").await;
    app.clock().advance(Duration::days(40));
    let (_a, _b) = (app.user("auth0|a").await, app.user("auth0|b").await);
    record(
        &app,
        &[
            call(&app, "auth0|a", 0, "gpt-4", "0.75"),
            call(&app, "auth0|a", 1, "gpt-4", "0"),
            call(&app, "auth0|b", 1, "small", "0.25"),
            call(&app, "auth0|b", 35, "small", "9"),
        ],
    )
    .await;
    // Today is 24 February 2026, noon.
    let data = ask(&app, "").await;
    data.has(json!({
        "period": {"start_date": "2026-01-26T00:00:00.000000Z", "end_date": "2026-02-24T12:00:00.000000Z", "tz": "UTC"},
        "totals": {"records": 3, "active_users": 2, "new_users": 2, "credits_charged": 4.5, "credits_deducted": 0.0, "cost_usd": 1.0, "tokens_used": 300},
    }));
    let trend = data["active_users_trend"].list();
    assert_eq!(trend.len(), 30);
    assert_eq!(trend[0], json!({"date": "2026-01-26", "active_users": 0, "new_users": 0, "records": 0}));
    assert_eq!(trend[28], json!({"date": "2026-02-23", "active_users": 2, "new_users": 0, "records": 2}));
    assert_eq!(trend[29], json!({"date": "2026-02-24", "active_users": 1, "new_users": 2, "records": 1}));
    data.has(json!({
        "feature_use": [{"event_type": "ai_chat", "tool_name": "chat", "records": 3, "users": 2, "credits_charged": 4.5, "credits_deducted": 0.0}],
    }));
    assert_eq!(
        data["cost_by_model"],
        json!([
            {"model_name": "gpt-4", "provider": "openai", "records": 2, "tokens_used": 200, "credits_charged": 3.0, "credits_deducted": 0.0, "cost_usd": 0.75},
            {"model_name": "small", "provider": "openai", "records": 1, "tokens_used": 100, "credits_charged": 1.5, "credits_deducted": 0.0, "cost_usd": 0.25},
        ])
    );
    assert_eq!(
        data["suggestions"],
        json!([{"code": "costly_model", "message": "gpt-4 makes 75 % of the cost",
                "evidence": {"model_name": "gpt-4", "share": 0.75}}])
    );
}

#[tokio::test]
async fn days_are_those_of_the_zone_and_both_ends_belong_to_the_period() {
    let app = TestApp::start().await;
    // 15 January, noon: in Auckland the 16th began an hour ago.
    app.user("auth0|a").await;
    record(&app, &[call(&app, "auth0|a", 0, "m", "1")]).await;
    let day =
        ask(&app, "tz=Pacific/Auckland&start_date=2026-01-15T12:00:00Z&end_date=2026-01-15T12:00:00Z").await;
    day.has(json!({
        "active_users_trend": [{"date": "2026-01-16", "active_users": 1, "new_users": 1, "records": 1}],
        "totals.records": 1,
    }));
    let before = ask(&app, "end_date=2026-01-15T11:59:59.999999Z").await;
    before.has(json!({"totals.records": 0, "totals.new_users": 0, "suggestions": []}));
    for (query, place) in [
        ("tz=Nowhere", "tz"),
        ("start_date=2026-01-16", "start_date"),
        ("start_date=2026-01-16&end_date=2026-01-15", "start_date"),
        ("start_date=0001-01-01", "start_date"),
    ] {
        app.get(&format!("/api/v1/usage/summary?{query}")).service().fault(&format!("query.{place}")).await;
    }
}

/// What is said of models without a price.
fn told(data: &Value) -> Vec<(Value, Value)> {
    let list = data["suggestions"].list().to_vec();
    let unpriced = list.into_iter().filter(|one| one["code"] == "unpriced_model");
    unpriced.map(|one| (one["message"].clone(), one["evidence"].clone())).collect()
}

#[tokio::test]
async fn models_without_a_price_are_told_until_their_records_are_taken_back() {
    let app = TestApp::start().await;
    let mut events: Vec<_> = (0..3).map(|day| unrated(&app, "auth0|a", day, "mystery")).collect();
    events.push(unrated(&app, "auth0|b", 40, "old mystery"));
    events.push(call(&app, "auth0|a", 0, "priced", "0"));
    let without_tokens = UsageInput {
        model_name: Some("no tokens".to_owned()),
        ..UsageInput::new("auth0|a".parse().unwrap(), "ai_chat")
    };
    events.push(NewRecord { occurred_at: Some(app.clock().now()), ..without_tokens.complete() });
    record(&app, &events).await;
    let mystery = |records: i64| {
        let message = json!(format!("mystery has no price for {records} records"));
        vec![(message, json!({"model_name": "mystery", "records": records}))]
    };
    assert_eq!(told(&ask(&app, "").await), mystery(3));
    // The newest of them is taken back.
    let list = app.get("usage?model_name=mystery").service();
    app.user("auth0|a").await;
    let list = list.data().await;
    let path = format!("/api/v1/users/auth0%7Ca/usage/{}/correct", list[0]["id"]);
    app.post(&path).service().json(json!({"reason": "wrong"})).expect(200).await;
    assert_eq!(told(&ask(&app, "").await), mystery(2));
    assert_eq!(
        told(&ask(&app, "start_date=2026-01-13T12:00:00Z&end_date=2026-01-13T12:00:00Z").await),
        mystery(1)
    );
}

#[tokio::test]
async fn very_many_records_without_a_price_are_counted_up_to_a_bound() {
    let app = TestApp::start().await;
    let one = NewRecord {
        occurred_at: Some(datetime!(2026-01-15 11:00 UTC)),
        ..unrated(&app, "auth0|c", 0, "common")
    };
    let mut tx = pg::Tx::begin(app.db().pool()).await.unwrap();
    usage::record(&mut tx, app.clock(), &vec![one; 600]).await.unwrap();
    tx.commit().await.unwrap();
    let data = ask(&app, "").await;
    assert_eq!(
        told(&data)[0],
        (
            json!("common has no price for at least 500 records"),
            json!({"model_name": "common", "records": 500, "at_least": true})
        )
    );
    assert_eq!(data["suggestions"][0]["code"], "long_prompts");
    let chinese = app.get("/api/v1/usage/summary").service().header("Accept-Language", "zh").await.json();
    assert_eq!(chinese["data"]["suggestions"][0]["message"], "提示词占令牌的 100 %");
}

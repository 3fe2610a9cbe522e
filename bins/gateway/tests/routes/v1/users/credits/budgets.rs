//! `GET` and `PUT /api/v1/users/{user_id}/credits/budgets`

use serde_json::{Value, json};
use testkit::{TestApp, TestReply, TestUser};
use time::Duration;

const PATH: &str = "/api/v1/users/auth0%7Ca/credits/budgets";

async fn put(app: &TestApp, body: Value) -> TestReply {
    app.put(PATH).service().json(&body).send().await
}

async fn get(app: &TestApp, user: &TestUser) -> Value {
    let reply = app.get(PATH).token(&user.token).send().await.expect(200);
    reply.json()["data"]["budgets"].clone()
}

async fn post(app: &TestApp, user: &TestUser, path: &str, key: &str, body: Value) -> TestReply {
    app.post(&format!("/api/v1/users/auth0%7Ca/{path}"))
        .token(&user.token)
        .header("Idempotency-Key", key)
        .json(&body)
        .send()
        .await
}

#[tokio::test]
async fn a_service_sets_what_a_user_may_spend_and_he_sees_it() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    assert_eq!(get(&app, &user).await, json!([]));
    post(&app, &user, "credits/consume", "k1", json!({"amount": 12.5})).await.expect(200);
    post(&app, &user, "credits/holds", "k2", json!({"amount": 2})).await.expect(200);
    let budgets = json!({"budgets": [
        {"period": "lifetime", "limit": "2000"}, {"period": "day", "tz": "Asia/Shanghai", "limit": 100},
    ]});
    let reply = put(&app, budgets).await.expect(200).json();
    let expected = json!([
        {"period": "day", "tz": "Asia/Shanghai", "limit": 100.0, "spent": 12.5, "held": 2.0,
         "resets_at": "2026-01-15T16:00:00.000000Z"},
        {"period": "lifetime", "tz": "UTC", "limit": 2000.0, "spent": 12.5, "held": 2.0, "resets_at": null},
    ]);
    assert_eq!(reply["data"]["budgets"], expected);
    assert_eq!(get(&app, &user).await, expected);

    let refused = post(&app, &user, "credits/consume", "k3", json!({"amount": 86})).await;
    let refused = refused.expect(400);
    assert_eq!(refused.error_code(), "BudgetExceededException");
    let figures = json!({"period": "day", "limit": 100.0, "spent": 12.5, "held": 2.0,
        "resets_at": "2026-01-15T16:00:00.000000Z"});
    let details = refused.json()["error_details"].clone();
    for (name, value) in figures.as_object().unwrap() {
        assert_eq!(&details[name], value, "{name}");
    }
    // The key remembers the refusal, also on the day after; a new request finds a new window. The hold has ended.
    app.clock().advance(Duration::hours(4));
    let token = app.token("auth0|a");
    let user = TestUser { token, ..user };
    let again = post(&app, &user, "credits/consume", "k3", json!({"amount": 86})).await;
    assert_eq!(again.expect(400).json()["error_details"], details);
    post(&app, &user, "credits/consume", "k4", json!({"amount": 100})).await.expect(200);
    let after = get(&app, &user).await;
    assert_eq!(
        (&after[0]["spent"], &after[0]["held"], &after[1]["spent"]),
        (&json!(100.0), &json!(0.0), &json!(112.5))
    );
    assert_eq!(put(&app, json!({"budgets": []})).await.expect(200).json()["data"]["budgets"], json!([]));
    post(&app, &user, "credits/consume", "k5", json!({"amount": 500})).await.expect(200);
}

#[tokio::test]
async fn charged_usage_is_kept_within_the_budget() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let month = json!({"budgets": [{"period": "month", "tz": "Europe/Berlin", "limit": 10}]});
    put(&app, month).await.expect(200);
    let usage = |credits: f64| json!({"endpoint": "/chat", "event_type": "ai_chat", "credits_charged": credits, "charge": true});
    post(&app, &user, "usage", "u1", usage(7.5)).await.expect(200);
    let refused = post(&app, &user, "usage", "u2", usage(2.6)).await.expect(400);
    assert_eq!(refused.error_code(), "BudgetExceededException");
    let again = post(&app, &user, "usage", "u2", usage(2.6)).await.expect(400);
    assert_eq!(again.json()["error_details"], refused.json()["error_details"]);
    post(&app, &user, "usage", "u3", usage(2.5)).await.expect(200);
    assert_eq!(get(&app, &user).await[0]["spent"], 10.0);
    let listed = app.get("/api/v1/users/auth0%7Ca/usage").token(&user.token).send().await;
    assert_eq!(listed.expect(200).json()["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn impossible_budgets_are_422() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let day = json!({"period": "day", "limit": 1});
    for (budgets, place) in [
        (json!([day, day]), "budgets"),
        (json!([day, day, day, day]), "budgets"),
        (json!({}), "budgets"),
        (json!(null), "budgets"),
        (json!([{"period": "week", "limit": 1}]), "period"),
        (json!([{"period": "day", "limit": -1}]), "limit"),
        (json!([{"period": "day", "limit": 0.000_000_1}]), "limit"),
        (json!([{"period": "day"}]), "limit"),
        (json!([day, {"period": "month", "limit": 1, "tz": "FOO+3"}]), "tz"),
        (json!([{"period": "day", "limit": 1, "tz": ""}]), "tz"),
        (json!([{"period": "day", "limit": 1, "tz": 7}]), "tz"),
    ] {
        let reply = put(&app, json!({"budgets": budgets})).await.expect(422);
        let place_told = reply.json()["detail"][0]["loc"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(place_told, place, "{budgets}: {}", reply.text);
    }
    assert_eq!(get(&app, &user).await, json!([]));
    let unknown = app
        .put("/api/v1/users/auth0%7Cnobody/credits/budgets")
        .service()
        .json(&json!({"budgets": []}))
        .send()
        .await
        .expect(404);
    assert_eq!(unknown.error_code(), "UserNotFoundException");
    let own = app.put(PATH).token(&user.token).json(&json!({"budgets": []})).send().await;
    assert_eq!(own.status, 403);
}

#[tokio::test]
async fn a_limit_of_zero_lets_nothing_be_spent() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let budgets = json!({"budgets": [{"period": "day", "limit": 0}]});
    put(&app, budgets).await.expect(200);
    let shown = get(&app, &user).await;
    assert_eq!((&shown[0]["limit"], &shown[0]["spent"]), (&json!(0.0), &json!(0.0)));
    for (key, path, body) in [
        ("k1", "credits/consume", json!({"amount": "0.000001"})),
        ("k2", "credits/holds", json!({"amount": 1})),
        ("k3", "credits/holds", json!({"amount": 1, "mode": "clamp"})),
        ("k4", "usage", json!({"endpoint": "/x", "event_type": "e", "charge": true, "credits_charged": 0.5})),
    ] {
        let refused = post(&app, &user, path, key, body).await.expect(400);
        assert_eq!(refused.error_code(), "BudgetExceededException", "{path}");
        assert_eq!(refused.json()["error_details"]["limit"], 0.0, "{path}");
    }
    let free = json!({"endpoint": "/x", "event_type": "e", "charge": true, "credits_charged": 0});
    post(&app, &user, "usage", "k5", free).await.expect(200);
    let negative = json!({"budgets": [{"period": "day", "limit": -1}]});
    let refused = put(&app, negative).await.expect(422).json();
    assert_eq!(refused["detail"][0]["type"], "greater_than_equal");
    put(&app, json!({"budgets": []})).await.expect(200);
    post(&app, &user, "credits/consume", "k6", json!({"amount": 1})).await.expect(200);
}

//! `GET` and `PUT /api/v1/users/{user_id}/credits/budgets`

use crate::prelude::*;

const PATH: &str = "credits/budgets";

fn put(app: &TestApp, body: Value) -> TestRequest {
    app.put(PATH).service().json(&body)
}

async fn get(app: &TestApp, user: &TestUser) -> Value {
    app.get(PATH).by(user).data().await["budgets"].clone()
}

fn post(app: &TestApp, user: &TestUser, path: &str, key: &str, body: Value) -> TestRequest {
    app.post(path).by(user).key(key).json(&body)
}

#[tokio::test]
async fn a_service_sets_what_a_user_may_spend_and_he_sees_it() {
    let (app, user) = TestApp::with_user(&[]).await;
    assert_eq!(get(&app, &user).await, json!([]));
    post(&app, &user, "credits/consume", "k1", json!({"amount": 12.5})).expect(200).await;
    post(&app, &user, "credits/holds", "k2", json!({"amount": 2})).expect(200).await;
    let budgets = json!({"budgets": [
        {"period": "lifetime", "limit": "2000"}, {"period": "day", "tz": "Asia/Shanghai", "limit": 100},
    ]});
    let reply = put(&app, budgets).ok().await;
    let expected = json!([
        {"period": "day", "tz": "Asia/Shanghai", "limit": 100.0, "spent": 12.5, "held": 2.0,
         "resets_at": "2026-01-15T16:00:00.000000Z"},
        {"period": "lifetime", "tz": "UTC", "limit": 2000.0, "spent": 12.5, "held": 2.0, "resets_at": null},
    ]);
    assert_eq!(reply["data"]["budgets"], expected);
    assert_eq!(get(&app, &user).await, expected);

    let request = post(&app, &user, "credits/consume", "k3", json!({"amount": 86}));
    let refused = request.refused(400, "BudgetExceededException").await;
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
    post(&app, &user, "credits/consume", "k4", json!({"amount": 100})).expect(200).await;
    get(&app, &user).await.has(json!({"0.spent": 100.0, "0.held": 0.0, "1.spent": 112.5}));
    assert_eq!(put(&app, json!({"budgets": []})).data().await["budgets"], json!([]));
    post(&app, &user, "credits/consume", "k5", json!({"amount": 500})).expect(200).await;
}

#[tokio::test]
async fn charged_usage_is_kept_within_the_budget() {
    let (app, user) = TestApp::with_user(&[]).await;
    let month = json!({"budgets": [{"period": "month", "tz": "Europe/Berlin", "limit": 10}]});
    put(&app, month).expect(200).await;
    let usage = |credits: f64| json!({"endpoint": "/chat", "event_type": "ai_chat", "credits_charged": credits, "charge": true});
    post(&app, &user, "usage", "u1", usage(7.5)).expect(200).await;
    let refused = post(&app, &user, "usage", "u2", usage(2.6)).refused(400, "BudgetExceededException").await;
    let again = post(&app, &user, "usage", "u2", usage(2.6)).expect(400).await;
    assert_eq!(again.json()["error_details"], refused.json()["error_details"]);
    post(&app, &user, "usage", "u3", usage(2.5)).expect(200).await;
    assert_eq!(get(&app, &user).await[0]["spent"], 10.0);
    assert_eq!(app.get("usage").by(&user).data().await.list().len(), 2);
}

#[tokio::test]
async fn impossible_budgets_are_422() {
    let (app, user) = TestApp::with_user(&[]).await;
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
        let reply = put(&app, json!({"budgets": budgets})).expect(422).await;
        let place_told = reply.json()["detail"][0]["loc"].list().last().unwrap().clone();
        assert_eq!(place_told, place, "{budgets}: {}", reply.text);
    }
    assert_eq!(get(&app, &user).await, json!([]));
    app.put("/api/v1/users/auth0%7Cnobody/credits/budgets")
        .service()
        .json(json!({"budgets": []}))
        .refused(404, "UserNotFoundException")
        .await;
    assert_eq!(app.put(PATH).by(&user).json(json!({"budgets": []})).await.status, 403);
}

#[tokio::test]
async fn a_limit_of_zero_lets_nothing_be_spent() {
    let (app, user) = TestApp::with_user(&[]).await;
    let budgets = json!({"budgets": [{"period": "day", "limit": 0}]});
    put(&app, budgets).expect(200).await;
    let shown = get(&app, &user).await;
    assert_eq!((&shown[0]["limit"], &shown[0]["spent"]), (&json!(0.0), &json!(0.0)));
    for (key, path, body) in [
        ("k1", "credits/consume", json!({"amount": "0.000001"})),
        ("k2", "credits/holds", json!({"amount": 1})),
        ("k3", "credits/holds", json!({"amount": 1, "mode": "clamp"})),
        ("k4", "usage", json!({"endpoint": "/x", "event_type": "e", "charge": true, "credits_charged": 0.5})),
    ] {
        let refused = post(&app, &user, path, key, body).refused(400, "BudgetExceededException").await;
        assert_eq!(refused.json()["error_details"]["limit"], 0.0, "{path}");
    }
    let free = json!({"endpoint": "/x", "event_type": "e", "charge": true, "credits_charged": 0});
    post(&app, &user, "usage", "k5", free).expect(200).await;
    let negative = put(&app, json!({"budgets": [{"period": "day", "limit": -1}]})).expect(422).await;
    negative.has(json!({"detail.0.type": "greater_than_equal"}));
    put(&app, json!({"budgets": []})).expect(200).await;
    post(&app, &user, "credits/consume", "k6", json!({"amount": 1})).expect(200).await;
}

//! `POST /api/v1/users/{user_id}/credits/recharge`

use serde_json::{Value, json};
use testkit::TestApp;

const PATH: &str = "/api/v1/users/auth0%7Ca/credits/recharge";

#[tokio::test]
async fn adds_by_json_and_by_query() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let body = json!({"amount": 949.0, "description": "Pro", "metadata": {"invoice_id": "inv_1"}});
    let reply = app.post(PATH).token(&user.token).json(&body).send().await.expect(200);
    assert!(
        reply.text.contains(r#""recharged_amount":949.0,"new_balance":1949.0,"remaining_credits":1949.0"#)
    );
    let answer = reply.json();
    assert_eq!(answer["message"], "Recharged 949.0 credits successfully");
    assert_eq!(answer["replayed"], false);
    assert_eq!(answer["transaction_id"], answer["data"]["transaction_id"]);
    assert_eq!(answer["data"]["transaction_type"], "recharge");
    assert_eq!(answer["data"]["direction"], "credit");
    let by_query =
        app.post(&format!("{PATH}?amount=1&description=x")).token(&user.token).send().await.expect(200);
    assert_eq!(by_query.json()["new_balance"], 1950.0);
    let default = app.post(&format!("{PATH}?amount=1")).token(&user.token).send().await.expect(200);
    assert_eq!(default.json()["data"]["description"], "Credits recharged");
    let total = app.get("/api/v1/users/me").token(&user.token).send().await.json();
    assert_eq!((&total["credits"], &total["credits_total"]), (&json!(1951), &json!(1951)));
}

#[tokio::test]
async fn a_reference_recharges_once() {
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    let recharge = |amount: Value| {
        app.post(PATH).service().json(&json!({"amount": amount, "reference_id": "pi_1"})).send()
    };
    let first = recharge(json!(500)).await.expect(200).json();
    let second = recharge(json!("500.0")).await.expect(200).json();
    assert_eq!(second["replayed"], true);
    assert_eq!(first["data"], second["data"], "a repeat answers the first transaction");
    assert_eq!(second["new_balance"], 1500.0);
    let other = recharge(json!(501)).await.expect(409);
    assert_eq!(other.error_code(), "ReferenceConflictException");
    assert!(other.json()["error_details"]["transaction_id"].as_str().unwrap().starts_with("txn_"));
}

#[tokio::test]
async fn query_and_body_must_not_contradict() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let agreeing = app.post(&format!("{PATH}?amount=5.0")).token(&user.token).json(&json!({"amount": "5"}));
    agreeing.send().await.expect(200);
    let reply = app.post(&format!("{PATH}?amount=5")).token(&user.token).json(&json!({"amount": 6}));
    let fault = reply.send().await.expect(422).json()["detail"][0].clone();
    assert_eq!((&fault["type"], &fault["loc"]), (&json!("conflicting_values"), &json!(["query", "amount"])));
    let missing = app.post(PATH).token(&user.token).send().await.expect(422).json();
    assert_eq!(missing["detail"][0]["loc"], json!(["query", "amount"]));
}

#[tokio::test]
async fn a_balance_has_a_limit() {
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    let reply = app.post(PATH).service().json(&json!({"amount": 1_000_000_000})).send().await.expect(400);
    assert_eq!(reply.error_code(), "BalanceLimitExceededException");
    assert_eq!(reply.json()["error_details"]["limit"], 1_000_000_000.0);
    let most = app.post(PATH).service().json(&json!({"amount": 999_999_000})).send().await.expect(200);
    assert_eq!(most.json()["new_balance"], 1_000_000_000.0);
}

#[tokio::test]
async fn users_recharge_themselves_only_where_it_is_allowed() {
    let app = TestApp::start_with(&[("SELF_RECHARGE", "denied")]).await;
    let user = app.user("auth0|a").await;
    let own = app.post(&format!("{PATH}?amount=5")).token(&user.token).send().await.expect(403);
    assert_eq!(own.error_code(), "PermissionDeniedException");
    app.post(&format!("{PATH}?amount=5")).service().send().await.expect(200);
}

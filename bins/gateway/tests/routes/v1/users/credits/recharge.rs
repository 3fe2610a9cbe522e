//! `POST /api/v1/users/{user_id}/credits/recharge`

use crate::prelude::*;

const PATH: &str = "credits/recharge";

#[tokio::test]
async fn adds_by_json_and_by_query() {
    let (app, user) = TestApp::with_user(&[]).await;
    let body = json!({"amount": 949.0, "description": "Pro", "metadata": {"invoice_id": "inv_1"}});
    let reply = app.post(PATH).by(&user).json(&body).expect(200).await;
    let plain = r#""recharged_amount":949.0,"new_balance":1949.0,"remaining_credits":1949.0"#;
    assert!(reply.text.contains(plain), "{}", reply.text);
    let answer = reply.json();
    assert_eq!(answer["message"], "Recharged 949.0 credits successfully");
    assert_eq!(answer["replayed"], false);
    assert_eq!(answer["transaction_id"], answer["data"]["transaction_id"]);
    assert_eq!(answer["data"]["transaction_type"], "recharge");
    assert_eq!(answer["data"]["direction"], "credit");
    let by_query = app.post(&format!("{PATH}?amount=1&description=x")).by(&user).expect(200).await;
    assert_eq!(by_query.json()["new_balance"], 1950.0);
    let default = app.post(&format!("{PATH}?amount=1")).by(&user).expect(200).await;
    assert_eq!(default.json()["data"]["description"], "Credits recharged");
    let total = app.get("/api/v1/users/me").by(&user).await.json();
    assert_eq!((&total["credits"], &total["credits_total"]), (&json!(1951), &json!(1951)));
}

#[tokio::test]
async fn a_reference_recharges_once() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let recharge =
        |amount: Value| app.post(PATH).service().json(json!({"amount": amount, "reference_id": "pi_1"}));
    let first = recharge(json!(500)).ok().await;
    let second = recharge(json!("500.0")).ok().await;
    assert_eq!(second["replayed"], true);
    assert_eq!(first["data"], second["data"], "a repeat answers the first transaction");
    assert_eq!(second["new_balance"], 1500.0);
    let other = recharge(json!(501)).refused(409, "ReferenceConflictException").await;
    assert!(other.json()["error_details"]["transaction_id"].text().starts_with("txn_"));
}

#[tokio::test]
async fn query_and_body_must_not_contradict() {
    let (app, user) = TestApp::with_user(&[]).await;
    app.post(&format!("{PATH}?amount=5.0")).by(&user).json(json!({"amount": "5"})).expect(200).await;
    let reply = app.post(&format!("{PATH}?amount=5")).by(&user).json(json!({"amount": 6}));
    let fault = reply.expect(422).await.json()["detail"][0].clone();
    assert_eq!((&fault["type"], &fault["loc"]), (&json!("conflicting_values"), &json!(["query", "amount"])));
    app.post(PATH).by(&user).fault("query.amount").await;
}

#[tokio::test]
async fn a_balance_has_a_limit() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let request = app.post(PATH).service().json(json!({"amount": 1_000_000_000}));
    let reply = request.refused(400, "BalanceLimitExceededException").await;
    assert_eq!(reply.json()["error_details"]["limit"], 1_000_000_000.0);
    let most = app.post(PATH).service().json(json!({"amount": 999_999_000})).expect(200).await;
    assert_eq!(most.json()["new_balance"], 1_000_000_000.0);
}

#[tokio::test]
async fn users_recharge_themselves_only_where_it_is_allowed() {
    let (app, user) = TestApp::with_user(&[("SELF_RECHARGE", "denied")]).await;
    app.post(&format!("{PATH}?amount=5")).by(&user).refused(403, "PermissionDeniedException").await;
    app.post(&format!("{PATH}?amount=5")).service().expect(200).await;
}

//! `/api/v1/users/{user_id}/credits/holds`, `.../account`, `.../grants` and `.../refund`

use crate::prelude::*;

fn post(app: &TestApp, user: &TestUser, path: &str, body: Value) -> TestRequest {
    app.post(&format!("credits/{path}")).by(user).json(body)
}

async fn account(app: &TestApp, user: &TestUser) -> Value {
    app.get("credits/account").by(user).data().await
}

#[tokio::test]
async fn a_hold_sets_credits_aside_until_it_is_captured_once() {
    let (app, user) = TestApp::with_user(&[]).await;
    let hold = post(&app, &user, "holds", json!({"amount": 70})).data().await;
    account(&app, &user).await.has(json!({"balance": 1000.0, "held": 70.0, "available": 930.0}));
    let capture = format!("holds/{}/capture", hold["hold_id"].text());
    let captured = post(&app, &user, &capture, json!({"amount": 42.5})).data().await;
    captured.has(json!({
        "hold.status": "captured", "hold.released": 27.5, "remaining_credits": 957.5, "uncollected": 0.0,
        "transaction.transaction_type": "consume", "transaction.hold_id": hold["hold_id"],
    }));
    app.post(&format!("credits/{capture}")).by(&user).refused(409, "HoldNotOpenException").await;
    let after = account(&app, &user).await;
    assert_eq!((&after["held"], &after["available"]), (&json!(0.0), &json!(957.5)));
}

#[tokio::test]
async fn a_hold_ends_at_its_time_without_anybody_asking() {
    let (app, user) = TestApp::with_user(&[]).await;
    let hold = post(&app, &user, "holds", json!({"amount": 1000, "ttl_seconds": 60})).data().await;
    let consume = || app.post("credits/consume").by(&user).json(json!({"amount": 1}));
    assert_eq!(consume().expect(400).await.json()["error_details"]["held"], 1000.0);
    app.clock().advance(Duration::seconds(60));
    consume().expect(200).await;
    let path = format!("credits/holds/{}/capture", hold["hold_id"].text());
    assert_eq!(app.post(&path).by(&user).expect(409).await.json()["error_details"]["hold_status"], "expired");
    let list = app.get("credits/holds?status=expired").by(&user).expect(200).await;
    assert_eq!(list.json()["data"].list().len(), 1);
}

#[tokio::test]
async fn unknown_and_foreign_holds_are_404() {
    let app = TestApp::start().await;
    let (user, other) = (app.user("auth0|a").await, app.user("auth0|b").await);
    let hold =
        post(&app, &user, "holds", json!({"amount": 1, "mode": "clamp"})).data().await["hold_id"].clone();
    for id in ["no-uuid", "00000000-0000-4000-8000-000000000000"] {
        let path = format!("credits/holds/{id}/release");
        app.post(&path).by(&user).refused(404, "HoldNotFoundException").await;
    }
    let path = format!("/api/v1/users/auth0%7Cb/credits/holds/{}/release", hold.text());
    app.post(&path).by(&other).refused(404, "HoldNotFoundException").await;
    assert_eq!(account(&app, &user).await["held"], 1.0);
}

#[tokio::test]
async fn grants_burn_in_order_and_refunds_return_to_them() {
    let (app, user) = TestApp::with_user(&[]).await;
    let grant = json!({"amount": 10, "expires_at": "2026-01-16T00:00:00Z", "reference_id": "promo-1"});
    let grants = "credits/grants";
    let made = app.post(grants).service().json(&grant).data().await;
    made.has(json!({"grant.kind": "promo", "transaction.transaction_type": "grant"}));
    let charge = post(&app, &user, "consume", json!({"amount": 12})).data().await;
    let remaining = async || {
        let rows = app.get("credits/grants?status=all").by(&user).rows().await;
        rows.iter().map(|row| row["remaining"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(remaining().await, [0.0, 998.0], "what expires first burns first");
    let refund = json!({"transaction_id": charge["transaction_id"], "amount": 5, "reason": "bad answer"});
    let path = "credits/refund";
    let refunded = app.post(path).service().json(&refund).data().await;
    assert_eq!((&refunded["transaction_type"], &refunded["amount"]), (&json!("refund"), &json!(5.0)));
    assert_eq!(remaining().await, [3.0, 1000.0]);
    let rest = json!({"transaction_id": charge["transaction_id"], "amount": 8, "reason": "more"});
    app.post(path).service().json(&rest).refused(400, "RefundExceedsChargeException").await;
    app.post(path).by(&user).json(&refund).refused(403, "PermissionDeniedException").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_a_charge_once_and_answers_the_same_bytes() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = "credits/consume";
    let request = |body: &str| app.post(path).by(&user).key("k-1").body(body.to_owned());
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        calls.spawn(request(r#"{"amount":10,"metadata":{"a":1,"b":2}}"#).send());
    }
    let replies = calls.join_all().await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.text == replies[0].text));
    assert_eq!(replies.iter().filter(|reply| reply.header("idempotency-replayed").is_empty()).count(), 1);
    app.clock().advance(Duration::minutes(5));
    let later = request(r#" {"metadata":{"b":2,"a":1},"amount":"10.0"} "#).expect(200).await;
    assert!(later.text == replies[0].text && later.is_replayed(), "{}", later.text);
    let other = request(r#"{"amount":11}"#).refused(422, "IdempotencyConflictException").await;
    assert_eq!(other.json()["detail"][0]["type"], "idempotency_conflict");
    assert_eq!(account(&app, &user).await["balance"], 990.0);
    app.post(path).by(&user).key("").body(r#"{"amount":1}"#).expect(422).await;
}

#[tokio::test]
async fn a_remembered_refusal_does_not_turn_into_a_charge() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = "credits/consume";
    let request = || app.post(path).by(&user).key("k").body(r#"{"amount":5000}"#);
    let refused = request().expect(400).await;
    app.post("credits/recharge?amount=9000").service().expect(200).await;
    let again = request().expect(400).await;
    assert!(again.is_replayed());
    assert_eq!(again.json()["message"], refused.json()["message"]);
    assert_eq!(again.json()["timestamp"], refused.json()["timestamp"]);
    assert_eq!(account(&app, &user).await["balance"], 10_000.0);
}

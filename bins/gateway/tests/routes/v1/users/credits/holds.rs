//! `/api/v1/users/{user_id}/credits/holds`, `.../account`, `.../grants` and `.../refund`

use std::sync::Arc;

use serde_json::{Value, json};
use testkit::{TestApp, TestUser};
use time::Duration;
use tokio::task::JoinSet;

const CREDITS: &str = "/api/v1/users/auth0%7Ca/credits";

async fn post(app: &TestApp, user: &TestUser, path: &str, body: Value) -> Value {
    let request = app.post(&format!("{CREDITS}/{path}")).token(&user.token).json(&body);
    request.send().await.expect(200).json()
}

async fn account(app: &TestApp, user: &TestUser) -> Value {
    app.get(&format!("{CREDITS}/account")).token(&user.token).send().await.expect(200).json()["data"].clone()
}

#[tokio::test]
async fn a_hold_sets_credits_aside_until_it_is_captured_once() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let hold = post(&app, &user, "holds", json!({"amount": 70})).await["data"].clone();
    let before = account(&app, &user).await;
    assert_eq!(
        (&before["balance"], &before["held"], &before["available"]),
        (&json!(1000.0), &json!(70.0), &json!(930.0))
    );
    let capture = format!("holds/{}/capture", hold["hold_id"].as_str().unwrap());
    let captured = post(&app, &user, &capture, json!({"amount": 42.5})).await["data"].clone();
    assert_eq!(
        (&captured["hold"]["status"], &captured["hold"]["released"]),
        (&json!("captured"), &json!(27.5))
    );
    assert_eq!((&captured["remaining_credits"], &captured["uncollected"]), (&json!(957.5), &json!(0.0)));
    assert_eq!(captured["transaction"]["transaction_type"], "consume");
    assert_eq!(captured["transaction"]["hold_id"], hold["hold_id"]);
    let again = app.post(&format!("{CREDITS}/{capture}")).token(&user.token).send().await.expect(409);
    assert_eq!(again.error_code(), "HoldNotOpenException");
    let after = account(&app, &user).await;
    assert_eq!((&after["held"], &after["available"]), (&json!(0.0), &json!(957.5)));
}

#[tokio::test]
async fn a_hold_ends_at_its_time_without_anybody_asking() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let hold = post(&app, &user, "holds", json!({"amount": 1000, "ttl_seconds": 60})).await["data"].clone();
    let consume =
        || app.post(&format!("{CREDITS}/consume")).token(&user.token).json(&json!({"amount": 1})).send();
    let refused = consume().await.expect(400);
    assert_eq!(refused.json()["error_details"]["held"], 1000.0);
    app.clock().advance(Duration::seconds(60));
    consume().await.expect(200);
    let path = format!("{CREDITS}/holds/{}/capture", hold["hold_id"].as_str().unwrap());
    let late = app.post(&path).token(&user.token).send().await.expect(409);
    assert_eq!(late.json()["error_details"]["hold_status"], "expired");
    let list =
        app.get(&format!("{CREDITS}/holds?status=expired")).token(&user.token).send().await.expect(200);
    assert_eq!(list.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn unknown_and_foreign_holds_are_404() {
    let app = TestApp::start().await;
    let (user, other) = (app.user("auth0|a").await, app.user("auth0|b").await);
    let hold =
        post(&app, &user, "holds", json!({"amount": 1, "mode": "clamp"})).await["data"]["hold_id"].clone();
    for id in ["no-uuid", "00000000-0000-4000-8000-000000000000"] {
        let path = format!("{CREDITS}/holds/{id}/release");
        let reply = app.post(&path).token(&user.token).send().await.expect(404);
        assert_eq!(reply.error_code(), "HoldNotFoundException");
    }
    let path = format!("/api/v1/users/auth0%7Cb/credits/holds/{}/release", hold.as_str().unwrap());
    let foreign = app.post(&path).token(&other.token).send().await.expect(404);
    assert_eq!(foreign.error_code(), "HoldNotFoundException");
    assert_eq!(account(&app, &user).await["held"], 1.0);
}

#[tokio::test]
async fn grants_burn_in_order_and_refunds_return_to_them() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let grant = json!({"amount": 10, "expires_at": "2026-01-16T00:00:00Z", "reference_id": "promo-1"});
    let grants = format!("{CREDITS}/grants");
    let made = app.post(&grants).service().json(&grant).send().await.expect(200).json()["data"].clone();
    assert_eq!(
        (&made["grant"]["kind"], &made["transaction"]["transaction_type"]),
        (&json!("promo"), &json!("grant"))
    );
    let charge = post(&app, &user, "consume", json!({"amount": 12})).await["data"].clone();
    let remaining = async || {
        let list =
            app.get(&format!("{grants}?status=all")).token(&user.token).send().await.expect(200).json();
        let rows = list["data"].as_array().unwrap().clone();
        rows.iter().map(|row| row["remaining"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(remaining().await, [0.0, 998.0], "what expires first burns first");
    let refund = json!({"transaction_id": charge["transaction_id"], "amount": 5, "reason": "bad answer"});
    let path = format!("{CREDITS}/refund");
    let refunded = app.post(&path).service().json(&refund).send().await.expect(200).json()["data"].clone();
    assert_eq!((&refunded["transaction_type"], &refunded["amount"]), (&json!("refund"), &json!(5.0)));
    assert_eq!(remaining().await, [3.0, 1000.0]);
    let rest = json!({"transaction_id": charge["transaction_id"], "amount": 8, "reason": "more"});
    let exceeding = app.post(&path).service().json(&rest).send().await.expect(400);
    assert_eq!(exceeding.error_code(), "RefundExceedsChargeException");
    let own = app.post(&path).token(&user.token).json(&refund).send().await.expect(403);
    assert_eq!(own.error_code(), "PermissionDeniedException");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_makes_a_charge_once_and_answers_the_same_bytes() {
    let app = Arc::new(TestApp::start().await);
    let user = app.user("auth0|a").await;
    let path = format!("{CREDITS}/consume");
    let request = |body: &str| {
        app.post(&path).token(&user.token).header("Idempotency-Key", "k-1").body(body.to_owned()).send()
    };
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        calls.spawn(request(r#"{"amount":10,"metadata":{"a":1,"b":2}}"#));
    }
    let replies = calls.join_all().await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.text == replies[0].text));
    assert_eq!(replies.iter().filter(|reply| reply.header("idempotency-replayed").is_empty()).count(), 1);
    app.clock().advance(Duration::minutes(5));
    let later = request(r#" {"metadata":{"b":2,"a":1},"amount":"10.0"} "#).await.expect(200);
    assert_eq!(
        (later.text.as_str(), later.header("idempotency-replayed")),
        (replies[0].text.as_str(), "true")
    );
    let other = request(r#"{"amount":11}"#).await.expect(422);
    assert_eq!(other.error_code(), "IdempotencyConflictException");
    assert_eq!(other.json()["detail"][0]["type"], "idempotency_conflict");
    assert_eq!(account(&app, &user).await["balance"], 990.0);
    let unusable = app.post(&path).token(&user.token).header("Idempotency-Key", "").body(r#"{"amount":1}"#);
    unusable.send().await.expect(422);
}

#[tokio::test]
async fn a_remembered_refusal_does_not_turn_into_a_charge() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = format!("{CREDITS}/consume");
    let request = || {
        app.post(&path).token(&user.token).header("Idempotency-Key", "k").body(r#"{"amount":5000}"#).send()
    };
    let refused = request().await.expect(400);
    app.post(&format!("{CREDITS}/recharge?amount=9000")).service().send().await.expect(200);
    let again = request().await.expect(400);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["message"], refused.json()["message"]);
    assert_eq!(again.json()["timestamp"], refused.json()["timestamp"]);
    assert_eq!(account(&app, &user).await["balance"], 10_000.0);
}

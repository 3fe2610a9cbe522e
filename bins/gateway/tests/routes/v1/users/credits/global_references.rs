//! `reference_scope: "global"` of recharges and grants: one payment credits one user (HTTP contract 6.2).

use serde_json::{Value, json};
use testkit::{TestApp, TestReply};
use tokio::task::JoinSet;

async fn give(app: &TestApp, user: &str, path: &str, body: Value) -> TestReply {
    let path = format!("/api/v1/users/auth0%7C{user}/credits/{path}");
    app.post(&path).service().json(&body).send().await
}

fn payment(amount: i64) -> Value {
    json!({"amount": amount, "reference_id": "pi_1", "reference_scope": "global"})
}

#[tokio::test]
async fn a_payment_credits_one_user() {
    let app = TestApp::start().await;
    for user in ["auth0|a", "auth0|b", "auth0|c"] {
        app.user(user).await;
    }
    for path in ["recharge", "grants"] {
        let body = |amount| {
            let mut body = payment(amount);
            body["reference_id"] = json!(format!("of {path}"));
            body
        };
        give(&app, "a", path, body(5)).await.expect(200);
        for (other, amount) in [("b", 5), ("c", 6)] {
            let refused = give(&app, other, path, body(amount)).await.expect(409);
            assert_eq!(refused.error_code(), "ReferenceConflictException");
            let text = refused.text.replace("auth0|b", "").replace("auth0|c", "");
            assert!(!text.contains("auth0|") && !text.contains("txn_"), "another user shows: {text}");
        }
        // For the same user it is the first transaction again, or another amount.
        give(&app, "a", path, body(5)).await.expect(200);
        let other = give(&app, "a", path, body(6)).await.expect(409);
        assert!(other.json()["error_details"]["transaction_id"].is_string());
        // What is unique per user only is nobody else's matter.
        let mut own = body(5);
        own["reference_scope"] = json!("user");
        give(&app, "b", path, own).await.expect(200);
    }
    let wrong = json!({"amount": 1, "reference_id": "x", "reference_scope": "all"});
    give(&app, "a", "recharge", wrong).await.expect(422);
}

#[tokio::test]
async fn a_global_reference_has_to_be_there() {
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    for path in ["recharge", "grants"] {
        let absent = json!({"amount": 5, "reference_scope": "global"});
        let null = json!({"amount": 5, "reference_scope": "global", "reference_id": null});
        for (body, kind) in [(absent, "missing"), (null, "string_type")] {
            let refused = give(&app, "a", path, body).await.expect(422).json();
            let fault = &refused["detail"][0];
            assert_eq!(
                (&fault["loc"], &fault["type"]),
                (&json!(["body", "reference_id"]), &json!(kind)),
                "{refused}"
            );
        }
        let of_user = json!({"amount": 5, "reference_scope": "user"});
        give(&app, "a", path, of_user).await.expect(200);
    }
    let query = "/api/v1/users/auth0%7Ca/credits/recharge?amount=5&reference_scope=global";
    let refused = app.post(query).service().send().await.expect(422).json();
    assert_eq!(refused["detail"][0]["loc"], json!(["query", "reference_id"]));
}

#[tokio::test]
async fn a_payment_that_credited_a_user_before_credits_no_other() {
    let app = TestApp::start().await;
    for user in ["auth0|a", "auth0|b", "auth0|c"] {
        app.user(user).await;
    }
    for path in ["recharge", "grants"] {
        let body = |scope: &str| json!({"amount": 5, "reference_id": format!("of {path}"), "reference_scope": scope});
        give(&app, "a", path, body("user")).await.expect(200);
        let refused = give(&app, "b", path, body("global")).await.expect(409);
        assert_eq!(refused.error_code(), "ReferenceConflictException");
        assert!(
            !refused.text.contains("auth0|a") && !refused.text.contains("txn_"),
            "another user shows: {}",
            refused.text
        );
        // The owner claims it and is not credited again. In the scope of a user it still credits others.
        give(&app, "a", path, body("global")).await.expect(200);
        give(&app, "c", path, body("user")).await.expect(200);
    }
    for (user, credits) in [("a", 1010.0), ("b", 1000.0), ("c", 1010.0)] {
        let path = format!("/api/v1/users/auth0%7C{user}/credits/balance");
        let balance = app.get(&path).service().send().await.expect(200).json();
        assert_eq!(balance["data"], credits, "{user}");
    }
}

#[tokio::test]
async fn a_refused_payment_is_remembered_by_its_key() {
    let app = TestApp::start().await;
    for user in ["auth0|a", "auth0|b"] {
        app.user(user).await;
    }
    give(&app, "a", "recharge", payment(5)).await.expect(200);
    let again = || {
        let path = "/api/v1/users/auth0%7Cb/credits/recharge";
        app.post(path).service().header("Idempotency-Key", "k").json(&payment(5)).send()
    };
    let first = again().await.expect(409);
    let second = again().await.expect(409);
    assert_eq!(second.header("Idempotency-Replayed"), "true");
    assert_eq!(second.error_code(), first.error_code());
}

#[tokio::test]
async fn only_services_name_a_global_reference() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = "/api/v1/users/auth0%7Ca/credits/recharge";
    let refused = app.post(path).token(&user.token).json(&payment(5)).send().await.expect(403);
    assert_eq!(refused.error_code(), "PermissionDeniedException");
    // Nor does a reference of a user stand in the way of a payment.
    let own = json!({"amount": 5, "reference_id": "pi_1"});
    app.post(path).token(&user.token).json(&own).send().await.expect(200);
    app.user("auth0|b").await;
    give(&app, "b", "recharge", payment(7)).await.expect(200);
    let query = app
        .post("/api/v1/users/auth0%7Ca/credits/recharge?amount=1&reference_id=pi_1&reference_scope=global");
    assert_eq!(query.service().send().await.expect(409).error_code(), "ReferenceConflictException");
}

#[tokio::test]
async fn of_users_at_once_one_is_credited() {
    let app = std::sync::Arc::new(TestApp::start().await);
    let users = ["a", "b", "c", "d", "e", "f"];
    for user in users {
        app.user(&format!("auth0|{user}")).await;
    }
    for round in 0..5 {
        let mut asked = JoinSet::new();
        for user in users {
            let app = std::sync::Arc::clone(&app);
            let body =
                json!({"amount": 5, "reference_id": format!("pi_{round}"), "reference_scope": "global"});
            asked.spawn(async move { give(&app, user, "recharge", body).await.status });
        }
        let mut statuses = asked.join_all().await;
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409, 409, 409, 409, 409]);
    }
}

//! `reference_scope: "global"` of recharges and grants: one payment credits one user (HTTP contract 6.2).

use crate::prelude::*;

fn give(app: &TestApp, user: &str, path: &str, body: Value) -> TestRequest {
    let path = format!("/api/v1/users/auth0%7C{user}/credits/{path}");
    app.post(&path).service().json(&body)
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
        give(&app, "a", path, body(5)).expect(200).await;
        for (other, amount) in [("b", 5), ("c", 6)] {
            let refused =
                give(&app, other, path, body(amount)).refused(409, "ReferenceConflictException").await;
            let text = refused.text.replace("auth0|b", "").replace("auth0|c", "");
            assert!(!text.contains("auth0|") && !text.contains("txn_"), "another user shows: {text}");
        }
        // For the same user it is the first transaction again, or another amount.
        give(&app, "a", path, body(5)).expect(200).await;
        let other = give(&app, "a", path, body(6)).expect(409).await;
        assert!(other.json()["error_details"]["transaction_id"].is_string());
        // What is unique per user only is nobody else's matter.
        let mut own = body(5);
        own["reference_scope"] = json!("user");
        give(&app, "b", path, own).expect(200).await;
    }
    let wrong = json!({"amount": 1, "reference_id": "x", "reference_scope": "all"});
    give(&app, "a", "recharge", wrong).expect(422).await;
}

#[tokio::test]
async fn a_global_reference_has_to_be_there() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for path in ["recharge", "grants"] {
        let absent = json!({"amount": 5, "reference_scope": "global"});
        let null = json!({"amount": 5, "reference_scope": "global", "reference_id": null});
        for (body, kind) in [(absent, "missing"), (null, "string_type")] {
            let fault = give(&app, "a", path, body).fault("body.reference_id").await;
            assert_eq!(fault["type"], kind);
        }
        let of_user = json!({"amount": 5, "reference_scope": "user"});
        give(&app, "a", path, of_user).expect(200).await;
    }
    let query = "/api/v1/users/auth0%7Ca/credits/recharge?amount=5&reference_scope=global";
    app.post(query).service().fault("query.reference_id").await;
}

#[tokio::test]
async fn a_payment_that_credited_a_user_before_credits_no_other() {
    let app = TestApp::start().await;
    for user in ["auth0|a", "auth0|b", "auth0|c"] {
        app.user(user).await;
    }
    for path in ["recharge", "grants"] {
        let body = |scope: &str| json!({"amount": 5, "reference_id": format!("of {path}"), "reference_scope": scope});
        give(&app, "a", path, body("user")).expect(200).await;
        let refused = give(&app, "b", path, body("global")).refused(409, "ReferenceConflictException").await;
        let text = refused.text;
        assert!(!text.contains("auth0|a") && !text.contains("txn_"), "another user shows: {text}");
        // The owner claims it and is not credited again. In the scope of a user it still credits others.
        give(&app, "a", path, body("global")).expect(200).await;
        give(&app, "c", path, body("user")).expect(200).await;
    }
    for (user, credits) in [("a", 1010.0), ("b", 1000.0), ("c", 1010.0)] {
        let path = format!("/api/v1/users/auth0%7C{user}/credits/balance");
        let balance = app.get(&path).service().ok().await;
        assert_eq!(balance["data"], credits, "{user}");
    }
}

#[tokio::test]
async fn a_refused_payment_is_remembered_by_its_key() {
    let app = TestApp::start().await;
    for user in ["auth0|a", "auth0|b"] {
        app.user(user).await;
    }
    give(&app, "a", "recharge", payment(5)).expect(200).await;
    let again = || {
        let path = "/api/v1/users/auth0%7Cb/credits/recharge";
        app.post(path).service().key("k").json(payment(5))
    };
    let first = again().expect(409).await;
    let second = again().expect(409).await;
    assert!(second.is_replayed());
    assert_eq!(second.error_code(), first.error_code());
}

#[tokio::test]
async fn only_services_name_a_global_reference() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = "/api/v1/users/auth0%7Ca/credits/recharge";
    app.post(path).by(&user).json(payment(5)).refused(403, "PermissionDeniedException").await;
    // Nor does a reference of a user stand in the way of a payment.
    let own = json!({"amount": 5, "reference_id": "pi_1"});
    app.post(path).by(&user).json(&own).expect(200).await;
    app.user("auth0|b").await;
    give(&app, "b", "recharge", payment(7)).expect(200).await;
    let query = app.post("credits/recharge?amount=1&reference_id=pi_1&reference_scope=global");
    query.service().refused(409, "ReferenceConflictException").await;
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

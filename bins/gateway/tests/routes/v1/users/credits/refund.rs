//! `POST /api/v1/users/{user_id}/credits/refund`

use serde_json::{Value, json};
use testkit::{TestApp, TestReply};

const CREDITS: &str = "/api/v1/users/auth0%7Ca/credits";

async fn charge(app: &TestApp, path: &str) -> Value {
    let request = app.post(&format!("{path}/consume")).service();
    let reply = request.json(&json!({"amount": 100})).send().await.expect(200);
    reply.json()["data"].clone()
}

async fn refund(app: &TestApp, name: &Value, key: Option<&str>) -> TestReply {
    let body = json!({"transaction_id": name, "amount": 10, "reason": "bad answer"});
    let request = app.post(&format!("{CREDITS}/refund")).service().json(&body);
    match key {
        Some(key) => request.header("Idempotency-Key", key).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn a_charge_may_be_named_by_either_of_its_ids() {
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    app.user("auth0|b").await;
    charge(&app, CREDITS).await;
    let charged = charge(&app, CREDITS).await;
    let digits = json!(charged["id"].as_i64().unwrap().to_string());
    for (name, left) in [(&charged["transaction_id"], 810.0), (&charged["id"], 820.0), (&digits, 830.0)] {
        let refunded = refund(&app, name, None).await.expect(200).json()["data"].clone();
        assert_eq!(refunded["credits_after"], left, "{name}");
        assert_eq!(refunded["metadata"]["refund_of"], charged["transaction_id"]);
    }
    // Nobody else's, no refund, and nothing that is no id at all.
    let foreign = charge(&app, "/api/v1/users/auth0%7Cb/credits").await;
    let credit = refund(&app, &charged["id"], None).await.expect(200).json()["data"]["id"].clone();
    for name in [&foreign["id"], &credit, &json!(987_654_321)] {
        let unknown = refund(&app, name, None).await.expect(404);
        assert_eq!(unknown.error_code(), "TransactionNotFoundException");
        assert_eq!(unknown.json()["error_details"]["transaction_id"], *name);
        assert_eq!(unknown.json()["message"], format!("Transaction not found: {name}"));
    }
    for name in [json!(0), json!("txn_7"), json!(1.5)] {
        let fault = refund(&app, &name, None).await.expect(422);
        assert_eq!(fault.json()["detail"][0]["loc"], json!(["body", "transaction_id"]));
    }
}

/// A retry must not turn a refusal into a refund, also when the id has come to be one in between.
#[tokio::test]
async fn an_id_that_was_unknown_stays_refused_under_its_key() {
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    let last = charge(&app, CREDITS).await["id"].as_i64().unwrap();
    let next = json!(last + 1);
    let first = refund(&app, &next, Some("k")).await.expect(404);
    let charged = charge(&app, CREDITS).await;
    assert_eq!(charged["id"], next);
    let again = refund(&app, &next, Some("k")).await.expect(404);
    assert_eq!(again.header("Idempotency-Replayed"), "true");
    let details = |reply: &TestReply| reply.json()["error_details"].clone();
    assert_eq!(details(&again), details(&first));
    let digits = json!(next.to_string());
    let same = refund(&app, &digits, Some("k")).await.expect(404);
    assert_eq!(same.header("Idempotency-Replayed"), "true");
    refund(&app, &next, Some("other")).await.expect(200);
}

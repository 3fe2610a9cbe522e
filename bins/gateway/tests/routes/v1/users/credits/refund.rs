//! `POST /api/v1/users/{user_id}/credits/refund`

use crate::prelude::*;

const CREDITS: &str = "credits";

async fn charge(app: &TestApp, path: &str) -> Value {
    app.post(&format!("{path}/consume")).service().json(json!({"amount": 100})).data().await
}

fn refund(app: &TestApp, name: &Value, key: Option<&str>) -> TestRequest {
    let body = json!({"transaction_id": name, "amount": 10, "reason": "bad answer"});
    app.post("credits/refund").service().json(body).key(key)
}

#[tokio::test]
async fn a_charge_may_be_named_by_either_of_its_ids() {
    let (app, _user) = TestApp::with_user(&[]).await;
    app.user("auth0|b").await;
    charge(&app, CREDITS).await;
    let charged = charge(&app, CREDITS).await;
    let digits = json!(charged["id"].as_i64().unwrap().to_string());
    for (name, left) in [(&charged["transaction_id"], 810.0), (&charged["id"], 820.0), (&digits, 830.0)] {
        let refunded = refund(&app, name, None).data().await;
        refunded.has(json!({"credits_after": left, "metadata.refund_of": charged["transaction_id"]}));
    }
    // Nobody else's, no refund, and nothing that is no id at all.
    let foreign = charge(&app, "/api/v1/users/auth0%7Cb/credits").await;
    let credit = refund(&app, &charged["id"], None).data().await["id"].clone();
    for name in [&foreign["id"], &credit, &json!(987_654_321)] {
        let unknown = refund(&app, name, None).refused(404, "TransactionNotFoundException").await;
        assert_eq!(unknown.json()["error_details"]["transaction_id"], *name);
        assert_eq!(unknown.json()["message"], format!("Transaction not found: {name}"));
    }
    for name in [json!(0), json!("txn_7"), json!(1.5)] {
        refund(&app, &name, None).fault("body.transaction_id").await;
    }
}

/// A retry must not turn a refusal into a refund, also when the id has come to be one in between.
#[tokio::test]
async fn an_id_that_was_unknown_stays_refused_under_its_key() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let last = charge(&app, CREDITS).await["id"].as_i64().unwrap();
    let next = json!(last + 1);
    let first = refund(&app, &next, Some("k")).expect(404).await;
    let charged = charge(&app, CREDITS).await;
    assert_eq!(charged["id"], next);
    let again = refund(&app, &next, Some("k")).expect(404).await;
    assert!(again.is_replayed());
    let details = |reply: &TestReply| reply.json()["error_details"].clone();
    assert_eq!(details(&again), details(&first));
    let digits = json!(next.to_string());
    assert!(refund(&app, &digits, Some("k")).expect(404).await.is_replayed());
    refund(&app, &next, Some("other")).expect(200).await;
}

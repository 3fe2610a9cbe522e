//! Texts of refusals: the fault, its place, and the limit that was exceeded.

use crate::prelude::*;

const USER: &str = "/api/v1/users/auth0%7Ca";

fn post(app: &TestApp, path: &str, body: impl Into<Vec<u8>>) -> TestRequest {
    app.post(&format!("{USER}/{path}")).service().body(body)
}

/// The only fault of a refused request: its type, its place and its text.
fn only_fault(reply: TestReply) -> (String, Value, String) {
    let body = reply.expect(422).json();
    let faults = body["detail"].list();
    assert_eq!(faults.len(), 1, "{body}");
    let text = |name: &str| faults[0][name].text().to_owned();
    (text("type"), faults[0]["loc"].clone(), text("msg"))
}

#[tokio::test]
async fn valid_json_beyond_a_limit_gets_the_limit() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!("{{\"amount\":1,\"metadata\":{{\"a\":{open}{close}}}}}")
    };
    post(&app, "credits/consume", deep(30)).expect(200).await;
    let (kind, place, msg) = only_fault(post(&app, "credits/consume", deep(31)).await);
    assert_eq!((kind.as_str(), &place[0]), ("value_error", &json!("body")));
    assert!(msg.contains("32 levels"), "{msg}");
    let (_, _, msg) = only_fault(post(&app, "credits/consume", deep(5_000)).await);
    assert!(msg.contains("32 levels"), "{msg}");
    let (kind, _, msg) =
        only_fault(post(&app, "credits/consume", r#"{"amount":1,"metadata":{"n":1e400}}"#).await);
    assert_eq!(kind, "value_error");
    assert!(msg.contains("number") && msg.contains("1.8e308"), "{msg}");
    let (kind, _, msg) =
        only_fault(post(&app, "credits/consume", r#"{"amount":1,"metadata":{"n":1e}}"#).await);
    assert_eq!((kind.as_str(), msg.as_str()), ("json_invalid", "JSON decode error"));
}

#[tokio::test]
async fn a_repeated_key_is_named() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for (body, key) in [
        (r#"{"amount":1,"amount":2}"#, "'amount'"),
        (r#"{"amount":1,"metadata":{"too many keys":[{"b\u0062":1,"bb":2}]}}"#, "'bb'"),
    ] {
        let (kind, _, msg) = only_fault(post(&app, "credits/consume", body).await);
        assert_eq!(kind, "value_error");
        assert!(msg.contains(key), "{msg}");
    }
    let long = "k".repeat(10_000);
    let (_, _, msg) =
        only_fault(post(&app, "credits/consume", format!(r#"{{"{long}":1,"{long}":2}}"#)).await);
    assert!(msg.len() < 400, "{} bytes", msg.len());
}

#[tokio::test]
async fn a_time_out_of_range_is_told_as_all_times_are() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let event = json!({"endpoint": "/e", "event_type": "e", "occurred_at": "2020-01-01T00:00:00Z"});
    let (_, place, msg) = only_fault(post(&app, "usage", event.to_string()).await);
    assert_eq!(place, json!(["body", "occurred_at"]));
    let times: Vec<&str> = msg.split(' ').filter(|word| word.contains('T') && word.ends_with('Z')).collect();
    assert_eq!(times.len(), 2, "{msg}");
    assert!(!msg.contains("+00"), "{msg}");
    let price = json!({"prices": [{"provider": "p", "model_name": "m", "rates": {"input": {"credits": 1, "per": 1000000}}, "valid_from": "2020-01-01"}]});
    let refused = app.put("/api/v1/prices").service().json(&price).expect(422).await;
    assert!(!refused.text.contains("+00"), "{}", refused.text);
}

#[tokio::test]
async fn a_grant_and_a_hold_that_cannot_live_name_their_field() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for (grant, field) in [
        (json!({"amount": 5, "expires_at": "2020-12-31"}), "expires_at"),
        (json!({"amount": 5, "effective_at": "2090-01-02", "expires_at": "2090-01-01"}), "expires_at"),
        (json!({"amount": 5, "effective_at": "1969-01-02"}), "effective_at"),
    ] {
        let (kind, place, msg) = only_fault(post(&app, "credits/grants", grant.to_string()).await);
        assert_eq!((kind.as_str(), place), ("value_error", json!(["body", field])), "{msg}");
        assert!(msg.contains(field) && !msg.contains("hold"), "{msg}");
    }
    for ttl in [0, 86_401] {
        let hold = json!({"amount": 5, "ttl_seconds": ttl});
        let (_, place, msg) = only_fault(post(&app, "credits/holds", hold.to_string()).await);
        assert_eq!(place, json!(["body", "ttl_seconds"]), "{msg}");
        assert!(!msg.contains("grant"), "{msg}");
    }
}

#[tokio::test]
async fn a_charge_that_cannot_be_priced_says_what_is_missing() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let price = json!({"prices": [{"provider": "openai", "model_name": "gpt-4", "rates": {"input": {"credits": 1500, "per": 1000000}}}]});
    app.put("/api/v1/prices").service().json(&price).expect(200).await;
    for (more, said, unsaid) in [
        (json!({}), &["model_name or credits_charged is required"][..], "this model"),
        (json!({"provider": "openai"}), &["model_name or credits_charged is required"], "this model"),
        (json!({"model_name": "gpt-5", "provider": "openai"}), &["no price", "'gpt-5'", "'openai'"], "rate"),
        (json!({"model_name": "gpt-4"}), &["no price", "'gpt-4'", "without a provider"], "rate"),
        (
            json!({"model_name": "gpt-4", "provider": "openai", "prompt_tokens": 5, "completion_tokens": 5}),
            &["'gpt-4'", "no rate for output"],
            "no price",
        ),
    ] {
        let mut event = json!({"endpoint": "/e", "event_type": "e", "charge": true});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        for key in [None, Some("k")] {
            let request = app.post(&format!("{USER}/usage")).service().json(&event);
            let key = key.map(|key| format!("{key} {more}"));
            let refused = request.key(key.as_deref()).refused(422, "PriceNotFoundException").await;
            let (kind, _, msg) = only_fault(refused);
            assert_eq!(kind, "price_not_found", "{msg}");
            for said in said {
                assert!(msg.contains(said), "{more}: {msg}");
            }
            assert!(!msg.contains(unsaid), "{more}: {msg}");
        }
    }
}

#[tokio::test]
async fn a_reference_of_another_user_is_told_as_that() {
    let (app, _user) = TestApp::with_user(&[]).await;
    app.user("auth0|b").await;
    let body = json!({"amount": 5, "reference_id": "pi_1", "reference_scope": "global"});
    post(&app, "credits/recharge", body.to_string()).expect(200).await;
    for key in [None, Some("k"), Some("k")] {
        let request = app.post("/api/v1/users/auth0%7Cb/credits/recharge").service().json(&body).key(key);
        let refused = request.refused(409, "ReferenceConflictException").await;
        let told = refused.json()["message"].text().to_owned();
        assert!(told.contains("another user") && !told.contains("amount"), "{told}");
        assert!(!refused.text.contains("auth0|a"), "{}", refused.text);
    }
    let other = json!({"amount": 6, "reference_id": "pi_1"});
    let refused = post(&app, "credits/recharge", other.to_string()).expect(409).await;
    assert!(refused.json()["message"].text().contains("amount"), "{}", refused.text);
}

/// HTTP contract 4.4: the code and `detail` that a call of its own would get.
#[tokio::test]
async fn an_item_of_a_batch_is_refused_as_a_single_call_is() {
    let (app, user) = TestApp::with_user(&[]).await;
    app.user("auth0|b").await;
    assert_same(&app, &user, json!({"user_id": "auth0|b", "endpoint": "/e", "event_type": "e"}), "auth0%7Cb")
        .await;
    for id in ["..", "a b", ""] {
        let batch = json!({"records": [{"user_id": id, "event_type": "e"}]});
        let reply = app.post("/api/v1/usage/batch").service().json(&batch).ok().await;
        let failed = &reply["data"]["results"][0];
        assert_eq!(failed["detail"].list().len(), 1, "{failed}");
    }
    let batch = json!({"records": [{"event_type": "e"}, {"user_id": null}]});
    let reply = app.post("/api/v1/usage/batch").service().json(&batch).ok().await;
    let results = &reply["data"]["results"];
    assert_eq!(results[0]["detail"][0]["loc"], json!(["body", "user_id"]), "{results}");
    assert_eq!(results[1]["detail"].list().len(), 2, "{results}");
    let denied = TestApp::start_with(&[("SELF_METERING", "denied")]).await;
    let user = denied.user("auth0|a").await;
    assert_same(
        &denied,
        &user,
        json!({"user_id": "auth0|a", "endpoint": "/e", "event_type": "e"}),
        "auth0%7Ca",
    )
    .await;
}

async fn assert_same(app: &TestApp, user: &TestUser, item: Value, path: &str) {
    let batch = json!({"records": [item]});
    let reply = app.post("/api/v1/usage/batch").by(user).json(&batch).ok().await;
    let failed = &reply["data"]["results"][0];
    let path = format!("/api/v1/users/{path}/usage");
    let single = app.post(&path).by(user).json(&item).expect(403).await.json();
    for member in ["error_code", "message", "detail"] {
        assert_eq!(failed[member], single[member], "{member}");
    }
}

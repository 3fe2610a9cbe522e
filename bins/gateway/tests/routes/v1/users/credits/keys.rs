//! `Idempotency-Key`: what is kept of a request, on every route that takes one.

use std::collections::BTreeMap;

use diesel_async::SimpleAsyncConnection;
use serde_json::{Value, json};
use testkit::TestApp;

const CREDITS: &str = "/api/v1/users/auth0%7Ca/credits";
const NOWHERE: &str = "00000000-0000-0000-0000-000000000007";

/// A request under a key of its own, and its fingerprint.
const GOLDEN: &[(&str, &str, &str, &str)] = &[
    (
        "consume",
        "consume",
        r#"{"amount":2.5}"#,
        "137fa5eea4c692bbd77c2e6f38578380ae68352ac0cc0c768329a47f5dec4d2a",
    ),
    (
        "consume in full",
        "consume",
        r#"{"amount":"2.50","user_id":"auth0|a","reason":"chat","description":"was für","usage_record_id":9,
            "endpoint":"/x","metadata":{"b":1.50,"a":["\u0041",null]}}"#,
        "6ea8f066498cb9429eaa25092d7b31ba153d78b9c1eb2cb641e3873e604b4c95",
    ),
    (
        "recharge",
        "recharge",
        r#"{"amount":3}"#,
        "bb249f6ec240505b6188cd2c7f347a533d20f89aa01852e4ab8540c31d5f8f11",
    ),
    (
        "recharge in full",
        "recharge?amount=3&reference_id=pi_1",
        r#"{"description":"monthly","metadata":{"method":"card"}}"#,
        "ccaf0352d70121616f09f401a48f1b7d020d18a2c826efc531a48d7ecc1b6560",
    ),
    (
        "grant",
        "grants",
        r#"{"amount":4}"#,
        "bd9022e21074bdf0f1c0117ef9a2d41745ec53ecf7e5811649c0809f44a414a4",
    ),
    (
        "grant in full",
        "grants",
        r#"{"amount":4,"kind":"plan","priority":7,"effective_at":"2026-02-01T00:00:00Z",
            "expires_at":"2026-03-01T01:00:00+01:00","reference_id":"gift","description":"d","metadata":{}}"#,
        "0544c87f04f7bcc4a6a7da598c245289a15d0a96618c084edbb8f28bd429641f",
    ),
    ("hold", "holds", r#"{"amount":5}"#, "61233527196f8419b92959d1de3b147bc6f2e428a8d08a2d7bf205ff30e5ed5a"),
    (
        "hold in full",
        "holds",
        r#"{"amount":5,"mode":"clamp","ttl_seconds":60,"description":"d","metadata":{"a":{}}}"#,
        "d0c6d98dd723a107317adc31c20c2200d8f0dfb24c6e8d71ef5031da1c0f2218",
    ),
    (
        "capture",
        "holds/{nowhere}/capture",
        "",
        "37db8cf72e73a376d2a7913e27c4613f7f383aa59d3bc9f5e83670f45780fef2",
    ),
    (
        "capture in full",
        "holds/{nowhere}/capture",
        r#"{"amount":0,"description":"d","usage_record_id":9,"metadata":{"a":[]}}"#,
        "521a4d1a7a8172b7cf630593fb78c50011f5f7733369e18b3cf925d1f007adb8",
    ),
    (
        "release",
        "holds/{nowhere}/release",
        "",
        "0df4bc70ba826b607c26332c9623b9b97f11562d3ef3f1177305a470f9b17091",
    ),
    (
        "refund",
        "refund",
        r#"{"transaction_id":"txn_00000000-0000-0000-0000-000000000007","reason":"it broke"}"#,
        "04692d9a5b79ce17b0fe08ba0fa077d4b17de5e1af2e40a0c5d12712a01abd46",
    ),
    (
        "refund in full",
        "refund",
        r#"{"transaction_id":123456,"amount":1,"reason":"it broke"}"#,
        "0e2b56ded98d0678fbaa7391504c91d79f7fa053a4479e2463c31bb65b4d80cd",
    ),
];

/// The fingerprints that are kept, by key.
async fn kept(app: &TestApp) -> BTreeMap<String, String> {
    const ALL: &[pg::Audit] = &[pg::Audit {
        rule: "all",
        sql: "SELECT key AS subject, encode(fingerprint, 'hex') AS detail FROM credits.idempotency",
    }];
    let mut conn = app.db().connect().await;
    let rows = pg::audit::run(&mut conn, ALL).await.unwrap();
    rows.into_iter().map(|row| (row.subject, row.detail)).collect()
}

/// They are kept with their keys for good. Whoever has to change one of these turns a repeat across an upgrade into a
/// conflict.
#[tokio::test]
async fn fingerprints_are_what_they_were() {
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    for (key, path, body, _) in GOLDEN {
        let path = path.replace("{nowhere}", NOWHERE);
        let request = app.post(&format!("{CREDITS}/{path}")).service().header("Idempotency-Key", key);
        let reply = request.body((*body).to_owned()).send().await;
        assert!([200, 404].contains(&reply.status), "{key}: {}", reply.text);
    }
    let kept = kept(&app).await;
    let expected = GOLDEN.iter().map(|(key, .., hash)| ((*key).to_owned(), (*hash).to_owned()));
    assert_eq!(kept, expected.collect());
}

/// Earlier versions hashed an empty object as such: their rows are known all the same.
#[tokio::test]
async fn stored_fingerprints_of_empty_objects_are_known() {
    const FORMER: &str = "644870d5660465df141c08de7a2bcb4b65966cf24e395e163d34a300900c179e";
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    let ask = |body: &str| {
        let request = app.post(&format!("{CREDITS}/grants")).service();
        request.header("Idempotency-Key", "k").body(body.to_owned()).send()
    };
    let (.., body, _) = GOLDEN.iter().find(|(key, ..)| *key == "grant in full").unwrap();
    let first = ask(body).await.expect(200).json();
    let stored =
        format!("UPDATE credits.idempotency SET caller = NULL, fingerprint = decode('{FORMER}', 'hex')");
    app.db().connect().await.batch_execute(&stored).await.unwrap();
    for body in [(*body).to_owned(), body.replace(r#","metadata":{}"#, "")] {
        let again = ask(&body).await.expect(200);
        assert_eq!(again.header("Idempotency-Replayed"), "true");
        assert_eq!(again.json(), first);
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_caller_and_one_route() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let ask = |path: &str, body: Value| {
        let request = app.post(&format!("{CREDITS}/{path}"));
        request.header("Idempotency-Key", "k").json(&body)
    };
    let amount = || json!({"amount": 1});
    ask("consume", amount()).token(&user.token).send().await.expect(200);
    // Services have keys of their own.
    ask("consume", amount()).service().send().await.expect(200);
    for other in [
        ask("holds", amount()).token(&user.token),
        ask("consume", json!({"amount": 1, "reason": ""})).token(&user.token),
    ] {
        let reply = other.send().await.expect(422);
        assert_eq!(reply.error_code(), "IdempotencyConflictException");
    }
}

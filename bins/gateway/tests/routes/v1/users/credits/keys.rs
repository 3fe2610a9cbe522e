//! `Idempotency-Key`: what is kept of a request, on every route that takes one.

use std::collections::BTreeMap;

use crate::prelude::*;

/// Requests under keys of their own: key, path, fingerprints of versions 1 and 2, and the body.
const GOLDEN: &str = r#"
consume | credits/consume | 137fa5eea4c692bbd77c2e6f38578380ae68352ac0cc0c768329a47f5dec4d2a | b252c00c3421924094fc93ad2cd1005f4361232982652d66c7129bbf429bb368
  {"amount":2.5}
consume in full | credits/consume | 6ea8f066498cb9429eaa25092d7b31ba153d78b9c1eb2cb641e3873e604b4c95 | aba02b70565780b79aae9f046a5424410a1bda6b58a3aa3fa143b024de47b2ef
  {"amount":"2.50","user_id":"auth0|a","reason":"chat","description":"was für","usage_record_id":9, "endpoint":"/x","metadata":{"b":1.50,"a":["\u0041",null]}}
recharge | credits/recharge | bb249f6ec240505b6188cd2c7f347a533d20f89aa01852e4ab8540c31d5f8f11 | f9a2fc08856cb637358d763e471a689e388491eb45fbed4fb77e6f9cf678dd67
  {"amount":3}
recharge in full | credits/recharge?amount=3&reference_id=pi_1 | ccaf0352d70121616f09f401a48f1b7d020d18a2c826efc531a48d7ecc1b6560 | f942c072f9e988cb93bcc2454e38e7aa6aff654642c239d506072fa15d5967c1
  {"description":"monthly","metadata":{"method":"card"}}
grant | credits/grants | bd9022e21074bdf0f1c0117ef9a2d41745ec53ecf7e5811649c0809f44a414a4 | 81cdf21793e4476a9e1c9e84696930d91f74e63ce13aa75333544cd18c147f91
  {"amount":4}
grant in full | credits/grants | 0544c87f04f7bcc4a6a7da598c245289a15d0a96618c084edbb8f28bd429641f | 6317f4b1445af80275c05e48273089b9ffcc731d373142a388dd55ea35126b3b
  {"amount":4,"kind":"plan","priority":7,"effective_at":"2026-02-01T00:00:00Z", "expires_at":"2026-03-01T01:00:00+01:00","reference_id":"gift","description":"d","metadata":{}}
hold | credits/holds | 61233527196f8419b92959d1de3b147bc6f2e428a8d08a2d7bf205ff30e5ed5a | 6aad195e80c3b0ef1c4390fc74463e6d4f77cc953f9da03a54d4381aded38314
  {"amount":5}
hold in full | credits/holds | d0c6d98dd723a107317adc31c20c2200d8f0dfb24c6e8d71ef5031da1c0f2218 | 37ac8ed760237037f65038ed549d593875152522b99d74b5b06066ba32580029
  {"amount":5,"mode":"clamp","ttl_seconds":60,"description":"d","metadata":{"a":{}}}
capture | credits/holds/00000000-0000-0000-0000-000000000007/capture | 37db8cf72e73a376d2a7913e27c4613f7f383aa59d3bc9f5e83670f45780fef2 | 7eea70d0ae781a33b4bfd64161df9a96ba592d184ae1926eeddd3bf17c780ecc
  
capture in full | credits/holds/00000000-0000-0000-0000-000000000007/capture | 521a4d1a7a8172b7cf630593fb78c50011f5f7733369e18b3cf925d1f007adb8 | 0873423acb57db627566aac1783ba25cbe129659a3259fbf56ddd70b1f2390cf
  {"amount":0,"description":"d","usage_record_id":9,"metadata":{"a":[]}}
release | credits/holds/00000000-0000-0000-0000-000000000007/release | 0df4bc70ba826b607c26332c9623b9b97f11562d3ef3f1177305a470f9b17091 | ff4eec8c5515448ac17a03a1a398d136d6d38f060fc123295d2dfc8e67f8eb32
  
refund | credits/refund | 04692d9a5b79ce17b0fe08ba0fa077d4b17de5e1af2e40a0c5d12712a01abd46 | 14fb9bb387a3338bc1f3452f6ea40ed2dfdf697c4896db92509ca664e97c1baa
  {"transaction_id":"txn_00000000-0000-0000-0000-000000000007","reason":"it broke"}
refund in full | credits/refund | 0e2b56ded98d0678fbaa7391504c91d79f7fa053a4479e2463c31bb65b4d80cd | 68cb3176f7687112c01f68825a766f0a215f3035fde758492e3c9b185ea41daf
  {"transaction_id":123456,"amount":1,"reason":"it broke"}
usage | usage | 86e35ead404d7bb4313b5c520197e3de54b3b0c0df83e11dd0a80659e45cf590 | bc18294f9f7d239cc27ecae006aae0c297ee028027b68e97349d405ea747823f
  {"endpoint":"/x","event_type":"ai_chat","event_id":"e1","credits_charged":1.5,"prompt_tokens":7}
correction | usage/7/correct | 0ada189e2687792aac7ac31575cfde026a61817ed0898726f7f33ac944d8da82 | f63ccedb357a7d0f80a1c1010e0f110a7388fd45776a1ea499eb5e3c797e9b7a
  {"reason":"oops"}
correction in full | usage/7/correct | dae0cb2ee6cd06500cca79e91abb4c326550bfb5a5beafdb9ac441917877170c | a228e517bd759c0fe7075499701c43351386f8259b153c147e05a3dcb8f56fc6
  {"reason":"oops","replacement":{"event_type":"ai_chat"}}
usage in full | usage | 8c65ddf42ffb4aa2ae93d820ad15a8382ed6fe58ca1290539e0f8c9b9c49c651 | 627b82c0a3dc43167eeec3e15cb873d5ce21a3641a34fba863e50e09b1192acb
  {"endpoint": "/x", "event_type": "ai_chat", "charge": true, "event_id": "e2", "session_id": "s", "trace_id": "t", "model_name": "m", "provider": "p", "tool_name": "tool", "operation_name": "op", "calculation_method": "mine", "tokens_used": 9, "prompt_tokens": 7, "completion_tokens": 2, "cached_prompt_tokens": 3, "billing_metadata": {"a": 1}, "request_data": {"b": [true, null]}, "response_data": {"c": {"d": "e"}}, "credits_charged": 0.5, "cost_usd": 0.25, "occurred_at": "2026-01-14T23:00:00Z"}
replacement in full | usage/8/correct | cab6d453504d8eae7f4a707a5a37621dc5bb6b8bef9edefd495ba102bce22302 | 9f28a69604407bace66faa20676730db811ce5d67d9fd3457850749c78ec8340
  {"reason": "oops", "replacement": {"endpoint": "/x", "event_type": "ai_chat", "charge": true, "event_id": "e3", "session_id": "s", "trace_id": "t", "model_name": "m", "provider": "p", "tool_name": "tool", "operation_name": "op", "calculation_method": "mine", "tokens_used": 9, "prompt_tokens": 7, "completion_tokens": 2, "cached_prompt_tokens": 3, "billing_metadata": {"a": 1}, "request_data": {"b": [true, null]}, "response_data": {"c": {"d": "e"}}, "credits_charged": 0.5, "cost_usd": 0.25, "occurred_at": "2026-01-14T23:00:00Z"}}
global grant | credits/grants | e9454b5a0bfc78323f0302b7ae0b44add259577f71fe9a3ec231f0d0d451aa6d | 722bf104c7c2cc0411689f03eb2745c341f68886aee2158a1918e29da5bc564e
  {"amount":4,"reference_id":"gift2","reference_scope":"global"}
batch | /api/v1/usage/batch | 88b1cfd34dd7bf2afeb15f846f99e2911cfdf5321ff43e8cc33b6d7278721b9d | 21c3fc131ca9338b959ce232564b3f1b94fc47fbab3644ef0cda867552e46dd9
  {"records":[{"user_id":"auth0|a","event_type":"ai_chat"}]}
"#;

/// The fingerprints that are kept, by key.
async fn kept(app: &TestApp) -> BTreeMap<String, String> {
    const ALL: &[pg::Audit] = &[pg::Audit {
        rule: "all",
        sql: "SELECT key AS subject, encode(fingerprint, 'hex') AS detail FROM idempotency.answers",
    }];
    let mut conn = app.db().connect().await;
    let rows = pg::audit::run(&mut conn, ALL).await.unwrap();
    rows.into_iter().map(|row| (row.subject, row.detail)).collect()
}

struct Golden {
    key: &'static str,
    path: &'static str,
    versions: [&'static str; 2],
    body: &'static str,
}

fn golden() -> Vec<Golden> {
    let lines: Vec<&str> = GOLDEN.trim().lines().collect();
    let entry = |lines: &[&'static str]| {
        let head: Vec<&str> = lines[0].split(" | ").collect();
        Golden { key: head[0], path: head[1], versions: [head[2], head[3]], body: lines[1].trim() }
    };
    lines.chunks(2).map(entry).collect()
}

async fn send(app: &TestApp, golden: &Golden) -> TestReply {
    let reply = app.post(golden.path).service().key(golden.key).body(golden.body).await;
    assert!([200, 404].contains(&reply.status), "{}: {}", golden.key, reply.text);
    reply
}

/// They are kept with their keys for good. Whoever has to change one of these turns a repeat across an upgrade into a
/// conflict.
#[tokio::test]
async fn fingerprints_are_what_they_were() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let mut expected = BTreeMap::new();
    for request in golden() {
        send(&app, &request).await;
        // The key of a batch is that of its only item.
        let key = request.key.replace("batch", "batch#0");
        expected.insert(key, request.versions[1].to_owned());
    }
    assert_eq!(kept(&app).await, expected);
}

/// Version 1 hashed every field in a fixed order, also those that are absent: its rows are known all the same.
#[tokio::test]
async fn stored_fingerprints_of_version_1_are_known() {
    let (app, _user) = TestApp::with_user(&[]).await;
    for request @ Golden { key, versions: [former, _], .. } in golden() {
        let first = send(&app, &request).await;
        assert_eq!(first.header("Idempotency-Replayed"), "");
        let stored = format!(
            "UPDATE idempotency.answers SET fingerprint = decode('{former}', 'hex') \
             WHERE key IN ('{key}', '{key}#0')"
        );
        app.db().run(&stored).await;
        let again = send(&app, &request).await;
        assert!(again.is_replayed() && again.status == first.status, "{key}");
    }
}

/// A row of version 1 is no licence to change the request.
#[tokio::test]
async fn another_request_than_that_of_version_1_is_refused() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let first @ Golden { key, path, versions: [former, _], .. } = &golden()[0];
    send(&app, first).await;
    let stored = format!("UPDATE idempotency.answers SET fingerprint = decode('{former}', 'hex')");
    app.db().run(&stored).await;
    for other in [r#"{"amount":2.6}"#, r#"{"amount":2.5,"reason":"x"}"#] {
        app.post(path).service().key(*key).body(other).refused(422, "IdempotencyConflictException").await;
    }
    send(&app, first).await;
}

/// Earlier versions hashed an empty object as such: their rows are known all the same.
#[tokio::test]
async fn stored_fingerprints_of_empty_objects_are_known() {
    const FORMER: &str = "644870d5660465df141c08de7a2bcb4b65966cf24e395e163d34a300900c179e";
    let (app, _user) = TestApp::with_user(&[]).await;
    let ask = |body: &str| app.post("credits/grants").service().key("k").body(body.to_owned());
    let body = golden().into_iter().find(|golden| golden.key == "grant in full").unwrap().body;
    let first = ask(body).ok().await;
    let stored =
        format!("UPDATE idempotency.answers SET caller = NULL, fingerprint = decode('{FORMER}', 'hex')");
    app.db().run(&stored).await;
    for body in [body.to_owned(), body.replace(r#","metadata":{}"#, "")] {
        let again = ask(&body).expect(200).await;
        assert!(again.is_replayed());
        assert_eq!(again.json(), first);
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_caller_and_one_route() {
    let (app, user) = TestApp::with_user(&[]).await;
    let ask = |path: &str, body: Value| app.post(&format!("credits/{path}")).key("k").json(&body);
    let amount = || json!({"amount": 1});
    ask("consume", amount()).by(&user).expect(200).await;
    // Services have keys of their own.
    ask("consume", amount()).service().expect(200).await;
    for other in
        [ask("holds", amount()).by(&user), ask("consume", json!({"amount": 1, "reason": ""})).by(&user)]
    {
        other.refused(422, "IdempotencyConflictException").await;
    }
}

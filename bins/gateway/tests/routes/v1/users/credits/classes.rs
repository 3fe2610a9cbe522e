//! What belongs to a class of caller: holds, idempotency keys and event ids of a user and of services (HTTP contract 1.11).

use serde_json::{Value, json};
use testkit::{TestApp, TestReply, TestUser};

const USER: &str = "/api/v1/users/auth0%7Ca";
const BATCH: &str = "/api/v1/usage/batch";

/// Who sends a request.
#[derive(Clone, Copy)]
enum By<'a> {
    Token(&'a TestUser),
    Service,
}

async fn send(app: &TestApp, by: By<'_>, path: &str, key: Option<&str>, body: &Value) -> TestReply {
    let request = match by {
        By::Token(user) => app.post(path).token(&user.token),
        By::Service => app.post(path).service(),
    };
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    request.json(body).send().await
}

async fn post(app: &TestApp, by: By<'_>, path: &str, body: Value) -> TestReply {
    send(app, by, &format!("{USER}/{path}"), None, &body).await
}

async fn post_under(app: &TestApp, by: By<'_>, key: &str, path: &str, body: Value) -> TestReply {
    send(app, by, &format!("{USER}/{path}"), Some(key), &body).await
}

async fn hold(app: &TestApp, by: By<'_>, amount: i64) -> Value {
    let reply = post(app, by, "credits/holds", json!({"amount": amount})).await;
    reply.expect(200).json()["data"].clone()
}

fn id(hold: &Value) -> &str {
    hold["hold_id"].as_str().unwrap()
}

fn used(hold: &Value, credits: i64) -> Value {
    json!({"user_id": "auth0|a", "endpoint": "/x", "event_type": "ai_chat", "credits_charged": credits, "charge": true,
           "hold_id": id(hold)})
}

async fn balance(app: &TestApp) -> Value {
    let path = format!("{USER}/credits/balance");
    app.get(&path).service().send().await.expect(200).json()["data"].clone()
}

/// The paths and bodies that end a hold, except batches.
fn ways_to_end(hold: &Value) -> [(String, Value); 5] {
    let path = format!("credits/holds/{}", id(hold));
    [
        (format!("{path}/release"), json!({})),
        (format!("{path}/capture"), json!({"amount": 0})),
        (format!("{path}/capture"), json!({})),
        ("usage".to_owned(), used(hold, 0)),
        ("usage".to_owned(), used(hold, 5)),
    ]
}

#[tokio::test]
async fn a_user_ends_no_hold_of_a_service() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let by = By::Token(&user);
    let hold = hold(&app, By::Service, 70).await;
    assert_eq!(hold["made_by"], "service");
    let path = format!("credits/holds/{}", id(&hold));
    for (path, body) in ways_to_end(&hold) {
        let reply = post(&app, by, &path, body).await.expect(403);
        assert_eq!(reply.error_code(), "PermissionDeniedException", "{path}");
    }
    let batch = json!({"records": [used(&hold, 0)]});
    let batch = send(&app, by, BATCH, None, &batch).await.expect(200).json();
    assert_eq!(batch["data"]["results"][0]["error_code"], "PermissionDeniedException");
    let list = app.get(&format!("{USER}/credits/holds")).token(&user.token).send().await;
    assert_eq!(list.expect(200).json()["data"][0]["made_by"], "service");
    // The work can still be charged.
    let charged = post(&app, By::Service, "usage", used(&hold, 60)).await.expect(200);
    assert_eq!(charged.json()["remaining_credits"], 940.0);
    let late = post(&app, by, &format!("{path}/release"), json!({})).await.expect(403);
    assert_eq!(late.error_code(), "PermissionDeniedException");
}

#[tokio::test]
async fn a_refused_end_of_a_hold_leaves_the_key_free() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let by = By::Token(&user);
    let hold = hold(&app, By::Service, 70).await;
    for (number, (path, body)) in ways_to_end(&hold).into_iter().enumerate() {
        let key = format!("k{number}");
        for _ in 0..2 {
            let refused = post_under(&app, by, &key, &path, body.clone()).await.expect(403);
            assert_eq!(refused.error_code(), "PermissionDeniedException", "{path}");
            assert_eq!(refused.header("Idempotency-Replayed"), "", "{path}");
        }
        spend_under(&app, by, &key).await;
    }
    let batch = json!({"records": [used(&hold, 0), used(&hold, 5)]});
    for _ in 0..2 {
        let refused = send(&app, by, BATCH, Some("b"), &batch).await.expect(200);
        assert_eq!(refused.header("Idempotency-Replayed"), "");
        for result in refused.json()["data"]["results"].as_array().unwrap() {
            assert_eq!(result["error_code"], "PermissionDeniedException");
        }
    }
    for key in ["b#0", "b#1"] {
        spend_under(&app, by, key).await;
    }
    assert_eq!(balance(&app).await, 993.0);
}

/// Spends a credit under a key that was not used before.
async fn spend_under(app: &TestApp, by: By<'_>, key: &str) {
    let body = json!({"amount": 1});
    let spent = post_under(app, by, key, "credits/consume", body).await.expect(200);
    assert_eq!(spent.header("Idempotency-Replayed"), "", "{key}");
}

#[tokio::test]
async fn users_end_their_own_holds_and_services_any() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    for by in [By::Token(&user), By::Service] {
        let own = hold(&app, By::Token(&user), 10).await;
        assert_eq!(own["made_by"], "user");
        let path = format!("credits/holds/{}", id(&own));
        let released = post(&app, by, &format!("{path}/release"), json!({})).await.expect(200);
        assert_eq!(released.json()["data"]["made_by"], "user");
        let own = hold(&app, By::Token(&user), 10).await;
        post(&app, by, "usage", used(&own, 1)).await.expect(200);
    }
    assert_eq!(balance(&app).await, 998.0);
}

#[tokio::test]
async fn administrators_are_users_on_their_own_account() {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|a")]).await;
    let admin = app.user("auth0|a").await;
    let other = app.user("auth0|b").await;
    let by = By::Token(&admin);
    let own = hold(&app, by, 10).await;
    assert_eq!(own["made_by"], "user");
    let of_service = hold(&app, By::Service, 10).await;
    let path = format!("credits/holds/{}/release", id(&of_service));
    post(&app, by, &path, json!({})).await.expect(403);
    // For others they are of the class of services.
    let path = "/api/v1/users/auth0%7Cb/credits/holds";
    let made = send(&app, by, path, None, &json!({"amount": 1})).await.expect(200).json();
    assert_eq!(made["data"]["made_by"], "service");
    let path = format!("{path}/{}/release", id(&made["data"]));
    send(&app, By::Token(&other), &path, None, &json!({})).await.expect(403);
    send(&app, by, &path, None, &json!({})).await.expect(200);
    // The same holds for keys.
    post_under(&app, by, "k", "credits/consume", json!({"amount": 1})).await.expect(200);
    post_under(&app, By::Service, "k", "credits/consume", json!({"amount": 2})).await.expect(200);
    let other = post_under(&app, by, "k", "credits/consume", json!({"amount": 3})).await;
    assert_eq!(other.expect(422).error_code(), "IdempotencyConflictException");
}

#[tokio::test]
async fn users_use_up_no_key_of_services() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = |by, amount| post_under(&app, by, "k", "credits/consume", json!({"amount": amount}));
    let of_user = consume(By::Token(&user), 1).await.expect(200).json();
    let of_service = consume(By::Service, 20).await.expect(200).json();
    for (by, amount, first) in [(By::Token(&user), 1, of_user), (By::Service, 20, of_service)] {
        let again = consume(by, amount).await.expect(200);
        assert_eq!(again.header("Idempotency-Replayed"), "true");
        assert_eq!(again.json(), first);
        let other = consume(by, amount + 1).await.expect(422);
        assert_eq!(other.error_code(), "IdempotencyConflictException");
    }
    assert_eq!(balance(&app).await, 979.0);
}

#[tokio::test]
async fn keys_of_batch_items_belong_to_a_class() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let item = |credits: i64| json!({"user_id": "auth0|a", "event_type": "ai_chat", "credits_charged": credits, "charge": true});
    // A user who sends the text of an item's key.
    let taken = json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": 1});
    post_under(&app, By::Token(&user), "k#0", "usage", taken).await.expect(200);
    for by in [By::Token(&user), By::Service] {
        let key = if matches!(by, By::Service) { "k" } else { "j" };
        let body = json!({"records": [item(2), item(3)]});
        let first = send(&app, by, BATCH, Some(key), &body).await.expect(200).json();
        assert_eq!(first["data"]["recorded"], 2);
        let again = send(&app, by, BATCH, Some(key), &body).await.expect(200);
        assert_eq!(again.header("Idempotency-Replayed"), "true");
        assert_eq!(again.json(), first);
    }
    assert_eq!(balance(&app).await, 990.0);
}

#[tokio::test]
async fn users_use_up_no_event_id_of_services() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let record = |by, credits: i64| {
        let body = json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": credits, "charge": true,
                          "event_id": "e1"});
        post(&app, by, "usage", body)
    };
    let of_user = record(By::Token(&user), 1).await.expect(200).json()["data"].clone();
    let of_service = record(By::Service, 20).await.expect(200).json()["data"].clone();
    assert_eq!((&of_user["recorded_by"], &of_service["recorded_by"]), (&json!("user"), &json!("service")));
    for (by, credits, first) in [(By::Token(&user), 1, of_user), (By::Service, 20, of_service)] {
        let again = record(by, credits).await.expect(200).json();
        assert_eq!((&again["replayed"], &again["data"]), (&json!(true), &first));
        let other = record(by, credits + 1).await.expect(409);
        assert_eq!(other.error_code(), "UsageConflictException");
    }
    assert_eq!(balance(&app).await, 979.0);
}

#[tokio::test]
async fn both_classes_use_a_key_and_an_event_id_at_once() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    for round in 0..8 {
        let key = format!("k{round}");
        let body = |credits: i64| {
            json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": credits, "charge": true,
                   "event_id": key})
        };
        let ask = |by, credits| post_under(&app, by, &key, "usage", body(credits));
        let (by_user, by_service) = (By::Token(&user), By::Service);
        let replies = tokio::join!(
            ask(by_user, 1),
            ask(by_service, 2),
            ask(by_user, 1),
            ask(by_service, 2),
            ask(by_user, 1),
            ask(by_service, 2)
        );
        let replies: [TestReply; 6] = replies.into();
        let ids: Vec<Value> =
            replies.into_iter().map(|reply| reply.expect(200).json()["data"]["id"].clone()).collect();
        assert!(ids[0] == ids[2] && ids[2] == ids[4], "{ids:?}");
        assert!(ids[1] == ids[3] && ids[3] == ids[5] && ids[0] != ids[1], "{ids:?}");
    }
    assert_eq!(balance(&app).await, 976.0);
}

#[tokio::test]
async fn an_absent_object_and_an_empty_one_are_the_same_request() {
    let app = TestApp::start().await;
    app.user("auth0|a").await;
    let usage = json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": 1});
    let path = format!("credits/holds/{}/capture", "00000000-0000-0000-0000-000000000007");
    for (path, body, objects) in [
        ("credits/consume", json!({"amount": 1}), &["metadata"][..]),
        ("credits/recharge", json!({"amount": 1}), &["metadata"]),
        ("credits/grants", json!({"amount": 1}), &["metadata"]),
        ("credits/holds", json!({"amount": 1}), &["metadata"]),
        (path.as_str(), json!({"amount": 1}), &["metadata"]),
        ("usage", usage, &["billing_metadata", "request_data", "response_data"]),
    ] {
        for object in objects {
            let mut with_empty = body.clone();
            with_empty[*object] = json!({});
            for (number, (first, second)) in
                [(&body, &with_empty), (&with_empty, &body)].into_iter().enumerate()
            {
                let key = format!("{path} {object} {number}");
                let first = post_under(&app, By::Service, &key, path, first.clone()).await;
                let second = post_under(&app, By::Service, &key, path, second.clone()).await;
                assert_eq!(
                    (second.status, second.header("Idempotency-Replayed")),
                    (first.status, "true"),
                    "{key}"
                );
            }
        }
    }
    // So are two events that differ in nothing else.
    for (number, object) in ["billing_metadata", "request_data", "response_data"].iter().enumerate() {
        let mut event = json!({"endpoint": "/x", "event_type": "ai_chat", "event_id": format!("e{number}")});
        post(&app, By::Service, "usage", event.clone()).await.expect(200);
        event[*object] = json!({});
        let again = post(&app, By::Service, "usage", event).await.expect(200).json();
        assert_eq!(again["replayed"], true, "{object}");
    }
}

#[tokio::test]
async fn the_reference_of_the_initial_grant_is_not_one_that_callers_send() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let initial = app.get(&format!("{USER}/credits/transactions")).token(&user.token).send().await;
    assert_eq!(initial.expect(200).json()["data"][0]["reference_id"], Value::Null);
    let body = json!({"amount": 5, "reference_id": "initial"});
    let given = post(&app, By::Service, "credits/recharge", body).await.expect(200).json();
    assert_eq!((&given["replayed"], &given["new_balance"]), (&json!(false), &json!(1005.0)));
    let reserved = json!({"amount": 5, "reference_id": "\u{1}initial"});
    for path in ["credits/recharge", "credits/grants"] {
        let refused = post(&app, By::Service, path, reserved.clone()).await.expect(422);
        assert_eq!(refused.error_code(), "ValidationException");
    }
}

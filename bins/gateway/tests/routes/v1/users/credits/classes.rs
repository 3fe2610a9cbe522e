//! What belongs to a class of caller: holds, idempotency keys and event ids of a user and of services (HTTP contract 1.11).

use std::borrow::Borrow;

use crate::prelude::*;

const BATCH: &str = "/api/v1/usage/batch";

/// Who sends a request.
#[derive(Clone, Copy)]
enum By<'a> {
    Token(&'a TestUser),
    Service,
}

fn send(app: &TestApp, by: By<'_>, path: &str, body: impl Borrow<Value>) -> TestRequest {
    let request = app.post(path).json(body);
    match by {
        By::Token(user) => request.by(user),
        By::Service => request.service(),
    }
}

async fn hold(app: &TestApp, by: By<'_>, amount: i64) -> Value {
    send(app, by, "credits/holds", json!({"amount": amount})).data().await
}

fn id(hold: &Value) -> &str {
    hold["hold_id"].text()
}

fn used(hold: &Value, credits: i64) -> Value {
    json!({"user_id": "auth0|a", "endpoint": "/x", "event_type": "ai_chat", "credits_charged": credits, "charge": true,
           "hold_id": id(hold)})
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
    let (app, user) = TestApp::with_user(&[]).await;
    let by = By::Token(&user);
    let hold = hold(&app, By::Service, 70).await;
    assert_eq!(hold["made_by"], "service");
    let path = format!("credits/holds/{}", id(&hold));
    for (path, body) in ways_to_end(&hold) {
        send(&app, by, &path, body).refused(403, "PermissionDeniedException").await;
    }
    let batch = json!({"records": [used(&hold, 0)]});
    let batch = send(&app, by, BATCH, &batch).ok().await;
    assert_eq!(batch["data"]["results"][0]["error_code"], "PermissionDeniedException");
    assert_eq!(app.get("credits/holds").by(&user).ok().await["data"][0]["made_by"], "service");
    // The work can still be charged.
    let charged = send(&app, By::Service, "usage", used(&hold, 60)).expect(200).await;
    assert_eq!(charged.json()["remaining_credits"], 940.0);
    send(&app, by, &format!("{path}/release"), json!({})).refused(403, "PermissionDeniedException").await;
}

#[tokio::test]
async fn a_refused_end_of_a_hold_leaves_the_key_free() {
    let (app, user) = TestApp::with_user(&[]).await;
    let by = By::Token(&user);
    let hold = hold(&app, By::Service, 70).await;
    for (number, (path, body)) in ways_to_end(&hold).into_iter().enumerate() {
        let key = format!("k{number}");
        for _ in 0..2 {
            let request = send(&app, by, &path, body.clone()).key(&*key);
            let refused = request.refused(403, "PermissionDeniedException").await;
            assert_eq!(refused.header("Idempotency-Replayed"), "", "{path}");
        }
        spend_under(&app, by, &key).await;
    }
    let batch = json!({"records": [used(&hold, 0), used(&hold, 5)]});
    for _ in 0..2 {
        let refused = send(&app, by, BATCH, &batch).key("b").expect(200).await;
        assert_eq!(refused.header("Idempotency-Replayed"), "");
        for result in refused.json()["data"]["results"].list() {
            assert_eq!(result["error_code"], "PermissionDeniedException");
        }
    }
    for key in ["b#0", "b#1"] {
        spend_under(&app, by, key).await;
    }
    assert_eq!(app.balance().await, 993.0);
}

/// Spends a credit under a key that was not used before.
async fn spend_under(app: &TestApp, by: By<'_>, key: &str) {
    let body = json!({"amount": 1});
    let spent = send(app, by, "credits/consume", body).key(key).expect(200).await;
    assert_eq!(spent.header("Idempotency-Replayed"), "", "{key}");
}

#[tokio::test]
async fn users_end_their_own_holds_and_services_any() {
    let (app, user) = TestApp::with_user(&[]).await;
    for by in [By::Token(&user), By::Service] {
        let own = hold(&app, By::Token(&user), 10).await;
        assert_eq!(own["made_by"], "user");
        let path = format!("credits/holds/{}", id(&own));
        let released = send(&app, by, &format!("{path}/release"), json!({})).expect(200).await;
        assert_eq!(released.json()["data"]["made_by"], "user");
        let own = hold(&app, By::Token(&user), 10).await;
        send(&app, by, "usage", used(&own, 1)).expect(200).await;
    }
    assert_eq!(app.balance().await, 998.0);
}

#[tokio::test]
async fn administrators_are_users_on_their_own_account() {
    let (app, admin) = TestApp::with_user(&[("ADMIN_USER_IDS", "auth0|a")]).await;
    let other = app.user("auth0|b").await;
    let by = By::Token(&admin);
    let own = hold(&app, by, 10).await;
    assert_eq!(own["made_by"], "user");
    let of_service = hold(&app, By::Service, 10).await;
    let path = format!("credits/holds/{}/release", id(&of_service));
    send(&app, by, &path, json!({})).expect(403).await;
    // For others they are of the class of services.
    let path = "/api/v1/users/auth0%7Cb/credits/holds";
    let made = send(&app, by, path, json!({"amount": 1})).ok().await;
    assert_eq!(made["data"]["made_by"], "service");
    let path = format!("{path}/{}/release", id(&made["data"]));
    send(&app, By::Token(&other), &path, json!({})).expect(403).await;
    send(&app, by, &path, json!({})).expect(200).await;
    // The same holds for keys.
    send(&app, by, "credits/consume", json!({"amount": 1})).key("k").expect(200).await;
    send(&app, By::Service, "credits/consume", json!({"amount": 2})).key("k").expect(200).await;
    let request = send(&app, by, "credits/consume", json!({"amount": 3})).key("k");
    request.refused(422, "IdempotencyConflictException").await;
}

#[tokio::test]
async fn users_use_up_no_key_of_services() {
    let (app, user) = TestApp::with_user(&[]).await;
    let consume = |by, amount| send(&app, by, "credits/consume", json!({"amount": amount})).key("k");
    let of_user = consume(By::Token(&user), 1).ok().await;
    let of_service = consume(By::Service, 20).ok().await;
    for (by, amount, first) in [(By::Token(&user), 1, of_user), (By::Service, 20, of_service)] {
        let again = consume(by, amount).expect(200).await;
        assert!(again.is_replayed());
        assert_eq!(again.json(), first);
        consume(by, amount + 1).refused(422, "IdempotencyConflictException").await;
    }
    assert_eq!(app.balance().await, 979.0);
}

#[tokio::test]
async fn keys_of_batch_items_belong_to_a_class() {
    let (app, user) = TestApp::with_user(&[]).await;
    let item = |credits: i64| json!({"user_id": "auth0|a", "event_type": "ai_chat", "credits_charged": credits, "charge": true});
    // A user who sends the text of an item's key.
    let taken = json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": 1});
    send(&app, By::Token(&user), "usage", taken).key("k#0").expect(200).await;
    for by in [By::Token(&user), By::Service] {
        let key = if matches!(by, By::Service) { "k" } else { "j" };
        let body = json!({"records": [item(2), item(3)]});
        let first = send(&app, by, BATCH, &body).key(key).ok().await;
        assert_eq!(first["data"]["recorded"], 2);
        let again = send(&app, by, BATCH, &body).key(key).expect(200).await;
        assert!(again.is_replayed());
        assert_eq!(again.json(), first);
    }
    assert_eq!(app.balance().await, 990.0);
}

#[tokio::test]
async fn users_use_up_no_event_id_of_services() {
    let (app, user) = TestApp::with_user(&[]).await;
    let record = |by, credits: i64| {
        let body = json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": credits, "charge": true,
                          "event_id": "e1"});
        send(&app, by, "usage", body)
    };
    let of_user = record(By::Token(&user), 1).data().await;
    let of_service = record(By::Service, 20).data().await;
    assert_eq!((&of_user["recorded_by"], &of_service["recorded_by"]), (&json!("user"), &json!("service")));
    for (by, credits, first) in [(By::Token(&user), 1, of_user), (By::Service, 20, of_service)] {
        let again = record(by, credits).ok().await;
        assert_eq!((&again["replayed"], &again["data"]), (&json!(true), &first));
        record(by, credits + 1).refused(409, "UsageConflictException").await;
    }
    assert_eq!(app.balance().await, 979.0);
}

#[tokio::test]
async fn both_classes_use_a_key_and_an_event_id_at_once() {
    let (app, user) = TestApp::with_user(&[]).await;
    for round in 0..8 {
        let key = format!("k{round}");
        let body = |credits: i64| {
            json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": credits, "charge": true,
                   "event_id": key})
        };
        let ask = |by, credits| send(&app, by, "usage", body(credits)).key(&*key);
        let (by_user, by_service) = (By::Token(&user), By::Service);
        let sent = (0..6).map(|turn| if turn % 2 == 0 { ask(by_user, 1) } else { ask(by_service, 2) }.data());
        let records = futures_util::future::join_all(sent).await;
        let ids: Vec<_> = records.iter().map(|record| &record["id"]).collect();
        assert!(ids[0] == ids[2] && ids[2] == ids[4], "{ids:?}");
        assert!(ids[1] == ids[3] && ids[3] == ids[5] && ids[0] != ids[1], "{ids:?}");
    }
    assert_eq!(app.balance().await, 976.0);
}

#[tokio::test]
async fn an_absent_object_and_an_empty_one_are_the_same_request() {
    let (app, _user) = TestApp::with_user(&[]).await;
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
                let [first, second] =
                    [first, second].map(|body| send(&app, By::Service, path, body).key(&*key));
                let (first, second) = (first.await, second.await);
                assert!(second.status == first.status && second.is_replayed(), "{key}");
            }
        }
    }
    // So are two events that differ in nothing else.
    for (number, object) in ["billing_metadata", "request_data", "response_data"].iter().enumerate() {
        let mut event = json!({"endpoint": "/x", "event_type": "ai_chat", "event_id": format!("e{number}")});
        send(&app, By::Service, "usage", event.clone()).expect(200).await;
        event[*object] = json!({});
        let again = send(&app, By::Service, "usage", event).ok().await;
        assert_eq!(again["replayed"], true, "{object}");
    }
}

#[tokio::test]
async fn the_reference_of_the_initial_grant_is_not_one_that_callers_send() {
    let (app, user) = TestApp::with_user(&[]).await;
    let initial = app.get("credits/transactions").by(&user).await;
    assert_eq!(initial.expect(200).json()["data"][0]["reference_id"], Value::Null);
    let body = json!({"amount": 5, "reference_id": "initial"});
    let given = send(&app, By::Service, "credits/recharge", body).ok().await;
    assert_eq!((&given["replayed"], &given["new_balance"]), (&json!(false), &json!(1005.0)));
    let reserved = json!({"amount": 5, "reference_id": "\u{1}initial"});
    for path in ["credits/recharge", "credits/grants"] {
        send(&app, By::Service, path, reserved.clone()).refused(422, "ValidationException").await;
    }
}

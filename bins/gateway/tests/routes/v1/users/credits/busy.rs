//! Accounts that somebody else has locked: `.../consume` with and without `Idempotency-Key`

use std::{collections::BTreeSet, time::Instant};

use pg::{Tx, batch::BLOCKED_MAX};

use crate::prelude::*;

fn consume<'a>(app: &TestApp, user: &str, key: impl Into<Option<&'a str>>) -> TestRequest {
    app.post(&format!("/api/v1/users/{user}/credits/consume")).service().json(json!({"amount": 1})).key(key)
}

#[tokio::test]
async fn a_repeat_that_waited_too_long_is_in_progress_and_a_request_without_key_is_unavailable() {
    let app = TestApp::start().await;
    let busy = app.user("busy").await;
    for neighbour in 0..10 {
        app.user(&format!("n{neighbour}")).await;
    }
    // A transaction of somebody else, whose work on the account has not ended.
    let mut other = Tx::begin(app.db().pool()).await.unwrap();
    let theirs = BTreeSet::from([busy.id.clone()]);
    assert_eq!(credits::blocked(&mut other, &theirs).await.unwrap(), BTreeSet::new());

    let began = Instant::now();
    let (keyed, bare) = (consume(&app, "busy", Some("k")), consume(&app, "busy", None));
    let held_up = tokio::spawn(async move { tokio::join!(keyed, bare) });
    for round in 0..5 {
        let all: JoinSet<TestReply> =
            (0..10).map(|neighbour| consume(&app, &format!("n{neighbour}"), None).send()).collect();
        for reply in all.join_all().await {
            assert_eq!(reply.status, 200, "round {round}: {}", reply.text);
        }
    }
    assert!(!held_up.is_finished(), "neighbours were answered before");
    let (keyed, bare) = held_up.await.unwrap();
    let waited = began.elapsed();
    assert!(waited >= BLOCKED_MAX && waited < BLOCKED_MAX * 2, "{waited:?}");
    let (keyed, bare) = (keyed.expect(409), bare.expect(503));
    assert_eq!(keyed.error_code(), "IdempotencyInProgressException");
    assert_eq!(keyed.json()["error_details"]["key"], "k");
    assert_eq!(bare.error_code(), "ServiceUnavailableException");
    assert_eq!((keyed.header("Retry-After"), bare.header("Retry-After")), ("1", "1"));

    // Neither was done, and neither is remembered.
    other.rollback().await;
    let first = consume(&app, "busy", Some("k")).expect(200).await;
    assert_eq!(first.header("Idempotency-Replayed"), "");
    assert_eq!(first.json()["remaining_credits"], 999.0);
    assert!(consume(&app, "busy", Some("k")).expect(200).await.is_replayed());
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_request_and_gets_its_answer() {
    let app = TestApp::start().await;
    let user = app.user("busy").await;
    let mut other = Tx::begin(app.db().pool()).await.unwrap();
    let theirs = BTreeSet::from([user.id.clone()]);
    credits::blocked(&mut other, &theirs).await.unwrap();
    app.user("neighbour").await;
    let repeat = || consume(&app, "busy", Some("k"));
    let (first, second, ()) = tokio::join!(repeat(), repeat(), async {
        consume(&app, "neighbour", None).expect(200).await;
        other.rollback().await;
    });
    let (first, second) = (first.expect(200), second.expect(200));
    assert_eq!(first.json()["data"], second.json()["data"]);
    let replayed = [first, second].map(|reply| reply.header("Idempotency-Replayed").to_owned());
    assert_eq!(replayed.iter().filter(|told| *told == "true").count(), 1);
}

#[tokio::test]
async fn a_correction_with_a_key_that_waited_too_long_is_in_progress() {
    let app = TestApp::start().await;
    let busy = app.user("busy").await;
    let record = json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": 2, "charge": true});
    let record = app.post("/api/v1/users/busy/usage").service().json(&record).expect(200).await;
    let path = format!("/api/v1/users/busy/usage/{}/correct", record.json()["data"]["id"]);
    let correct = |key| app.post(&path).service().json(json!({"reason": "oops"})).key(key);
    let mut other = Tx::begin(app.db().pool()).await.unwrap();
    let theirs = BTreeSet::from([busy.id.clone()]);
    assert_eq!(credits::blocked(&mut other, &theirs).await.unwrap(), BTreeSet::new());
    let (keyed, bare) = tokio::join!(correct(Some("k")), correct(None));
    assert_eq!(keyed.expect(409).error_code(), "IdempotencyInProgressException");
    assert_eq!(bare.expect(503).error_code(), "ServiceUnavailableException");
    other.rollback().await;
    assert_eq!(correct(Some("k")).expect(200).await.header("Idempotency-Replayed"), "");
}

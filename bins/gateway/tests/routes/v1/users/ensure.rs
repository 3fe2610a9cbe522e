//! `POST /api/v1/users/ensure`

use crate::prelude::*;

mod addresses;
mod initial_credits;

const PATH: &str = "/api/v1/users/ensure";

#[tokio::test]
async fn a_new_user_gets_one_initial_grant_and_an_old_one_is_unchanged() {
    let app = TestApp::start().await;
    let token = app.token("auth0|test123");
    let body = json!({"auth0_id": "auth0|test123", "email": "test.user@example.com", "name": "Test User"});
    let first = app.post(PATH).token(&token).json(&body).expect(200).await;
    let answer = first.json();
    assert!(answer["user_id"].is_i64());
    let plain = r#""credits":1000,"credits_total":1000,"plan":"free","is_active":true,"created":true"#;
    assert!(first.text.contains(plain), "{}", first.text);
    let again = json!({"email": "other@example.com", "name": "Other"});
    let second = app.post(PATH).token(&token).json(&again).ok().await;
    assert_eq!(second["created"], false);
    assert_eq!((&second["email"], &second["name"]), (&json!("test.user@example.com"), &json!("Test User")));
    assert_eq!(second["user_id"], answer["user_id"]);
}

#[tokio::test]
async fn a_token_speaks_for_its_own_user_only() {
    let app = TestApp::start().await;
    let token = app.token("auth0|a");
    let body = json!({"auth0_id": "auth0|b", "email": "b@example.com", "name": "B"});
    let reply = app.post(PATH).token(&token).json(&body).expect(403).await;
    reply.has(json!({
        "detail": "Token mismatch: token auth0_id (auth0|a) does not match request auth0_id (auth0|b)",
    }));
    let nameless = json!({"email": "b@example.com", "name": "B"});
    app.post(PATH).service().json(&nameless).fault("body.auth0_id").await;
    app.post(PATH).service().json(&body).expect(200).await;
}

#[tokio::test]
async fn an_address_belongs_to_one_user() {
    let app = TestApp::start().await;
    let ensure = |user: &str, email: &str| {
        app.post(PATH).service().json(json!({"auth0_id": user, "email": email, "name": "N"}))
    };
    ensure("auth0|a", "Shared@example.com").expect(200).await;
    let taken = ensure("auth0|b", "shared@EXAMPLE.com").refused(400, "DuplicateEntryException").await;
    assert_eq!(taken.json()["error_details"]["field"], "email");
    app.get("/api/v1/users/auth0%7Cb/credits/balance").service().expect(404).await;
}

#[tokio::test]
async fn every_fault_of_the_shape_is_listed() {
    let app = TestApp::start().await;
    let body = json!({"auth0_id": "a b", "email": "no address", "name": ""});
    let reply = app.post(PATH).service().json(&body).expect(422).await.json();
    let kinds: Vec<_> = reply["detail"].column("type");
    assert_eq!(kinds, ["string_pattern_mismatch", "value_error", "string_too_short"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_first_logins_make_one_user_and_one_grant() {
    let app = TestApp::start().await;
    let token = app.token("auth0|a");
    let mut logins = JoinSet::new();
    for _ in 0..30 {
        let body = json!({"email": "a@example.com", "name": "A"});
        logins.spawn(app.post(PATH).token(&token).json(&body).send());
    }
    let replies = logins.join_all().await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(replies.iter().filter(|reply| reply.json()["created"] == true).count(), 1);
    assert!(replies.iter().all(|reply| reply.json()["credits"] == 1000));
    let list = app.get("credits/transactions").token(&token).await.json();
    assert_eq!(list["data"].list().len(), 1);
}

#[tokio::test]
async fn without_an_initial_grant_a_user_starts_at_nothing() {
    let (app, user) = TestApp::with_user(&[("INITIAL_CREDITS", "0")]).await;
    let list = app.get("credits/transactions").by(&user).await.json();
    assert_eq!(list["data"], json!([]));
    assert_eq!(app.balance().await, 0.0);
}

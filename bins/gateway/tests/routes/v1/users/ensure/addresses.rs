//! Who holds an e-mail address (HTTP contract 3.1).

use super::PATH;
use crate::issuers::{Auth0, supabase_token};
use crate::prelude::*;

/// A token of Supabase that vouches for this address.
fn vouching(app: &TestApp, user: &str, email: &str) -> String {
    supabase_token(app, user, json!({"email": email}))
}

fn request(app: &TestApp, token: &str, email: &str) -> TestRequest {
    app.post(PATH).token(token).json(json!({"email": email, "name": "N"}))
}

fn ensure(app: &TestApp, token: &str, email: &str) -> TestRequest {
    request(app, token, email)
}

fn by_service(app: &TestApp, user: &str, email: &str) -> TestRequest {
    let body = json!({"auth0_id": user, "email": email, "name": "N"});
    app.post(PATH).service().json(&body)
}

fn refused(reply: TestReply) {
    let reply = reply.expect(400);
    assert_eq!(reply.error_code(), "DuplicateEntryException");
    assert_eq!(reply.json()["error_details"]["field"], "email");
}

fn created(reply: TestReply, email: &str) {
    let answer = reply.expect(200).json();
    assert_eq!((&answer["created"], &answer["email"]), (&json!(true), &json!(email)));
}

fn unchanged(reply: TestReply, email: &str) {
    let answer = reply.expect(200).json();
    assert_eq!((&answer["created"], &answer["email"]), (&json!(false), &json!(email)));
}

#[tokio::test]
async fn claiming_an_address_does_not_lock_its_owner_out() {
    let app = TestApp::start().await;
    // Neither another address in the token nor none at all speaks for the one in the request.
    for (squatter, claims) in [
        ("auth0|mallory", json!({"email": "mallory@example.com"})),
        ("auth0|trent", json!({})),
        ("auth0|oscar", json!({"email": null, "email_verified": true})),
        ("auth0|peggy", json!({"user_metadata": {"email": "owner@example.com", "email_verified": true}})),
        ("auth0|sybil", json!({"email": ["owner@example.com"]})),
    ] {
        let token = supabase_token(&app, squatter, claims);
        created(ensure(&app, &token, "owner@example.com").await, "owner@example.com");
    }
    let owner = vouching(&app, "auth0|owner", "owner@example.com");
    created(ensure(&app, &owner, "owner@example.com").await, "owner@example.com");
    // Now it is held: whoever vouches for it is refused, whoever does not is stored with it as a contact.
    for same in ["owner@example.com", "Owner@Example.COM"] {
        refused(ensure(&app, &vouching(&app, "auth0|other", same), same).await);
        refused(by_service(&app, "auth0|other", same).await);
    }
    let contact = vouching(&app, "auth0|late", "late@example.com");
    created(ensure(&app, &contact, "owner@example.com").await, "owner@example.com");
}

#[tokio::test]
async fn an_address_is_held_whoever_vouched_for_it() {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    by_service(&app, "auth0|a", "a@example.com").expect(200).await;
    let root = app.user("auth0|root").await;
    let body = json!({"auth0_id": "auth0|b", "email": "b@example.com", "name": "N"});
    let by_admin = app.post(PATH).by(&root).json(&body).await;
    created(by_admin, "b@example.com");
    let token = vouching(&app, "auth0|c", "C@example.com");
    created(ensure(&app, &token, "c@EXAMPLE.com").await, "c@EXAMPLE.com");
    for held in ["a@example.com", "B@example.com", "c@example.com"] {
        refused(ensure(&app, &vouching(&app, "auth0|new", held), held).await);
    }
    app.get("/api/v1/users/auth0%7Cnew/credits/balance").service().expect(404).await;
}

#[tokio::test]
async fn a_token_of_auth0_vouches_when_the_address_was_verified() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[]).await;
    for (user, claims) in [
        ("auth0|1", json!({"email": "owner@example.com"})),
        ("auth0|2", json!({"email": "owner@example.com", "email_verified": false})),
        ("auth0|3", json!({"email": "owner@example.com", "email_verified": "true"})),
        ("auth0|4", json!({"email_verified": true})),
        ("auth0|5", json!({"email": "other@example.com", "email_verified": true})),
    ] {
        let token = auth0.token(&app, user, claims);
        created(ensure(&app, &token, "owner@example.com").await, "owner@example.com");
    }
    let verified = |user: &str| {
        let claims = json!({"email": "owner@example.com", "email_verified": true});
        auth0.token(&app, user, claims)
    };
    created(ensure(&app, &verified("auth0|owner"), "owner@example.com").await, "owner@example.com");
    refused(ensure(&app, &verified("auth0|second"), "owner@example.com").await);
}

#[tokio::test]
async fn a_later_token_that_vouches_makes_a_contact_held_if_nobody_holds_it() {
    let app = TestApp::start().await;
    let plain = supabase_token(&app, "auth0|a", json!({}));
    created(ensure(&app, &plain, "A@example.com").await, "A@example.com");
    // Another address, though vouched for, changes nothing.
    let other = vouching(&app, "auth0|a", "other@example.com");
    unchanged(ensure(&app, &other, "other@example.com").await, "A@example.com");
    created(by_service(&app, "auth0|o", "other@example.com").await, "other@example.com");
    // What a service says of a user who exists is ignored, so it vouches for nothing.
    unchanged(by_service(&app, "auth0|a", "a@example.com").await, "A@example.com");
    // The token's own address counts, whatever the request says.
    let own = vouching(&app, "auth0|a", "a@example.com");
    unchanged(ensure(&app, &own, "ignored@example.com").await, "A@example.com");
    refused(by_service(&app, "auth0|b", "a@example.com").await);
    // Nobody takes what another user holds.
    created(
        ensure(&app, &supabase_token(&app, "auth0|c", json!({})), "a@example.com").await,
        "a@example.com",
    );
    let rival = vouching(&app, "auth0|c", "a@example.com");
    unchanged(ensure(&app, &rival, "a@example.com").await, "a@example.com");
    refused(by_service(&app, "auth0|d", "a@example.com").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_users_who_vouch_for_one_address_at_once_one_holds_it() {
    let app = TestApp::start().await;
    let email = "shared@example.com";
    // Half of them exist already, with the address as a contact.
    for number in 0..10 {
        let token = supabase_token(&app, &format!("auth0|{number}"), json!({}));
        created(ensure(&app, &token, email).await, email);
    }
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let token = vouching(&app, &format!("auth0|{number}"), email);
        calls.spawn(request(&app, &token, email).send());
    }
    let replies: Vec<Value> = calls.join_all().await.iter().map(TestReply::json).collect();
    let by_code = |code: &str| replies.iter().filter(|reply| reply["error_code"] == code).count();
    let made = replies.iter().filter(|reply| reply["created"] == true).count();
    assert!(made <= 1, "{replies:?}");
    assert_eq!(by_code("DuplicateEntryException"), 10 - made, "{replies:?}");
    assert_eq!(replies.iter().filter(|reply| reply["created"] == false).count(), 10);
    // Exactly one: the index forbids two, and none would let this one in.
    refused(by_service(&app, "auth0|last", email).await);
}

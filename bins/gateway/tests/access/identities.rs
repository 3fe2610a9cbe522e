//! User ids belong to the issuer that first brought them, on every route (HTTP contract 1.3).

use web::AccessRule as _;

use super::{authenticated, name, named, refused};
use crate::{
    examples,
    issuers::{Auth0, supabase_token},
    prelude::*,
};

const ID: &str = "auth0|a";

async fn ensure(app: &TestApp, token: &str, email: &str) -> TestReply {
    let body = json!({"email": email, "name": "Test User"});
    app.post("/api/v1/users/ensure").token(token).json(body).await
}

/// The same request with the token of the second issuer is refused before and after the user exists, and changes nothing.
#[tokio::test]
async fn a_token_of_another_issuer_with_the_same_sub_opens_no_route() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[]).await;
    let (own, foreign) = (auth0.token(&app, ID, json!({})), supabase_token(&app, ID, json!({})));
    // Both know the user as missing.
    for token in [&own, &foreign] {
        app.get("/api/v1/users/me").token(token).refused(404, "UserNotFoundException").await;
    }
    ensure(&app, &own, "a@example.com").await.expect(200);
    let owner = app.user("auth0|owner").await;
    for route in authenticated() {
        let request = named(route, examples::request(&app, route, &owner).await.token(&foreign), &owner);
        refused(route, &request.await, 401, "AuthenticationException");
        assert!(route.access.is_authenticated(), "{}", name(route));
    }
    app.get("/api/v1/users/me").token(&own).ok().await;
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.identities WHERE id = 'auth0|a'").await, 1);
}

#[tokio::test]
async fn a_user_of_a_service_goes_to_the_first_issuer_whose_form_the_id_has() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[]).await;
    for id in ["plain", ID] {
        let body = json!({"auth0_id": id, "email": format!("{}@example.com", id.len()), "name": "Test User"});
        app.post("/api/v1/users/ensure").service().json(body).ok().await;
    }
    // Not of the form of Auth0; the shared secret may bring any.
    let plain = auth0.token(&app, "plain", json!({}));
    app.get("/api/v1/users/plain/credits/balance")
        .token(&plain)
        .refused(401, "AuthenticationException")
        .await;
    let secret = supabase_token(&app, "plain", json!({}));
    app.get("/api/v1/users/plain/credits/balance").token(&secret).ok().await;
    // Whoever comes first.
    let (first, second) = (auth0.token(&app, ID, json!({})), supabase_token(&app, ID, json!({})));
    app.post("/api/v1/users/auth0|a/credits/consume").token(&first).json(json!({"amount": 1})).ok().await;
    let late = app.post("/api/v1/users/auth0|a/credits/consume").token(&second).json(json!({"amount": 1}));
    late.refused(401, "AuthenticationException").await;
    assert_eq!(app.get("/api/v1/users/me").token(&first).ok().await["credits"], 999);
}

#[tokio::test]
async fn ids_of_own_accounts_belong_to_this_service() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[]).await;
    for id in ["email|a", "wechat|a"] {
        for token in [auth0.token(&app, id, json!({})), supabase_token(&app, id, json!({}))] {
            let refusal = ensure(&app, &token, "a@example.com").await;
            assert_eq!((refusal.status, &*refusal.error_code()), (401, "AuthenticationException"), "{id}");
        }
    }
}

#[tokio::test]
async fn linked_ids_are_one_user_in_paths_bodies_and_headers() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[("LINK_VERIFIED_EMAILS", "true")]).await;
    let vouched = json!({"email": "a@example.com", "email_verified": true});
    let first = auth0.token(&app, ID, vouched.clone());
    let second = auth0.token(&app, "google-oauth2|1", vouched);
    ensure(&app, &first, "a@example.com").await.expect(200).has(json!({"created": true}));
    // Unlinked so far.
    app.get("/api/v1/users/me").token(&second).refused(404, "UserNotFoundException").await;
    ensure(&app, &second, "a@example.com")
        .await
        .expect(200)
        .has(json!({"created": false, "auth0_id": ID, "credits": 1000}));
    let mut expected = 1_000.0;
    for token in [&first, &second] {
        for id in [ID, "google-oauth2|1"] {
            let path = format!("/api/v1/users/{id}/credits/consume");
            let body = json!({"amount": 1, "user_id": id});
            app.post(&path).token(token).json(body).ok().await;
            expected -= 1.0;
            let of_me = app.get("/api/v1/users/me").token(token).header("X-User-Id", id).ok().await;
            assert_eq!((&of_me["user_id"], of_me["credits"].as_f64()), (&json!(ID), Some(expected)));
        }
        app.get("/api/v1/users/auth0|b/credits/balance")
            .token(token)
            .refused(403, "PermissionDeniedException")
            .await;
    }
    let account = app.get("/api/v1/users/google-oauth2|1/credits/account").service().data().await;
    assert_eq!(account["balance"], expected);
    let records = json!({"records": [{"user_id": "google-oauth2|1", "event_type": "ai_chat"}, {"user_id": ID, "event_type": "ai_chat"}]});
    let recorded = app.post("/api/v1/usage/batch").token(&second).json(records).ok().await;
    assert_eq!(recorded["data"]["recorded"], 2, "{recorded}");
    app.get("/api/v1/users/google-oauth2|1/usage/stats").token(&second).data().await;
    // Services name the same user, however the id gets there.
    for email in ["a@example.com", "other@example.com"] {
        let body = json!({"auth0_id": "google-oauth2|1", "email": email, "name": "Test User"});
        let ensured = app.post("/api/v1/users/ensure").service().json(body).ok().await;
        assert_eq!((&ensured["auth0_id"], &ensured["created"]), (&json!(ID), &json!(false)));
    }
    let records = json!({"records": [
        {"user_id": "google-oauth2|1", "event_type": "ai_chat", "credits_charged": 1, "charge": true},
        {"user_id": "auth0|nobody", "event_type": "ai_chat"},
    ]});
    let recorded = app.post("/api/v1/usage/batch").service().json(records).ok().await;
    let results = &recorded["data"]["results"];
    assert_eq!(
        (&results[0]["user_id"], &results[1]["error_code"]),
        (&json!(ID), &json!("UserNotFoundException"))
    );
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users").await, 1);
}

#[tokio::test]
async fn the_disabled_and_administrators_are_not_linked() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[("LINK_VERIFIED_EMAILS", "true"), ("ADMIN_USER_IDS", "auth0|admin")]).await;
    let token =
        |id: &str, email: &str| auth0.token(&app, id, json!({"email": email, "email_verified": true}));
    for (id, email) in [(ID, "a@example.com"), ("auth0|admin", "admin@example.com")] {
        ensure(&app, &token(id, email), email).await.expect(200);
    }
    app.db().run("UPDATE identity.users SET is_active = false WHERE user_id = 'auth0|a'").await;
    for (email, status, code) in [
        ("a@example.com", 403, "AccountDisabledException"),
        ("admin@example.com", 400, "DuplicateEntryException"),
    ] {
        let refusal = ensure(&app, &token("google-oauth2|1", email), email).await;
        assert_eq!((refusal.status, &*refusal.error_code()), (status, code), "{}", refusal.text);
    }
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.identities").await, 2);
    let refusal = ensure(&app, &token(ID, "a@example.com"), "a@example.com").await;
    assert_eq!((refusal.status, &*refusal.error_code()), (403, "AccountDisabledException"));
}

//! `PATCH /api/v1/users/{user_id}`

use crate::accounts::{PASSWORD, log_in, register, token_of};
use crate::examples;
use crate::prelude::*;

const A: &str = "/api/v1/users/auth0%7Ca";

fn patch(app: &TestApp, path: &str, body: Value) -> TestRequest {
    app.request("PATCH".parse().unwrap(), path).json(body)
}

async fn with_admin() -> (TestApp, TestUser, TestUser) {
    let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    let (admin, user) = (app.user("auth0|root").await, app.user("auth0|a").await);
    (app, admin, user)
}

#[tokio::test]
async fn a_user_changes_their_name_and_nothing_else() {
    let (app, _, user) = with_admin().await;
    let b = app.user("auth0|b").await;
    let body = json!({"name": "New Name", "plan": "pro", "credits": 5, "unknown": {"x": 1}});
    let changed = patch(&app, A, body).by(&user).data().await;
    assert_eq!(
        changed,
        json!({"user_id": "auth0|a", "email": "auth0a@example.com", "name": "New Name", "credits": 1000,
            "credits_total": 1000, "plan": "free", "is_active": true, "email_verified": false, "role": "user"})
    );
    for (field, value) in [
        ("is_active", json!(true)),
        ("role", json!("admin")),
        ("email", json!("a@example.com")),
        ("role", json!(17)),
    ] {
        let body = json!({"name": "Other", field: value});
        patch(&app, A, body).by(&user).refused(403, "PermissionDeniedException").await;
    }
    patch(&app, A, json!({"name": ""})).by(&user).fault("body.name").await;
    patch(&app, A, json!({"name": "Mine"})).by(&b).refused(404, "UserNotFoundException").await;
    assert_eq!(app.get(A).by(&user).data().await["name"], "New Name");
    let told = app.get("/api/v1/audit-events?user_id=auth0%7Ca").service().rows().await;
    assert_eq!(told.len(), 1);
    told[0].has(json!({"action": "user.updated", "actor": "user:auth0|a", "user_id": "auth0|a",
        "details": {"fields": ["name"]}}));
}

#[tokio::test]
async fn an_administrator_changes_everything_and_each_change_is_told() {
    let (app, admin, user) = with_admin().await;
    let body = json!({"name": "N", "email": "New@Example.com", "role": "admin", "is_active": false});
    let changed = patch(&app, A, body.clone()).by(&admin).data().await;
    changed.has(json!({"name": "N", "email": "New@Example.com", "role": "admin", "is_active": false}));
    app.get(A).by(&user).refused(403, "AccountDisabledException").await;
    app.get("credits/balance").by(&user).refused(403, "AccountDisabledException").await;
    patch(&app, A, body).by(&admin).expect(200).await;
    patch(&app, A, json!({"is_active": true, "role": "user"})).by(&admin).expect(200).await;
    app.get(A).by(&user).expect(200).await;
    let mut told = app.get("/api/v1/audit-events?user_id=auth0%7Ca").service().rows().await;
    told.reverse();
    let actions: Vec<_> = told.iter().map(|event| event["action"].text()).collect();
    assert_eq!(actions, ["user.updated", "user.disabled", "role.changed", "user.enabled", "role.changed"]);
    told[0].has(json!({"actor": "admin:auth0|root", "details": {"fields": ["name", "email"]}}));
    told[2].has(json!({"details": {"from": "user", "to": "admin"}}));
    assert!(!told.iter().any(|event| event.to_string().contains("xample.com")), "no contact data");

    let holder = json!({"auth0_id": "auth0|c", "email": "held@example.com", "name": "C"});
    app.post("/api/v1/users/ensure").service().json(holder).expect(200).await;
    let taken = patch(&app, A, json!({"email": "HELD@example.com"})).by(&admin);
    let taken = taken.refused(400, "DuplicateEntryException").await;
    assert_eq!(taken.json()["error_details"]["field"], "email");
    patch(&app, A, json!({"role": "root"})).by(&admin).fault("body.role").await;
    let nobody = "/api/v1/users/auth0%7Cnobody";
    patch(&app, nobody, json!({"name": "n"})).by(&admin).refused(404, "UserNotFoundException").await;
}

/// An account that was registered with the address of another is no obstacle.
#[tokio::test]
async fn a_login_name_that_nobody_confirmed_goes_to_the_account_of_the_address() {
    let (app, admin, _) = with_admin().await;
    let user_id = async |email: &str| {
        let token = token_of(&app, email, PASSWORD).await;
        app.get("/api/v1/users/me").token(&token).ok().await["user_id"].text().to_owned()
    };
    register(&app, "old@example.com").expect(200).await;
    register(&app, "new@example.com").expect(200).await;
    let (owner, squatter) = (user_id("old@example.com").await, user_id("new@example.com").await);
    let squatting = token_of(&app, "new@example.com", PASSWORD).await;
    let path = |user: &str| format!("/api/v1/users/{}", user.replace('|', "%7C"));
    let body = json!({"email": "New@example.com"});
    let changed = patch(&app, &path(&owner), body).by(&admin).data().await;
    changed.has(json!({"email": "New@example.com", "email_verified": true}));
    assert_eq!(user_id("new@example.com").await, owner);
    log_in(&app, "old@example.com", PASSWORD).refused(401, "InvalidCredentialsException").await;
    // The other account keeps all but its name, until it gets one.
    app.get("/api/user/balance").token(&squatting).expect(200).await;
    let told = format!("/api/v1/audit-events?action=user.updated&user_id={}", squatter.replace('|', "%7C"));
    let told = app.get(&told).service().rows().await;
    assert_eq!(told.len(), 1);
    told[0].has(json!({"actor": "admin:auth0|root", "details": {"fields": ["login_name"]}}));
    let body = json!({"email": "third@example.com"});
    patch(&app, &path(&squatter), body).by(&admin).expect(200).await;
    assert_eq!(user_id("third@example.com").await, squatter);
}

#[tokio::test]
async fn only_keys_of_administrators_change_users() {
    let (app, _, _) = with_admin().await;
    for (scope, status) in [("read", 403), ("service", 403), ("admin", 200)] {
        let (_, key) = examples::api_key(&app, scope).await;
        let reply = patch(&app, A, json!({"name": scope})).token(&key).expect(status).await;
        if status == 403 {
            assert_eq!(reply.error_code(), "InsufficientScopeException", "{scope}");
        }
    }
    assert_eq!(app.get(A).service().data().await["name"], "admin");
}

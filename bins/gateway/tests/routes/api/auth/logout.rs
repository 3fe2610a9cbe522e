//! `POST /api/auth/logout`

use crate::{
    own_logins::{Login, log_in, open},
    prelude::*,
};

const PATH: &str = "/api/auth/logout";

fn balance(app: &TestApp, login: &Login) -> TestRequest {
    app.get("/api/v1/users/email|a/credits/balance").by(&login.user)
}

fn refresh(app: &TestApp, login: &Login) -> TestRequest {
    app.post("/api/auth/refresh").json(json!({"refresh_token": login.refresh_token}))
}

#[tokio::test]
async fn the_login_of_the_token_ends_and_others_go_on() {
    let app = TestApp::start().await;
    let (login, other) = (log_in(&app, "email|a").await, open(&app, "email|a").await);
    let reply = app.post(PATH).by(&login.user).ok().await;
    assert_eq!(reply, json!({"message": "已退出登录"}));
    balance(&app, &login).refused(401, "AuthenticationException").await;
    app.post(PATH).by(&login.user).refused(401, "AuthenticationException").await;
    refresh(&app, &login).refused(401, "RefreshTokenInvalidException").await;
    balance(&app, &other).ok().await;
    refresh(&app, &other).ok().await;
    let english = app.post(PATH).by(&other.user).header("Accept-Language", "en").json(json!({"all": false}));
    assert_eq!(english.ok().await["message"], "Logged out");
    let events = "SELECT count(*) FROM identity.audit_events WHERE action = 'logout' AND user_id = 'email|a' \
                  AND actor = 'user:email|a' AND details ->> 'all' = 'false'";
    assert_eq!(app.db().ask(events).await, 2);
}

#[tokio::test]
async fn all_logins_of_the_user_end_and_those_of_others_do_not() {
    let app = TestApp::start().await;
    let stranger = log_in(&app, "email|b").await;
    let logins = [log_in(&app, "email|a").await, open(&app, "email|a").await, open(&app, "email|a").await];
    app.post(PATH).by(&logins[1].user).json(json!({"all": true})).ok().await;
    for login in &logins {
        balance(&app, login).refused(401, "AuthenticationException").await;
        refresh(&app, login).refused(401, "RefreshTokenInvalidException").await;
    }
    refresh(&app, &stranger).ok().await;
    // A new login is not affected.
    balance(&app, &open(&app, "email|a").await).ok().await;
}

#[tokio::test]
async fn only_tokens_of_the_service_have_a_login() {
    let (app, user) = TestApp::with_user(&[("ADMIN_USER_IDS", "auth0|root")]).await;
    app.post(PATH).by(&user).refused(403, "PermissionDeniedException").await;
    app.post(PATH).by(&app.user("auth0|root").await).refused(403, "PermissionDeniedException").await;
    app.post(PATH).service().refused(403, "PermissionDeniedException").await;
    app.post(PATH).refused(401, "AuthenticationException").await;
    let login = log_in(&app, "email|a").await;
    app.post(PATH).by(&login.user).json(json!({"all": "yes"})).expect(422).await;
    balance(&app, &login).ok().await;
}

/// Charges look at the login in their own statement.
#[tokio::test]
async fn nothing_is_spent_after_the_logout() {
    let app = TestApp::start().await;
    let login = log_in(&app, "email|a").await;
    let consume =
        || app.post("/api/v1/users/email|a/credits/consume").by(&login.user).json(json!({"amount": 1}));
    consume().ok().await;
    consume().ok().await;
    app.post(PATH).by(&login.user).ok().await;
    for _ in 0..3 {
        consume().refused(401, "AuthenticationException").await;
    }
    let left = app.get("/api/v1/users/email|a/credits/balance").service().data().await;
    assert_eq!(left, 998.0);
}

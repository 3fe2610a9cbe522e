//! `POST /api/auth/email-login`, `POST /api/auth/change-password`

use crate::accounts::{OTHER_PASSWORD, PASSWORD, audited, log_in, register, token_of};
use crate::{examples::assert_documented, prelude::*};

#[tokio::test]
async fn a_login_opens_the_routes_of_its_user() {
    let app = TestApp::start().await;
    let body = json!({"email": "Ann@Example.com", "password": PASSWORD, "nickname": "用户名"});
    let id = app.post("/api/auth/register").json(body).ok().await["user_id"].clone();
    let reply = log_in(&app, "aNN@example.com", PASSWORD).expect(200).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let tokens = reply.json();
    tokens.has(json!({"token_type": "bearer", "expires_in": 3_600}));
    assert!(!tokens["refresh_token"].text().is_empty());
    let token = tokens["access_token"].text();
    let verified = app.get("/api/auth/verify").token(token).ok().await;
    let user = json!({"id": id, "email": "Ann@Example.com", "nickname": "用户名", "tokens": 1000, "email_verified": false});
    assert_eq!(verified, json!({"user": user}));
    app.get("/api/v1/users/me").token(token).expect(200).await;
    assert_eq!(audited(&app, "login.succeeded").await, 1);
}

#[tokio::test]
async fn wrong_password_unknown_address_and_no_password_are_answered_alike() {
    let (app, _user) = TestApp::with_user(&[]).await;
    register(&app, "a@example.com").expect(200).await;
    let mut texts = Vec::new();
    for (email, password) in [
        ("a@example.com", OTHER_PASSWORD),
        ("a@example.com", "x"),
        ("unknown@example.com", PASSWORD),
        ("auth0a@example.com", PASSWORD),
    ] {
        let reply = log_in(&app, email, password).header("X-Request-Id", "same");
        texts.push(reply.refused(401, "InvalidCredentialsException").await.text);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(audited(&app, "login.refused").await, 4);
    let known =
        "SELECT count(*) FROM identity.audit_events WHERE action = 'login.refused' AND user_id IS NOT NULL";
    assert_eq!(app.db().ask(known).await, 2);
}

/// A keyboard may decompose the letters that another one composed.
#[tokio::test]
async fn a_long_password_is_right_in_every_composition_of_its_letters() {
    let app = TestApp::start().await;
    let body = json!({"email": "a@example.com", "password": "\u{1ebf}".repeat(128)});
    app.post("/api/auth/register").json(body).expect(200).await;
    log_in(&app, "a@example.com", &"e\u{302}\u{301}".repeat(128)).expect(200).await;
    let too_long = log_in(&app, "a@example.com", &"x".repeat(513)).fault("body.password").await;
    assert!(!too_long.to_string().contains("xxx"));
}

#[tokio::test]
async fn only_the_right_password_shows_that_an_account_is_disabled() {
    let app = TestApp::start().await;
    register(&app, "a@example.com").expect(200).await;
    let token = token_of(&app, "a@example.com", PASSWORD).await;
    app.db().run("UPDATE identity.users SET is_active = false").await;
    log_in(&app, "a@example.com", OTHER_PASSWORD).refused(401, "InvalidCredentialsException").await;
    log_in(&app, "a@example.com", PASSWORD).refused(403, "AccountDisabledException").await;
    app.get("/api/user/profile").token(&token).refused(403, "AccountDisabledException").await;
    assert_eq!((audited(&app, "login.refused").await, audited(&app, "login.succeeded").await), (2, 1));
}

#[tokio::test]
async fn another_password_ends_the_other_logins() {
    let app = TestApp::start().await;
    register(&app, "a@example.com").expect(200).await;
    let (this, other) =
        (token_of(&app, "a@example.com", PASSWORD).await, token_of(&app, "a@example.com", PASSWORD).await);
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        app.post("/api/auth/change-password").token(&this).json(body)
    };
    change(OTHER_PASSWORD, OTHER_PASSWORD).refused(401, "InvalidCredentialsException").await;
    assert_eq!(audited(&app, "login.refused").await, 1, "a wrong guess is in the audit log");
    change(PASSWORD, "12345678").fault("body.new_password").await;
    app.get("/api/user/balance").token(&other).expect(200).await;
    let answer = change(PASSWORD, OTHER_PASSWORD).ok().await;
    assert_documented("change_password", &answer);
    answer.has(json!({"message": "密码已修改"}));
    app.get("/api/user/balance").token(&this).expect(200).await;
    app.get("/api/user/balance").token(&other).refused(401, "AuthenticationException").await;
    log_in(&app, "a@example.com", PASSWORD).refused(401, "InvalidCredentialsException").await;
    token_of(&app, "a@example.com", OTHER_PASSWORD).await;
    // Those who have no password here cannot change it.
    let foreign = app.user("auth0|b").await;
    let body = json!({"current_password": PASSWORD, "new_password": OTHER_PASSWORD});
    app.post("/api/auth/change-password")
        .by(&foreign)
        .json(body)
        .refused(403, "PermissionDeniedException")
        .await;
}

#[tokio::test]
async fn a_storm_of_logins_is_refused_beyond_the_queue_while_others_are_served() {
    let app = TestApp::start_with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    register(&app, "a@example.com").expect(200).await;
    let mut storm = JoinSet::new();
    let address = app.address();
    for client in 0..400 {
        storm.spawn(async move {
            let body = r#"{"email":"a@example.com","password":"wrong password"}"#;
            let head = format!(
                "POST /api/auth/email-login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                 X-Forwarded-For: 198.51.{}.{}\r\n",
                client / 200,
                client % 200
            );
            exchange(address, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await
        });
    }
    let (mut wrong, mut busy) = (0, 0);
    while let Some(answer) = storm.join_next().await {
        app.get("/livez").expect(200).await;
        let answer = answer.unwrap();
        if answer.starts_with("HTTP/1.1 401 ") {
            wrong += 1;
        } else {
            answered(&answer, 503, &["ServiceUnavailableException", "retry-after: 1"]);
            busy += 1;
        }
    }
    // How many are checked before their time is up depends on the machine.
    assert!(wrong > 0 && busy > 0, "{wrong} were checked and {busy} refused");
    token_of(&app, "a@example.com", PASSWORD).await;
}

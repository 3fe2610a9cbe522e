//! `POST /api/auth/refresh`

use crate::{
    own_logins::{log_in, open},
    prelude::*,
};

const PATH: &str = "/api/auth/refresh";

fn refresh(app: &TestApp, token: &str) -> TestRequest {
    app.post(PATH).json(json!({"refresh_token": token}))
}

fn balance(app: &TestApp, token: &str) -> TestRequest {
    app.get("/api/v1/users/email|a/credits/balance").token(token)
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once_and_its_repeat_is_answered() {
    let app = TestApp::start_with(&[("ACCESS_TOKEN_TTL_SECONDS", "600")]).await;
    let login = log_in(&app, "email|a").await;
    balance(&app, &login.user.token).ok().await;
    let reply = refresh(&app, &login.refresh_token).expect(200).await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let (first, again) = (reply.json(), refresh(&app, &login.refresh_token).ok().await);
    first.has(json!({"token_type": "bearer", "expires_in": 600}));
    assert_eq!(first.as_object().unwrap().len(), 4);
    assert_eq!(first["refresh_token"], again["refresh_token"]);
    for tokens in [&first, &again] {
        balance(&app, tokens["access_token"].text()).ok().await;
    }
    app.clock().advance(Duration::seconds(661));
    balance(&app, first["access_token"].text()).refused(401, "TokenExpiredException").await;
    let next = refresh(&app, first["refresh_token"].text()).ok().await;
    balance(&app, next["access_token"].text()).ok().await;
}

#[tokio::test]
async fn a_token_that_is_used_again_later_ends_the_login() {
    let app = TestApp::start().await;
    let (login, other) = (log_in(&app, "email|a").await, open(&app, "email|a").await);
    let tokens = refresh(&app, &login.refresh_token).ok().await;
    app.clock().advance(Duration::seconds(11));
    let reply = refresh(&app, &login.refresh_token).refused(401, "RefreshTokenInvalidException").await;
    assert!(!reply.text.contains(&login.refresh_token));
    refresh(&app, tokens["refresh_token"].text()).refused(401, "RefreshTokenInvalidException").await;
    // The access tokens of the login are refused, too.
    for token in [&login.user.token, tokens["access_token"].text()] {
        balance(&app, token).refused(401, "AuthenticationException").await;
    }
    balance(&app, &other.user.token).ok().await;
    let events = "SELECT count(*) FROM identity.audit_events WHERE action = 'login.refresh_reused' AND user_id = 'email|a' \
                  AND actor = 'anonymous' AND address = '127.0.0.1'";
    assert_eq!(app.db().ask(events).await, 1);
}

#[tokio::test]
async fn refusals_are_in_chinese_unless_english_is_asked_for() {
    let app = TestApp::start().await;
    let refused = |language: Option<&str>| {
        let request = refresh(&app, "unknown");
        match language {
            Some(language) => request.header("Accept-Language", language),
            None => request,
        }
    };
    for (language, text) in [(None, "刷新令牌无效"), (Some("en"), "The refresh token is not valid")] {
        let reply = refused(language).refused(401, "RefreshTokenInvalidException").await.json();
        assert_eq!((&reply["message"], &reply["detail"]), (&json!(text), &json!(text)));
    }
    // So are the answers of paths that do not exist; those of the documented API have English details.
    let unknown = app.get("/api/no-such-path").expect(404).await.json();
    assert_eq!((&unknown["message"], &unknown["detail"]), (&json!("未找到"), &json!("未找到")));
    let unknown = app.get("/api/v1/no-such-path").header("Accept-Language", "zh").expect(404).await.json();
    assert_eq!((&unknown["message"], &unknown["detail"]), (&json!("未找到"), &json!("Not found")));
}

#[tokio::test]
async fn a_fault_does_not_repeat_the_token() {
    let app = TestApp::start().await;
    let long = format!("canary{}", "x".repeat(300));
    for (body, kind) in [
        (json!({}), "missing"),
        (json!({"refresh_token": ""}), "string_too_short"),
        (json!({"refresh_token": long}), "string_too_long"),
        (json!({"refresh_token": ["canary"]}), "string_type"),
    ] {
        let reply = app.post(PATH).json(body).expect(422).await;
        assert!(!reply.text.contains("canary") && !reply.text.contains("\"input\""), "{}", reply.text);
        assert_eq!(reply.json()["detail"][0]["type"], kind);
    }
}

#[tokio::test]
async fn outside_development_without_secrets_key_only_own_tokens_are_missing() {
    let app = TestApp::start_with(&[("ENVIRONMENT", "production")]).await;
    let reply = refresh(&app, "x").refused(503, "ProviderNotConfiguredException").await;
    assert_eq!(reply.json()["error_details"]["provider"], "tokens");
    // An account to which nobody could log in is not made.
    let body = json!({"email": "a@example.com", "password": "correct horse battery staple"});
    let reply =
        app.post("/api/auth/register").json(body).refused(503, "ProviderNotConfiguredException").await;
    assert_eq!(reply.json()["error_details"]["provider"], "tokens");
    assert_eq!(app.get("/.well-known/jwks.json").ok().await, json!({"keys": []}));
    let user = app.user("auth0|a").await;
    app.get("credits/balance").by(&user).ok().await;
}

#[tokio::test]
async fn production_with_secrets_key_has_own_tokens() {
    let key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJE=";
    let variables =
        [("ENVIRONMENT", "production"), ("SECRETS_KEY", key), ("PUBLIC_URL", "https://users.example.com")];
    let app = TestApp::start_with(&variables).await;
    let login = log_in(&app, "email|a").await;
    let tokens = refresh(&app, &login.refresh_token).ok().await;
    balance(&app, tokens["access_token"].text()).ok().await;
}

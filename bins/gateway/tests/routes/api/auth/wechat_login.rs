//! `POST /api/auth/wechat-login`

use testkit::{WECHAT_SECRET, WECHAT_SESSION_KEY, WechatServer};

use crate::accounts::audited;
use crate::{examples::assert_documented, prelude::*};

async fn with_wechat() -> (TestApp, WechatServer) {
    let server = WechatServer::start().await;
    let url = server.url();
    let variables =
        [("WECHAT_APP_ID", "wx01"), ("WECHAT_APP_SECRET", WECHAT_SECRET), ("WECHAT_API_BASE", url.as_str())];
    (TestApp::start_with(&variables).await, server)
}

fn log_in(app: &TestApp, code: &str) -> TestRequest {
    app.post("/api/auth/wechat-login").json(json!({"code": code}))
}

/// The user id of a login with a code.
async fn user_of(app: &TestApp, code: &str) -> String {
    let tokens = log_in(app, code).ok().await;
    let me = app.get("/api/v1/users/me").token(tokens["access_token"].text()).ok().await;
    me["user_id"].text().to_owned()
}

#[tokio::test]
async fn the_first_login_creates_the_user_and_later_ones_find_them() {
    let (app, server) = with_wechat().await;
    server.knows("c1", r#""openid":"oOne","unionid":"uOne""#);
    let reply = log_in(&app, "c1").expect(200).await;
    assert!(!reply.text.contains(WECHAT_SESSION_KEY) && !reply.text.contains("oOne"));
    let tokens = reply.json();
    assert_documented("wechat_login", &tokens);
    tokens.has(json!({"token_type": "bearer", "expires_in": 3_600}));
    let verified = app.get("/api/auth/verify").token(tokens["access_token"].text()).ok().await;
    verified["user"].has(json!({"email": null, "nickname": null, "tokens": 1000}));
    assert_eq!(user_of(&app, "c1").await, "wechat|uOne");
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users").await, 1);
    assert_eq!((audited(&app, "account.registered").await, audited(&app, "login.succeeded").await), (1, 2));
}

#[tokio::test]
async fn who_came_before_their_unionid_keeps_their_user() {
    let (app, server) = with_wechat().await;
    server.knows("c", r#""openid":"oOne""#);
    assert_eq!(user_of(&app, "c").await, "wechat|oOne");
    server.knows("c", r#""openid":"oOne","unionid":"uOne""#);
    assert_eq!(user_of(&app, "c").await, "wechat|oOne");
    server.knows("c", r#""openid":"oTwo","unionid":"uTwo""#);
    assert_eq!(user_of(&app, "c").await, "wechat|uTwo");
}

/// WeChat gives the `unionid` under conditions of its own.
#[tokio::test]
async fn who_came_with_their_unionid_keeps_their_user_without_it() {
    let (app, server) = with_wechat().await;
    server.knows("c", r#""openid":"oOne","unionid":"uOne""#);
    assert_eq!(user_of(&app, "c").await, "wechat|uOne");
    server.knows("c", r#""openid":"oOne""#);
    assert_eq!(user_of(&app, "c").await, "wechat|uOne");
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users").await, 1);
    assert_eq!(audited(&app, "account.registered").await, 1);
}

#[tokio::test]
async fn first_logins_at_once_with_either_id_make_one_user() {
    let (app, server) = with_wechat().await;
    for round in 0..5 {
        let (open, union) = (format!(r#""openid":"o{round}""#), format!(r#","unionid":"u{round}""#));
        server.knows("open", &open);
        server.knows("both", &format!("{open}{union}"));
        let codes = ["open", "both", "open", "both"];
        let users = futures_util::future::join_all(codes.map(|code| user_of(&app, code))).await;
        assert!(users.iter().all(|user| *user == users[0]), "{users:?}");
    }
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users").await, 5);
}

#[tokio::test]
async fn a_user_is_created_with_the_audit_of_it_or_not_at_all() {
    let (app, server) = with_wechat().await;
    server.knows("c", r#""openid":"oOne""#);
    let refuse =
        "ALTER TABLE identity.audit_events ADD CONSTRAINT refused CHECK (action <> 'account.registered')";
    app.db().run(refuse).await;
    log_in(&app, "c").refused(500, "InternalServerException").await;
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users").await, 0);
    app.db().run("ALTER TABLE identity.audit_events DROP CONSTRAINT refused").await;
    user_of(&app, "c").await;
    assert_eq!((audited(&app, "account.registered").await, audited(&app, "login.succeeded").await), (1, 1));
}

#[tokio::test]
async fn refusals_of_wechat_are_answered_and_create_nobody() {
    let (app, server) = with_wechat().await;
    for (errcode, status, code) in [
        (40_029, 400, "WechatCodeInvalidException"),
        (40_163, 400, "WechatCodeInvalidException"),
        (45_011, 429, "RateLimitExceededException"),
        (40_226, 403, "PermissionDeniedException"),
        (-1, 503, "ProviderUnavailableException"),
        (40_125, 503, "ProviderUnavailableException"),
    ] {
        server.answers("c", &[&format!(r#"{{"errcode":{errcode},"errmsg":"canary"}}"#)]);
        let refused = log_in(&app, "c").refused(status, code).await;
        assert!(
            !refused.text.contains("canary") && !refused.text.contains(WECHAT_SECRET),
            "{}",
            refused.text
        );
        if status == 429 {
            refused.has(json!({
                "error_details.limit": 100, "error_details.window_seconds": 60, "error_details.retry_after": 60,
            }));
        }
        let waits = matches!(status, 429 | 503);
        assert_eq!(!refused.header("retry-after").is_empty(), waits, "{errcode}");
    }
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users").await, 0);
    let without = TestApp::start().await;
    let refused = log_in(&without, "c").refused(503, "ProviderNotConfiguredException").await;
    assert_eq!(refused.json()["error_details"]["provider"], "wechat");
}

#[tokio::test]
async fn a_disabled_user_does_not_log_in() {
    let (app, server) = with_wechat().await;
    server.knows("c", r#""openid":"oOne""#);
    user_of(&app, "c").await;
    app.db().run("UPDATE identity.users SET is_active = false").await;
    log_in(&app, "c").refused(403, "AccountDisabledException").await;
    assert_eq!(audited(&app, "login.refused").await, 1);
}

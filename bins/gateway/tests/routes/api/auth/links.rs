//! `confirm-email`, `forgot-password`, `reset-password`, `send-confirmation` below `/api/auth`

use crate::accounts::{
    OTHER_PASSWORD, PASSWORD, confirm, forgot, log_in, register, reset, token_of, with_mail,
};
use crate::{examples::assert_documented, prelude::*};

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_a_link_that_works_once() {
    let (app, server) = with_mail().await;
    register(&app, "a@example.com").expect(200).await;
    server.wait_for_mail(1).await;
    let old = token_of(&app, "a@example.com", PASSWORD).await;
    forgot(&app, "A@example.com").expect(202).await;
    let mail = server.wait_for_mail(2).await;
    assert!(mail.token().starts_with("reset_"));
    confirm(&app, &mail).refused(400, "LinkInvalidException").await;
    let answer = reset(&app, &mail, OTHER_PASSWORD).ok().await;
    assert_documented("reset_password", &answer);
    answer.has(json!({"message": "密码已重置"}));
    reset(&app, &mail, OTHER_PASSWORD).refused(400, "LinkInvalidException").await;
    log_in(&app, "a@example.com", PASSWORD).refused(401, "InvalidCredentialsException").await;
    token_of(&app, "a@example.com", OTHER_PASSWORD).await;
    // All logins ended, and the address is confirmed.
    app.get("/api/user/profile").token(&old).refused(401, "AuthenticationException").await;
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users WHERE email_vouched").await, 1);
    forgot(&app, "a@example.com").expect(202).await;
    reset(&app, &server.wait_for_mail(3).await, PASSWORD).expect(200).await;
    assert_eq!(updates(&app).await, [json!(["password", "email"]), json!(["password"])]);
}

/// The fields that each audited change of a user names, the oldest first.
async fn updates(app: &TestApp) -> Vec<Value> {
    let events = app.get("/api/v1/audit-events?action=user.updated").service().rows().await;
    let fields = |event: &Value| {
        assert_eq!(event["actor"], format!("user:{}", event["user_id"].text()));
        event["details"]["fields"].clone()
    };
    events.iter().rev().map(fields).collect()
}

#[tokio::test]
async fn a_link_expires_after_30_minutes() {
    let (app, server) = with_mail().await;
    register(&app, "a@example.com").expect(200).await;
    let confirmation = server.wait_for_mail(1).await;
    forgot(&app, "a@example.com").expect(202).await;
    let mail = server.wait_for_mail(2).await;
    app.clock().advance(Duration::minutes(30));
    reset(&app, &mail, OTHER_PASSWORD).refused(400, "LinkInvalidException").await;
    confirm(&app, &confirmation).refused(400, "LinkInvalidException").await;
    token_of(&app, "a@example.com", PASSWORD).await;
}

#[tokio::test]
async fn known_and_unknown_addresses_are_answered_alike() {
    let (app, server) = with_mail().await;
    register(&app, "a@example.com").expect(200).await;
    server.wait_for_mail(1).await;
    let (known, unknown) = (forgot(&app, "a@example.com").await, forgot(&app, "b@example.com").await);
    assert_eq!((known.status, unknown.status), (202, 202));
    assert_documented("forgot_password", &known.json());
    assert_eq!(known.text, unknown.text);
    // The same rows are written, too: nothing was looked up yet.
    let english = forgot(&app, "b@example.com").header("Accept-Language", "en").expect(202).await;
    assert_eq!(english.json()["message"], "If there is an account with this address, it is sent a mail");
    server.wait_for_mail(2).await;
    assert!(server.mails().iter().all(|mail| mail.to == "a@example.com"));
}

#[tokio::test]
async fn a_confirmation_is_sent_again_until_the_address_is_confirmed() {
    let (app, server) = with_mail().await;
    register(&app, "a@example.com").expect(200).await;
    server.wait_for_mail(1).await;
    let token = token_of(&app, "a@example.com", PASSWORD).await;
    let send = || app.post("/api/auth/send-confirmation").token(&token);
    let answer = send().header("Accept-Language", "en").expect(202).await;
    assert_documented("send_confirmation", &answer.json());
    let mail = server.wait_for_mail(2).await;
    assert_eq!(mail.header("Subject"), "Confirm your e-mail address");
    let is_verified = async || {
        let me = app.get("/api/v1/users/me").token(&token).ok().await["email_verified"].clone();
        assert_eq!(app.get("/api/auth/verify").token(&token).ok().await["user"]["email_verified"], me);
        assert_eq!(app.get("/api/user/profile").token(&token).ok().await["email_verified"], me);
        me
    };
    assert_eq!(is_verified().await, false);
    assert_documented("confirm_email", &confirm(&app, &mail).ok().await);
    confirm(&app, &mail).refused(400, "LinkInvalidException").await;
    assert_eq!(is_verified().await, true);
    assert_eq!(updates(&app).await, [json!(["email"])]);
    // Nothing more to confirm: the next mail is another one.
    send().expect(202).await;
    forgot(&app, "a@example.com").expect(202).await;
    assert!(server.wait_for_mail(3).await.token().starts_with("reset_"));
    // Only those with a login of this service have an address to confirm.
    let other = app.user("auth0|b").await;
    for request in [
        app.post("/api/auth/send-confirmation").by(&other),
        app.post("/api/auth/send-confirmation").service(),
    ] {
        request.refused(403, "PermissionDeniedException").await;
    }
}

#[tokio::test]
async fn an_address_that_another_user_holds_cannot_be_confirmed() {
    let (app, server) = with_mail().await;
    register(&app, "a@example.com").expect(200).await;
    let mail = server.wait_for_mail(1).await;
    let held = json!({"auth0_id": "auth0|a", "email": "a@example.com", "name": "A"});
    app.post("/api/v1/users/ensure").service().json(held).expect(200).await;
    confirm(&app, &mail).refused(400, "DuplicateEntryException").await;
}

#[tokio::test]
async fn without_a_mail_server_there_are_no_links() {
    let app = TestApp::start().await;
    register(&app, "a@example.com").expect(200).await;
    let token = token_of(&app, "a@example.com", PASSWORD).await;
    let post = |path: &str, body: Value| app.post(&format!("/api/auth/{path}")).json(body);
    for request in [
        post("forgot-password", json!({"email": "a@example.com"})),
        post("confirm-email", json!({"token": "x"})),
        post("reset-password", json!({"token": "x", "new_password": PASSWORD})),
        post("send-confirmation", json!({})).token(&token),
    ] {
        let refused = request.refused(503, "ProviderNotConfiguredException").await;
        assert_eq!(refused.json()["error_details"]["provider"], "mail");
    }
    post("reset-password", json!({"token": "x", "new_password": "short"})).fault("body.new_password").await;
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.mails").await, 0);
}

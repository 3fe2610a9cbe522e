//! `POST /api/auth/register`

use crate::accounts::{PASSWORD, audited, register, with_mail};
use crate::prelude::*;

#[tokio::test]
async fn an_account_is_a_user_with_initial_credits_in_one_commit() {
    let app = TestApp::start().await;
    let body = json!({"email": "Ann@Example.com", "password": PASSWORD, "nickname": "安"});
    let reply = app.post("/api/auth/register").json(&body).expect(200).await;
    let answer = reply.json();
    answer.has(json!({"message": "注册成功"}));
    assert_eq!(reply.header("content-language"), "zh");
    let user = app.db().ask("SELECT id FROM identity.users WHERE user_id ~ '^email[|][0-9a-f-]{36}$'").await;
    assert_eq!(answer["user_id"], user);
    let stored = "SELECT count(*) FROM identity.users WHERE email = 'Ann@Example.com' AND NOT email_vouched AND name = '安'";
    assert_eq!(app.db().ask(stored).await, 1);
    assert_eq!(app.db().ask("SELECT count(*) FROM credits.grants").await, 1);
    assert_eq!(audited(&app, "account.registered").await, 1);
    let english = app.post("/api/auth/register").header("Accept-Language", "en");
    let english = english.json(json!({"email": "b@example.com", "password": PASSWORD})).ok().await;
    assert_eq!(english["message"], "Registered");
}

#[tokio::test]
async fn an_address_is_taken_by_its_holder_and_by_another_account() {
    let app = TestApp::start().await;
    register(&app, "a@example.com").expect(200).await;
    let refused = register(&app, "A@EXAMPLE.com").refused(400, "DuplicateEntryException").await;
    refused.has(json!({"error_details.field": "email", "message": "该 email 已被使用", "detail": "该 email 已被使用"}));
    let held = json!({"auth0_id": "auth0|b", "email": "b@example.com", "name": "B"});
    app.post("/api/v1/users/ensure").service().json(held).expect(200).await;
    register(&app, "b@example.com").refused(400, "DuplicateEntryException").await;
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users").await, 2);
    assert_eq!(audited(&app, "account.registered").await, 1);
    // An address that is not confirmed blocks no holder.
    let held = json!({"auth0_id": "auth0|a", "email": "a@example.com", "name": "A"});
    app.post("/api/v1/users/ensure").service().json(held).expect(200).await;
}

#[tokio::test]
async fn passwords_are_judged_before_anything_is_done_and_not_repeated() {
    let app = TestApp::start().await;
    let long = "é".repeat(129);
    for (password, kind) in [
        (json!("1234567"), "string_too_short"),
        (json!(long), "string_too_long"),
        (json!("Password1"), "value_error"),
        (json!(12_345_678), "string_type"),
        (json!(null), "string_type"),
    ] {
        let request =
            app.post("/api/auth/register").json(json!({"email": "a@example.com", "password": password}));
        let fault = request.fault("body.password").await;
        assert_eq!((&fault["type"], fault.get("input")), (&json!(kind), None), "{password}");
    }
    app.post("/api/auth/register").json(json!({"email": "a"})).fault("body.email").await;
    for password in ["        ", "密码密码密码密码", &"é".repeat(128)] {
        let email = format!("a{}@example.com", password.len());
        let body = json!({"email": email, "password": password});
        app.post("/api/auth/register").json(body).expect(200).await;
    }
}

#[tokio::test]
async fn where_mail_is_configured_the_address_is_sent_a_confirmation() {
    let (app, server) = with_mail().await;
    register(&app, "a@example.com").expect(200).await;
    let mail = server.wait_for_mail(1).await;
    assert_eq!(mail.to, "a@example.com");
    assert!(mail.token().starts_with("confirm_") && mail.text.contains("确认"), "{}", mail.text);
    crate::accounts::confirm(&app, &mail).expect(200).await.has(json!({"message": "邮箱已确认"}));
    assert_eq!(app.db().ask("SELECT count(*) FROM identity.users WHERE email_vouched").await, 1);
}

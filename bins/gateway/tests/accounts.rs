//! Own accounts, registered and used as clients do.

use testkit::{MailServer, TestMail};

use crate::prelude::*;

pub const PASSWORD: &str = "correct horse battery staple";
pub const OTHER_PASSWORD: &str = "battery staple correct horse";

/// A service that sends its mails to a server of the test.
pub async fn with_mail() -> (TestApp, MailServer) {
    let server = MailServer::start().await;
    let url = server.url();
    let variables = [
        ("SMTP_URL", url.as_str()),
        ("MAIL_FROM", "Accounts <accounts@service.example.com>"),
        ("MAIL_LINK_BASE", "https://app.example.com/account"),
    ];
    (TestApp::start_with(&variables).await, server)
}

pub fn register(app: &TestApp, email: &str) -> TestRequest {
    app.post("/api/auth/register").json(json!({"email": email, "password": PASSWORD}))
}

pub fn log_in(app: &TestApp, email: &str, password: &str) -> TestRequest {
    app.post("/api/auth/email-login").json(json!({"email": email, "password": password}))
}

/// The access token of a new login.
pub async fn token_of(app: &TestApp, email: &str, password: &str) -> String {
    log_in(app, email, password).ok().await["access_token"].text().to_owned()
}

pub fn confirm(app: &TestApp, mail: &TestMail) -> TestRequest {
    app.post("/api/auth/confirm-email").json(json!({"token": mail.token()}))
}

pub fn reset(app: &TestApp, mail: &TestMail, password: &str) -> TestRequest {
    app.post("/api/auth/reset-password").json(json!({"token": mail.token(), "new_password": password}))
}

pub fn forgot(app: &TestApp, email: &str) -> TestRequest {
    app.post("/api/auth/forgot-password").json(json!({"email": email}))
}

/// Number of audited events of an action.
pub async fn audited(app: &TestApp, action: &str) -> i64 {
    app.db().ask(&format!("SELECT count(*) FROM identity.audit_events WHERE action = '{action}'")).await
}

//! Secrets of accounts in a real process: neither its log nor its database has them.

use testkit::{MailServer, WECHAT_SECRET, WECHAT_SESSION_KEY, WechatServer};

use crate::accounts::{OTHER_PASSWORD, PASSWORD};
use crate::{
    prelude::*,
    process::gateway_process::{Gateway, database},
};

const ADDRESS: &str = "canary.address@example.com";
const CODE: &str = "canary-wechat-code-41";

#[tokio::test]
async fn no_secret_is_logged_or_stored() {
    let (db, mails, wechat) = (database().await, MailServer::start().await, WechatServer::start().await);
    wechat.knows(CODE, r#""openid":"oOne""#);
    let (smtp_url, wechat_url) = (mails.url(), wechat.url());
    let gateway = Gateway::on(
        db.url(),
        &[
            ("LOG_LEVEL", "trace"),
            ("SMTP_URL", &smtp_url),
            ("MAIL_FROM", "accounts@service.example.com"),
            ("WECHAT_APP_ID", "wx01"),
            ("WECHAT_APP_SECRET", WECHAT_SECRET),
            ("WECHAT_API_BASE", &wechat_url),
        ],
    )
    .await;
    let post = |path: &str, body: Value| gateway.post(&format!("/api/auth/{path}"), body);
    post("register", json!({"email": ADDRESS, "password": PASSWORD})).expect(200).await;
    let confirmation = mails.wait_for_mail(1).await;
    post("confirm-email", json!({"token": confirmation.token()})).expect(200).await;
    post("forgot-password", json!({"email": ADDRESS})).expect(202).await;
    let reset = mails.wait_for_mail(2).await;
    post("reset-password", json!({"token": reset.token(), "new_password": OTHER_PASSWORD})).expect(200).await;
    post("email-login", json!({"email": ADDRESS, "password": PASSWORD})).expect(401).await;
    let tokens = post("email-login", json!({"email": ADDRESS, "password": OTHER_PASSWORD})).ok().await;
    post("wechat-login", json!({"code": CODE})).expect(200).await;
    wechat.answers(CODE, &[""]);
    let failed = post("wechat-login", json!({"code": CODE})).expect(503).await;
    mails.refuse(Some("451 canary.address@example.com has a full mailbox"));
    post("forgot-password", json!({"email": ADDRESS})).expect(202).await;
    mails.wait_for_recipients(3).await;

    let (log, metrics) = (gateway.log(), gateway.metrics().await);
    assert!(log.contains("WeChat did not answer") && metrics.contains("mails_total"), "{log}");
    let secrets = [
        PASSWORD,
        OTHER_PASSWORD,
        WECHAT_SECRET,
        WECHAT_SESSION_KEY,
        CODE,
        confirmation.token(),
        reset.token(),
        reset.link(),
        tokens["access_token"].text(),
        tokens["refresh_token"].text(),
    ];
    let dump = "SELECT coalesce(string_agg(table_row::text, ' '), '') FROM (
        SELECT to_jsonb(t) AS table_row FROM identity.users t UNION ALL SELECT to_jsonb(t) FROM identity.credentials t
        UNION ALL SELECT to_jsonb(t) FROM identity.mails t UNION ALL SELECT to_jsonb(t) FROM identity.mail_links t
        UNION ALL SELECT to_jsonb(t) FROM identity.logins t UNION ALL SELECT to_jsonb(t) FROM identity.audit_events t) AS all_rows";
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!metrics.contains(secret) && !failed.text.contains(secret), "{secret}");
        let found = db.ask(&format!("SELECT position('{secret}' IN ({dump}))")).await;
        assert_eq!(found, 0, "{secret} is in the database");
    }
    assert!(!log.contains(ADDRESS) && !metrics.contains(ADDRESS), "the address is in the log");
    let audited = "SELECT count(*) FROM identity.audit_events t WHERE t::text LIKE '%canary%'";
    assert_eq!(db.ask(audited).await, 0, "the audit log names the address");
}

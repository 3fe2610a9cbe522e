//! `GET /api/v1/subscriptions/plans`

use crate::prelude::*;

#[tokio::test]
async fn plans_are_as_documented_without_a_credential() {
    let app = TestApp::start().await;
    let reply = app.get("/api/v1/subscriptions/plans").expect(200).await;
    assert!(reply.text.starts_with(
        r#"{"plans":{"free":{"name":"Free","price_monthly":0.0,"credits":1000,"features":["basic_ai","limited_requests"],"duration_days":30,"recommended":false},"pro":"#
    ));
    assert!(reply.text.ends_with(r#""currency":"USD","billing_cycle":"monthly"}"#));
}

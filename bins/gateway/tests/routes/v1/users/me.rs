//! `GET /api/v1/users/me`

use serde_json::json;
use testkit::TestApp;

#[tokio::test]
async fn shows_profile_and_balance_in_plain_numbers() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = app.post("/api/v1/users/auth0%7Ca/credits/consume").token(&user.token);
    consume.json(&json!({"amount": 25.5})).send().await.expect(200);
    let reply = app.get("/api/v1/users/me").token(&user.token).send().await.expect(200);
    assert_eq!(
        reply.text,
        r#"{"user_id":"auth0|a","email":"auth0a@example.com","name":"auth0|a","credits":974.5,"credits_total":1000,"plan":"free","is_active":true}"#
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    let named = app.get("/api/v1/users/me").service().header("X-User-Id", "auth0|a").send().await.expect(200);
    assert_eq!(named.text, reply.text);
}

//! `GET /api/v1/users/me`

use crate::prelude::*;

#[tokio::test]
async fn shows_profile_and_balance_in_plain_numbers() {
    let (app, user) = TestApp::with_user(&[]).await;
    app.post("credits/consume").by(&user).json(json!({"amount": 25.5})).expect(200).await;
    let reply = app.get("/api/v1/users/me").by(&user).expect(200).await;
    assert_eq!(
        reply.text,
        r#"{"user_id":"auth0|a","email":"auth0a@example.com","name":"auth0|a","credits":974.5,"credits_total":1000,"plan":"free","is_active":true,"email_verified":false}"#
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    let named = app.get("/api/v1/users/me").service().header("X-User-Id", "auth0|a").expect(200).await;
    assert_eq!(named.text, reply.text);
}

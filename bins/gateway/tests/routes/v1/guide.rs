//! The quick test script of the customer's guide, call by call.

use crate::prelude::*;

#[tokio::test]
async fn the_quick_test_script_gives_the_documented_shapes() {
    let app = TestApp::start().await;
    app.get("/health").ok().await.has(json!({"status": "healthy", "services.data.version": "2.0.0"}));
    let issued = app.post("/auth/dev-token?user_id=auth0%7Ctest123&email=test@test.com").expect(200).await;
    let issued = issued.json();
    let token = issued["token"].text();
    let body = r#"{"auth0_id": "auth0|test123", "email": "test@test.com", "name": "Test User"}"#;
    let user = app.post("/api/v1/users/ensure").token(token).body(body).ok().await;
    assert_eq!((&user["credits"], &user["created"]), (&json!(1000), &json!(true)));
    let body = r#"{"user_id": "auth0|test123", "conversation_data": {"topic": "test"}, "metadata": {"source": "script"}}"#;
    let session =
        app.post("/api/v1/users/auth0%7Ctest123/sessions").token(token).body(body).expect(200).await;
    assert_eq!(session.json()["session_id"].text().len(), 36);
}

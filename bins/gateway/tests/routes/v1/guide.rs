//! The quick test script of the customer's guide, call by call.

use serde_json::json;
use testkit::TestApp;

#[tokio::test]
async fn the_quick_test_script_gives_the_documented_shapes() {
    let app = TestApp::start().await;
    let health = app.get("/health").send().await.expect(200).json();
    assert_eq!(
        (&health["status"], &health["services"]["data"]["version"]),
        (&json!("healthy"), &json!("2.0.0"))
    );
    let issued =
        app.post("/auth/dev-token?user_id=auth0%7Ctest123&email=test@test.com").send().await.expect(200);
    let issued = issued.json();
    let token = issued["token"].as_str().unwrap();
    let body = r#"{"auth0_id": "auth0|test123", "email": "test@test.com", "name": "Test User"}"#;
    let user = app.post("/api/v1/users/ensure").token(token).body(body).send().await.expect(200).json();
    assert_eq!((&user["credits"], &user["created"]), (&json!(1000), &json!(true)));
    let body = r#"{"user_id": "auth0|test123", "conversation_data": {"topic": "test"}, "metadata": {"source": "script"}}"#;
    let session =
        app.post("/api/v1/users/auth0%7Ctest123/sessions").token(token).body(body).send().await.expect(200);
    assert_eq!(session.json()["session_id"].as_str().unwrap().len(), 36);
}

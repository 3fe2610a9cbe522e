//! `POST /auth/dev-token`

use testkit::TestApp;

#[tokio::test]
async fn a_token_for_development_opens_its_user_for_an_hour() {
    let app = TestApp::start().await;
    let reply = app
        .post("/auth/dev-token?user_id=auth0%7Ctest123&email=test@example.com")
        .send()
        .await
        .expect(200);
    let answer = reply.json();
    assert_eq!(
        (answer["user_id"].as_str(), answer["expires_in"].as_i64()),
        (Some("auth0|test123"), Some(3_600))
    );
    assert_eq!(answer["provider"], "supabase");
    let token = answer["token"].as_str().unwrap();
    let me = || app.get("/api/v1/users/me").token(token).send();
    assert_eq!(
        me().await.expect(404).error_code(),
        "UserNotFoundException",
        "it creates no user"
    );
    app.user("auth0|test123").await;
    me().await.expect(200);
    app.clock().advance(time::Duration::seconds(3_600 + 59));
    me().await.expect(200);
    app.clock().advance(time::Duration::seconds(2));
    assert_eq!(me().await.expect(401).error_code(), "TokenExpiredException");
}

#[tokio::test]
async fn both_parameters_are_needed() {
    let app = TestApp::start().await;
    for query in [
        "",
        "?user_id=a",
        "?email=a@example.com",
        "?user_id=a%20b&email=a@example.com",
        "?user_id=a&email=x",
    ] {
        app.post(&format!("/auth/dev-token{query}"))
            .send()
            .await
            .expect(422);
    }
}

//! `POST /auth/dev-token`

use secrecy::SecretString;

use crate::prelude::*;

#[tokio::test]
async fn a_token_for_development_opens_its_user_for_an_hour() {
    let app = TestApp::start().await;
    let reply = app.post("/auth/dev-token?user_id=auth0%7Ctest123&email=test@example.com").expect(200).await;
    let answer = reply.json();
    answer.has(json!({"user_id": "auth0|test123", "expires_in": 3_600, "provider": "supabase"}));
    let token = answer["token"].text();
    let me = || app.get("/api/v1/users/me").token(token);
    // A token makes no user.
    me().refused(404, "UserNotFoundException").await;
    app.user("auth0|test123").await;
    me().expect(200).await;
    app.clock().advance(time::Duration::seconds(3_600 + 59));
    me().expect(200).await;
    app.clock().advance(time::Duration::seconds(2));
    me().refused(401, "TokenExpiredException").await;
}

#[tokio::test]
async fn both_parameters_are_needed() {
    let app = TestApp::start().await;
    for query in
        ["", "?user_id=a", "?email=a@example.com", "?user_id=a%20b&email=a@example.com", "?user_id=a&email=x"]
    {
        app.post(&format!("/auth/dev-token{query}")).expect(422).await;
    }
}

const DEV_TOKEN: &str = "/auth/dev-token?user_id=auth0%7Ctest123&email=test@example.com";

#[tokio::test]
async fn callers_that_are_not_on_this_machine_find_no_such_path() {
    let app = TestApp::start().await;
    for (name, value) in [
        ("Host", "users.example.com"),
        ("Host", "192.0.2.1:8100"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
    ] {
        for method in ["POST", "GET"] {
            let ask = |path| app.request(method.parse().unwrap(), path).header(name, value);
            let refused = ask(DEV_TOKEN).expect(404).await.json();
            let unknown = ask("/auth/no-such-path").expect(404).await.json();
            for member in ["message", "error_code", "detail"] {
                assert_eq!(refused[member], unknown[member], "{name}: {value}");
            }
            assert_eq!(refused["error_details"]["operation"], "unrouted");
        }
    }
    app.post(DEV_TOKEN).header("Host", "localhost:8100").expect(200).await;
}

#[tokio::test]
async fn development_on_the_network_answers_everyone() {
    let app = TestApp::start_with(&[("DEVELOPMENT_ON_NETWORK", "true")]).await;
    let request = app.post(DEV_TOKEN).header("Host", "users.example.com");
    request.header("X-Forwarded-For", "203.0.113.7").expect(200).await;
}

#[tokio::test]
async fn a_development_token_is_not_signed_with_the_secret_of_supabase_and_opens_nothing_in_production() {
    let development = TestApp::start().await;
    let answer = development.post(DEV_TOKEN).ok().await;
    let token = answer["token"].text();
    let signed = |secret: &SecretString| {
        let now = development.clock().now();
        identity::dev_token(secret, &testkit::user("auth0|test123"), "test@example.com", now)
    };
    let of_supabase = signed(&testkit::TOKEN_SECRET.into());
    assert_ne!(token, of_supabase);
    let ensure = |app: &TestApp, token: &str| {
        let body = serde_json::json!({"email": "test@example.com", "name": "Test"});
        app.post("/api/v1/users/ensure").token(token).json(&body)
    };
    ensure(&development, token).expect(200).await;
    ensure(&development, &of_supabase).expect(200).await;

    // The same shared secret, and the database of the development installation.
    let production = TestApp::start_with(&[("ENVIRONMENT", "production")]).await;
    let mut conn = production.db().connect().await;
    let kept = identity::development_secret(&mut conn, production.clock()).await.unwrap();
    drop(conn);
    for token in [token, &signed(&kept)] {
        ensure(&production, token).refused(401, "AuthenticationException").await;
    }
    ensure(&production, &of_supabase).expect(200).await;
}

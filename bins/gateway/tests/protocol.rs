//! What every answer has in common: headers, ids, methods, languages, and errors from every layer.

mod bodies;
mod browsers;
mod connections;
mod dates;
mod failures;
mod paths;
mod queries;
mod rate_limits;
mod readiness;
mod times;
mod traffic;
mod wording;

use actix_web::http::Method;
use gateway::http::route::Access;

use crate::examples;
use crate::prelude::*;

/// Sends bytes as they are and reads until the server closes.
async fn raw(app: &TestApp, request: &str) -> String {
    rest(&mut open(app.address(), request).await).await
}

fn assert_documented_error(text: &str) {
    let body: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    for member in
        ["success", "status", "message", "error_code", "error_details", "timestamp", "detail", "request_id"]
    {
        assert!(body.get(member).is_some(), "{member} is missing: {text}");
    }
    assert_eq!(body["success"], false);
    assert!(body["error_details"]["operation"].is_string());
    assert!(body["error_details"]["timestamp"].is_string());
}

#[tokio::test]
async fn every_answer_carries_its_request_id() {
    let app = TestApp::start().await;
    let own = app.get("/livez").header("X-Request-Id", "my-id_1.2").await;
    assert_eq!(own.header("x-request-id"), "my-id_1.2");
    for unusable in ["", "with blank", &"x".repeat(65), "a/b"] {
        let made = app.get("/livez").header("X-Request-Id", unusable).await;
        assert_eq!(made.header("x-request-id").len(), 36, "{unusable:?}");
    }
    let refused = app.get("/nowhere").header("X-Request-Id", "mine").expect(404).await;
    assert_eq!(refused.json()["request_id"], "mine");
    assert_eq!(refused.header("x-request-id"), "mine");
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told() {
    let app = TestApp::start().await;
    let unknown = app.get("/api/v1/sessions").expect(404).await;
    assert!(unknown.header("vary").contains("Accept-Language"));
    assert_documented_error(&unknown.text);
    assert_eq!(unknown.error_code(), "NotFoundException");
    for route in examples::routes() {
        let path = route.path.replace(['{', '}'], "");
        // No route takes this method.
        let wrong = app.request("PURGE".parse().unwrap(), &path).expect(405).await;
        assert_documented_error(&wrong.text);
        assert!(wrong.header("allow").contains(route.method.as_str()), "{path}: {}", wrong.header("allow"));
    }
    assert_eq!(app.get("/health/").await.status, 404);
}

#[tokio::test]
async fn head_works_wherever_get_does() {
    let (app, user) = TestApp::with_user(&[]).await;
    let gets = examples::routes().filter(|route| route.method == Method::GET);
    for route in gets.filter(|route| !examples::UNCONFIGURED.contains(&route.operation)) {
        let request = examples::request(&app, route, &user).await.head();
        let request = match route.access {
            Access::Staff | Access::Admin => request.service(),
            _ => request.by(&user),
        };
        let reply = request.await;
        assert_eq!((reply.status, reply.text.as_str()), (200, ""), "{}", route.path);
    }
}

#[tokio::test]
async fn user_ids_may_be_raw_or_encoded_in_paths() {
    let app = TestApp::start().await;
    let user = app.user("auth0|test123").await;
    let plus = app.user("a+b@c.d").await;
    for (path_user, token) in [
        ("auth0|test123", &user.token),
        ("auth0%7Ctest123", &user.token),
        ("a+b@c.d", &plus.token),
        ("a%2Bb%40c.d", &plus.token),
    ] {
        let request = format!(
            "GET /api/v1/users/{path_user}/credits/balance HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Authorization: bearer {token}\r\n\r\n"
        );
        let answer = raw(&app, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path_user}: {answer}");
        assert!(answer.contains("\"data\":1000.0"), "{answer}");
    }
    assert_eq!(app.get("/api/v1/users/a%2Fb/credits/balance").service().await.status, 422);
}

#[tokio::test]
async fn messages_follow_accept_language() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = "/api/v1/users/auth0%7Ca/credits/balance";
    let chinese = app.get(path).by(&user).header("Accept-Language", "zh-CN").await;
    assert_eq!(chinese.json()["message"], "积分余额查询成功");
    assert_eq!(chinese.header("content-language"), "zh");
    assert!(chinese.header("vary").contains("Accept-Language"));
    let refused = app.get(path).header("Accept-Language", "zh").expect(401).await;
    assert_eq!(refused.json()["message"], "未提供认证信息");
    assert_eq!(refused.json()["detail"], "Not authenticated", "detail stays English on /api/v1");
    assert_eq!(app.get("/api/nowhere").expect(404).await.header("content-language"), "zh");
    assert_eq!(app.get(path).by(&user).await.header("content-language"), "en");
}

#[tokio::test]
async fn metrics_name_routes_by_template_and_no_user() {
    let app = TestApp::start().await;
    let user = app.user("auth0|measured").await;
    app.get("/api/v1/users/auth0%7Cmeasured/credits/balance").by(&user).expect(200).await;
    app.get("/nowhere/auth0%7Cmeasured").expect(404).await;
    let text = app.get("/metrics").expect(200).await.text;
    assert!(text.contains("user_service_http_requests_total{"), "{text}");
    assert!(text.contains(r#"route="/api/v1/users/{user_id}/credits/balance""#));
    assert!(text.contains(r#"route="unmatched""#));
    assert!(text.contains("user_service_http_request_duration_seconds_bucket"));
    assert!(text.contains("user_service_committer_batch_size"));
    assert!(!text.contains("measured"), "no label holds a user id");
}

#[tokio::test]
async fn metrics_tell_what_the_last_audit_of_the_ledger_found() {
    let app = TestApp::start().await;
    app.user("auth0|audited").await;
    let report = flows::ledger_audit::run(app.db().pool(), app.clock()).await.unwrap();
    assert!(report.is_clean());
    let text = app.get("/metrics").expect(200).await.text;
    for line in [
        "user_service_ledger_verify_violations 0",
        "user_service_ledger_verify_accounts 1",
        "user_service_ledger_verify_entries 1",
        "user_service_ledger_verify_usage_records 0",
        "user_service_ledger_verify_timestamp_seconds 1768478400",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(text.contains("user_service_ledger_verify_duration_seconds "));
}

//! Query parameters that a route does not have.

use gateway::http::route::{Access, Origin, Route};

use super::raw;
use crate::examples;
use crate::prelude::*;

/// The routes of the documents, by HTTP contract 16.
const DOCUMENTED: [&str; 40] = [
    "DELETE /api/sessions/{session_id}",
    "DELETE /api/v1/sessions/{session_id}",
    "DELETE /api/v1/users/{user_id}/files",
    "GET /api/auth/verify",
    "GET /api/billing/transactions",
    "GET /api/sessions",
    "GET /api/sessions/{session_id}/messages",
    "GET /api/user/balance",
    "GET /api/user/profile",
    "GET /api/v1/sessions/{session_id}/messages",
    "GET /api/v1/subscriptions/plans",
    "GET /api/v1/users/me",
    "GET /api/v1/users/{user_id}/credits/balance",
    "GET /api/v1/users/{user_id}/credits/transactions",
    "GET /api/v1/users/{user_id}/files",
    "GET /api/v1/users/{user_id}/files/info",
    "GET /api/v1/users/{user_id}/sessions",
    "GET /api/v1/users/{user_id}/usage",
    "GET /api/v1/users/{user_id}/usage/stats",
    "GET /docs",
    "GET /health",
    "GET /metrics",
    "GET /redoc",
    "POST /api/auth/email-login",
    "POST /api/auth/register",
    "POST /api/auth/wechat-login",
    "POST /api/billing/recharge",
    "POST /api/sessions",
    "POST /api/sessions/{session_id}/messages",
    "POST /api/v1/sessions/{session_id}/messages",
    "POST /api/v1/usage/batch",
    "POST /api/v1/users/ensure",
    "POST /api/v1/users/{user_id}/credits/consume",
    "POST /api/v1/users/{user_id}/credits/recharge",
    "POST /api/v1/users/{user_id}/files/upload",
    "POST /api/v1/users/{user_id}/sessions",
    "POST /api/v1/users/{user_id}/usage",
    "POST /auth/dev-token",
    "PUT /api/user/profile",
    "PUT /api/v1/sessions/{session_id}/status",
];

#[test]
fn the_documented_routes_are_declared_as_such() {
    let mut declared: Vec<String> = examples::routes()
        .filter(|route| route.origin == Origin::Documented)
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    declared.sort();
    assert_eq!(declared, DOCUMENTED);
}

/// The documented request of a route with one more parameter.
async fn with_parameter(app: &TestApp, route: &Route, user: &TestUser) -> TestReply {
    let request = examples::request(app, route, user).await.query("groupby", "model");
    let request = match route.access {
        Access::StaffForPathUser | Access::Staff | Access::Admin => request.service(),
        _ => request.by(user),
    };
    request.await
}

#[tokio::test]
async fn unknown_parameters_are_refused_beyond_the_documents_and_ignored_within() {
    let (app, user) = TestApp::with_user(&[]).await;
    let below_v1 = |route: &&Route| route.path.starts_with("/api/v1/");
    for route in examples::routes().filter(below_v1) {
        let reply = with_parameter(&app, route, &user).await;
        let name = format!("{} {}", route.method, route.path);
        if route.origin == Origin::Documented {
            assert_eq!(reply.status, 200, "{name}: {}", reply.text);
            continue;
        }
        assert_eq!(reply.status, 422, "{name}: {}", reply.text);
        let faults = reply.json()["detail"].clone();
        assert_eq!(faults.list().len(), 1, "{name}: {faults}");
        faults.has(json!({"0.type": "extra_forbidden", "0.loc": ["query", "groupby"], "0.input": "model"}));
    }
}

#[tokio::test]
async fn the_nearest_known_parameter_is_named_or_all_of_them() {
    let (app, user) = TestApp::with_user(&[]).await;
    let query = "metric=cost&groupby=model&bucket=2d";
    let refused = app.get(&format!("usage/timeseries?{query}")).by(&user).expect(422).await.json();
    let faults: Vec<(&Value, &str)> =
        refused["detail"].list().iter().map(|fault| (&fault["loc"][1], fault["msg"].text())).collect();
    assert_eq!(faults.len(), 3, "every fault is listed: {faults:?}");
    for (name, nearest) in [("metric", "'metrics'"), ("groupby", "'group_by'"), ("bucket", "'1d'")] {
        let (_, msg) = faults.iter().find(|(loc, _)| **loc == name).unwrap();
        assert!(msg.contains(nearest), "{name}: {msg}");
    }
    // One without likeness gets the list of those that exist.
    let fault = app.get("usage/export?colour=red").by(&user).fault("query.colour").await;
    let msg = fault["msg"].text();
    assert!(!msg.contains("nearest"), "{msg}");
    for known in ["format", "start_date", "end_date"] {
        assert!(msg.contains(&format!("'{known}'")), "{msg}");
    }
}

/// Two references that differ only in such bytes would be one.
#[tokio::test]
async fn bytes_of_a_query_that_are_no_text_are_refused() {
    let (app, user) = TestApp::with_user(&[]).await;
    let base = "/api/v1/users/auth0%7Ca";
    let session = examples::session_of(&app, &user).await;
    let recharge = format!("{base}/credits/recharge?amount=5&reference_id=pay");
    let message = format!("/api/v1/sessions/{session}/messages?role=user&content=a");
    let list = format!("{base}/usage?event_type=a");
    for bytes in ["%ff", "%fe", "%B6%A9%B5%A5", "%ed%a0%80", "x%C3"] {
        for (method, path, name) in
            [("POST", &recharge, "reference_id"), ("POST", &message, "content"), ("GET", &list, "event_type")]
        {
            let refused = app.request(method.parse().unwrap(), &format!("{path}{bytes}")).service().await;
            let refused = refused.expect(422).json();
            let faults = refused["detail"].list();
            assert_eq!(faults.len(), 1, "{refused}");
            refused["detail"].has(json!({"0.type": "value_error", "0.loc": ["query", name]}));
            assert!(faults[0]["msg"].text().contains("UTF-8"), "{refused}");
        }
    }
    // Parameters that nothing reads are ignored, and other escapes mean what they meant.
    let path = format!("{base}/credits/recharge?amount=5&%ff=1&utm=%ff&reference_id=%E8%AE%A2+%2B%20a%zz");
    let done = app.post(&path).service().ok().await;
    assert_eq!(done["data"]["reference_id"], "订 + a%zz");
    let other = format!("{base}/usage/export?%ff=1");
    let refused = app.get(&other).by(&user).expect(422).await.json();
    assert_eq!(refused["detail"][0]["type"], "extra_forbidden", "{refused}");
}

/// Bytes beyond ASCII in what names something: refused, and never replaced.
#[tokio::test]
async fn bytes_of_headers_and_paths_that_are_no_text_name_nothing() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let consume = "POST /api/v1/users/auth0%7Ca/credits/consume HTTP/1.1";
    let key = format!("X-API-Key: {SERVICE_KEY}\r\n");
    for (line, headers, status) in [
        (consume, format!("{key}Idempotency-Key: a\u{ff}\r\n"), 422),
        ("GET /api/v1/users/me HTTP/1.1", format!("{key}X-User-Id: auth0|a\u{ff}\r\n"), 422),
        (consume, format!("X-API-Key: {SERVICE_KEY}\u{ff}\r\n"), 401),
        ("GET /api/v1/users/auth0%7Ca%ff/credits/balance HTTP/1.1", key.clone(), 422),
        ("GET /api/v1/sessions/%ff/messages HTTP/1.1", key.clone(), 404),
    ] {
        let body = "{\"amount\":1}";
        let request = format!(
            "{line}\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(&app, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{line}: {answer}");
    }
}

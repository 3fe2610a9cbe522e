//! Query parameters that a route does not have.

use gateway::http::route::{Access, Origin, Route};
use serde_json::{Value, json};
use testkit::{TestApp, TestReply, TestUser};

use crate::examples;

/// The routes of the documents, by HTTP contract 16.
const DOCUMENTED: [&str; 22] = [
    "DELETE /api/v1/sessions/{session_id}",
    "GET /api/v1/sessions/{session_id}/messages",
    "GET /api/v1/subscriptions/plans",
    "GET /api/v1/users/me",
    "GET /api/v1/users/{user_id}/credits/balance",
    "GET /api/v1/users/{user_id}/credits/transactions",
    "GET /api/v1/users/{user_id}/sessions",
    "GET /api/v1/users/{user_id}/usage",
    "GET /api/v1/users/{user_id}/usage/stats",
    "GET /docs",
    "GET /health",
    "GET /metrics",
    "GET /redoc",
    "POST /api/v1/sessions/{session_id}/messages",
    "POST /api/v1/usage/batch",
    "POST /api/v1/users/ensure",
    "POST /api/v1/users/{user_id}/credits/consume",
    "POST /api/v1/users/{user_id}/credits/recharge",
    "POST /api/v1/users/{user_id}/sessions",
    "POST /api/v1/users/{user_id}/usage",
    "POST /auth/dev-token",
    "PUT /api/v1/sessions/{session_id}/status",
];

#[test]
fn the_documented_routes_are_declared_as_such() {
    let mut declared: Vec<String> = examples::routes()
        .iter()
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
        _ => request.token(&user.token),
    };
    request.send().await
}

#[tokio::test]
async fn unknown_parameters_are_refused_beyond_the_documents_and_ignored_within() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let below_v1 = |route: &&Route| route.path.starts_with("/api/v1/");
    for route in examples::routes().iter().filter(below_v1) {
        let reply = with_parameter(&app, route, &user).await;
        let name = format!("{} {}", route.method, route.path);
        if route.origin == Origin::Documented {
            assert_eq!(reply.status, 200, "{name}: {}", reply.text);
            continue;
        }
        assert_eq!(reply.status, 422, "{name}: {}", reply.text);
        let faults = reply.json()["detail"].clone();
        assert_eq!(faults.as_array().unwrap().len(), 1, "{name}: {faults}");
        assert_eq!(faults[0]["type"], "extra_forbidden", "{name}");
        assert_eq!(
            (&faults[0]["loc"], &faults[0]["input"]),
            (&json!(["query", "groupby"]), &json!("model")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_nearest_known_parameter_is_named() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = "/api/v1/users/auth0%7Ca/usage/timeseries?metric=cost&groupby=model&bucket=2d";
    let refused = app.get(path).token(&user.token).send().await.expect(422).json();
    let faults: Vec<(&Value, &str)> = refused["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (&fault["loc"][1], fault["msg"].as_str().unwrap()))
        .collect();
    assert_eq!(faults.len(), 3, "every fault is listed: {faults:?}");
    for (name, nearest) in [("metric", "'metrics'"), ("groupby", "'group_by'"), ("bucket", "'1d'")] {
        let (_, msg) = faults.iter().find(|(loc, _)| **loc == name).unwrap();
        assert!(msg.contains(nearest), "{name}: {msg}");
    }
}

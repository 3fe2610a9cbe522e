//! The examples of the OpenAPI document as requests: what is documented is what is sent.

use std::sync::LazyLock;

use gateway::http::{openapi_json, route::Route, routes::table};
use serde_json::Map;

use crate::{own_logins, prelude::*};

/// The documentation of a route.
pub fn operation(route: &Route) -> Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(&openapi_json()).unwrap());
    DOCUMENT["paths"][route.path][route.method.as_str().to_ascii_lowercase()].clone()
}

/// The documented success body of a route, if it is JSON.
pub fn success_example(route: &Route) -> Option<Value> {
    let responses = &operation(route)["responses"];
    let success = responses.get("200").unwrap_or(&responses["202"]);
    success["content"]["application/json"].get("example").cloned()
}

/// Routes whose feature is not configured in most tests; tests of their own assert the documented answer.
pub const UNCONFIGURED: [&str; 8] = [
    "cancel_reply",
    "confirm_email",
    "forgot_password",
    "reset_password",
    "send_confirmation",
    "send_message",
    "stream_reply",
    "wechat_login",
];

/// Asserts that an answer has the documented shape.
pub fn assert_documented(operation: &str, answer: &Value) {
    let route = routes().find(|route| route.operation == operation).unwrap();
    assert_same_shape(operation, &success_example(route).unwrap(), answer);
}

/// A session of `owner`, made through the service.
pub async fn session_of(app: &TestApp, owner: &TestUser) -> String {
    let path = format!("/api/v1/users/{}/sessions", owner.id);
    let reply = app.post(&path).service().expect(200).await;
    reply.json()["session_id"].text().to_owned()
}

/// The id of nothing.
const NOTHING: &str = "00000000-0000-4000-8000-000000000000";

/// A hold of `owner`, made by themselves.
async fn hold_of(app: &TestApp, owner: &TestUser) -> String {
    let path = format!("/api/v1/users/{}/credits/holds", owner.id);
    app.post(&path).by(owner).json(json!({"amount": 70})).data().await["hold_id"].text().to_owned()
}

/// A charge of `owner`, made through the service.
async fn charge_of(app: &TestApp, owner: &TestUser) -> String {
    let path = format!("/api/v1/users/{}/credits/consume", owner.id);
    app.post(&path).service().json(json!({"amount": 25.5})).data().await["transaction_id"].text().to_owned()
}

/// A usage record of `owner`, made through the service.
pub async fn record_of(app: &TestApp, owner: &TestUser) -> i64 {
    let path = format!("/api/v1/users/{}/usage", owner.id);
    let reply = app
        .post(&path)
        .service()
        .json(json!({"endpoint": "/x", "event_type": "ai_chat", "credits_charged": 5.5}))
        .expect(200)
        .await;
    reply.json()["data"]["id"].as_i64().unwrap()
}

/// An API key, made by an administrator: its id and its text.
pub async fn api_key(app: &TestApp, scope: &str) -> (String, String) {
    let body = json!({"name": scope, "scopes": [scope]});
    let key = app.post("/api/v1/api-keys").service().json(body).data().await;
    (key["key_id"].text().to_owned(), key["key"].text().to_owned())
}

/// The documented request of a route, on things of `owner`: path, query and body as in the examples.
pub async fn request(app: &TestApp, route: &Route, owner: &TestUser) -> TestRequest {
    let mut things = Things::default();
    if route.path.contains("{session_id}") {
        things.session_id = session_of(app, owner).await;
    }
    if route.path.contains("{hold_id}") {
        things.hold_id = hold_of(app, owner).await;
    }
    if route.path.contains("/usage/{id}/") {
        things.record_id = record_of(app, owner).await;
    }
    if route.path.contains("{key_id}") {
        things.key_id = api_key(app, "read").await.0;
    }
    if route.operation == "refresh_tokens" {
        things.refresh_token = own_logins::open(app, owner.id.as_str()).await.refresh_token;
    }
    if route.operation == "refund_charge" {
        things.transaction_id = charge_of(app, owner).await;
    }
    match route.operation {
        "get_file_info" | "delete_file" | "download_file" | "get_file_bytes" => {
            let file = file_of(app, owner).await;
            things.file_path = file["file_path"].text().to_owned();
            things.link = file["download_url"].text().to_owned();
        }
        "complete_upload" | "put_upload_bytes" => {
            let upload = upload_of(app, owner).await;
            things.upload_id = upload["upload_id"].text().to_owned();
            things.link = upload["upload_url"].text().to_owned();
            app.put(app.path_of(&things.link)).body(TEXT).expect(200).await;
        }
        _ => {}
    }
    if route.operation == "email_login" {
        let body = operation(route)["requestBody"]["content"]["application/json"]["example"].clone();
        app.post("/api/auth/register").json(body).await;
    }
    request_on(app, route, owner, &things)
}

/// What a request is about, beside its user.
#[derive(Debug, Default)]
pub struct Things {
    pub session_id: String,
    pub hold_id: String,
    pub transaction_id: String,
    pub record_id: i64,
    pub key_id: String,
    pub refresh_token: String,
    pub file_path: String,
    pub upload_id: String,
    /// A signed link to the file or the upload.
    pub link: String,
}

impl Things {
    /// A session, and nothing else.
    pub fn session(session_id: String) -> Self {
        Self { session_id, ..Self::default() }
    }
}

/// As [`request`], on a session that exists already.
pub fn request_on(app: &TestApp, route: &Route, owner: &TestUser, things: &Things) -> TestRequest {
    let operation = operation(route);
    let path = route
        .path
        .replace("{user_id}", &owner.id.to_string().replace('|', "%7C"))
        .replace("{session_id}", &things.session_id)
        .replace("{message_id}", NOTHING)
        .replace("{hold_id}", if things.hold_id.is_empty() { NOTHING } else { &things.hold_id })
        .replace("{key_id}", if things.key_id.is_empty() { NOTHING } else { &things.key_id })
        .replace("{upload_id}", if things.upload_id.is_empty() { NOTHING } else { &things.upload_id })
        .replace("{file_id}", NOTHING)
        .replace("{id}", &things.record_id.to_string())
        .replace("{file}", "docs.js");
    let body = operation["requestBody"]["content"]["application/json"]["example"].clone();
    let mut body = named(body, owner);
    if !things.transaction_id.is_empty() {
        body["transaction_id"] = json!(things.transaction_id);
    }
    if !things.refresh_token.is_empty() {
        body["refresh_token"] = json!(things.refresh_token);
    }
    let query: Vec<String> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "query" && parameter.get("example").is_some())
        .map(|parameter| {
            let text = match &parameter["example"] {
                Value::String(_) if parameter["name"] == "file_path" && !things.file_path.is_empty() => {
                    encoded(&things.file_path)
                }
                Value::String(text) => text.replace('|', "%7C"),
                other => other.to_string(),
            };
            format!("{}={text}", parameter["name"].text())
        })
        .collect();
    let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    let path = if ["get_file_bytes", "put_upload_bytes"].contains(&route.operation) && !things.link.is_empty()
    {
        app.path_of(&things.link).to_owned()
    } else {
        path
    };
    let request = app.request(route.method.as_str().parse().unwrap(), &path).header("Accept-Language", "en");
    match route.operation {
        "upload_file" => request.file("document.txt", "text/plain", TEXT),
        "put_upload_bytes" => request.body(TEXT),
        "download_file" => request.header("Accept", "application/json"),
        _ if body.is_null() => request,
        _ => request.json(&body),
    }
}

/// The content of the files of examples.
const TEXT: &[u8] = b"a file of the examples";

/// A file of `owner`, uploaded through the service.
pub async fn file_of(app: &TestApp, owner: &TestUser) -> Value {
    let path = format!("/api/v1/users/{}/files", owner.id);
    app.post(&format!("{path}/upload")).service().file("document.txt", "text/plain", TEXT).expect(200).await;
    app.get(&path).service().rows().await.remove(0)
}

/// A direct upload that was offered to `owner`.
async fn upload_of(app: &TestApp, owner: &TestUser) -> Value {
    let path = format!("/api/v1/users/{}/files/uploads", owner.id);
    let body = json!({"filename": "document.txt", "file_size": TEXT.len(), "content_type": "text/plain"});
    app.post(&path).service().json(body).data().await
}

/// A text as the value of a query parameter.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The example with the owner in place of the documented user.
fn named(body: Value, owner: &TestUser) -> Value {
    let Value::Object(mut body) = body else {
        return body;
    };
    if let Some(first) = body.get_mut("records").and_then(|records| records.get_mut(0)) {
        first["user_id"] = json!(owner.id);
    }
    if let Some(named) = body.get_mut("auth0_id") {
        *named = json!(owner.id);
        let local: String = owner.id.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
        body.insert("email".to_owned(), json!(format!("{local}@example.com")));
    }
    Value::Object(body)
}

/// Asserts that `actual` has the members of `example`, with values of the same types. Free-form members may differ.
pub fn assert_same_shape(place: &str, example: &Value, actual: &Value) {
    match (example, actual) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(example), Value::Object(actual)) => assert_same_members(place, example, actual),
        (Value::Array(example), Value::Array(actual)) => {
            for (example, actual) in example.iter().zip(actual) {
                assert_same_shape(&format!("{place}[]"), example, actual);
            }
        }
        (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_)) => {}
        _ => panic!("{place}: documented {example}, answered {actual}"),
    }
}

fn assert_same_members(place: &str, example: &Map<String, Value>, actual: &Map<String, Value>) {
    let free = ["metadata", "conversation_data", "billing_metadata", "request_data", "response_data"];
    let by = ["by_event_type", "by_model", "by_provider"];
    for (name, value) in example {
        let place = format!("{place}.{name}");
        let found = actual.get(name).unwrap_or_else(|| panic!("{place} is documented and missing"));
        if !free.contains(&name.as_str()) && !by.contains(&name.as_str()) {
            assert_same_shape(&place, value, found);
        }
    }
    for name in actual.keys() {
        assert!(example.contains_key(name), "{place}.{name} is answered and not documented");
    }
}

/// Every route. Last the one after which the user is gone.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    let is_last = |route: &&Route| route.operation == "erase_user";
    table().iter().filter(move |route| !is_last(route)).chain(table().iter().filter(is_last))
}

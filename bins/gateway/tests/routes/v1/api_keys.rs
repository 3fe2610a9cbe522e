//! `/api/v1/api-keys`

use crate::prelude::*;

const KEYS: &str = "/api/v1/api-keys";

/// Makes a key and returns it with its text.
async fn made(app: &TestApp, body: Value) -> (Value, String) {
    let key = app.post(KEYS).service().json(body).data().await;
    let text = key["key"].text().to_owned();
    (key, text)
}

fn revoke(app: &TestApp, key: &Value) -> TestRequest {
    app.delete(&format!("{KEYS}/{}", key["key_id"].text())).service()
}

#[tokio::test]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let (key, text) = made(&app, json!({"name": "billing", "scopes": ["service", "read", "service"]})).await;
    key.has(json!({
        "name": "billing", "scopes": ["read", "service"], "prefix": &text[..13], "expires_at": null,
        "created_at": kernel::rfc3339(testkit::instant()), "last_used_at": null, "revoked_at": null,
    }));
    assert!(text.starts_with("usk_live_"));
    app.clock().advance(Duration::SECOND);
    made(&app, json!({"name": "second", "scopes": ["admin"], "expires_at": "2026-01-16"})).await;
    let reply = app.get(KEYS).service().expect(200).await;
    assert_eq!(reply.json()["message"], "Retrieved 2 API keys");
    assert!(!reply.text.contains(&text[13..]) && !reply.text.contains("\"key\""), "{}", reply.text);
    assert_eq!(reply.rows().iter().map(|key| key["name"].text()).collect::<Vec<_>>(), ["second", "billing"]);
    let mut listed = key.clone();
    listed.as_object_mut().unwrap().remove("key");
    assert_eq!(reply.rows()[1], listed);
    let pages = app.get(&format!("{KEYS}?limit=1")).service().expect(200).await;
    let next = format!("{KEYS}?limit=1&cursor={}", pages.header("x-next-cursor"));
    assert_eq!(app.get(&next).service().rows().await, [listed]);

    let told = app.get("/api/v1/audit-events").service().rows().await;
    told[1].has(json!({"action": "api_key.created", "actor": "bootstrap",
        "details": {"key_id": key["key_id"], "name": "billing", "scopes": ["read", "service"]}}));
}

#[tokio::test]
async fn what_cannot_be_a_key_is_refused_field_by_field() {
    let app = TestApp::start().await;
    let key = |member: &str, value: Value| {
        let mut body = json!({"name": "n", "scopes": ["read"]});
        body[member] = value;
        app.post(KEYS).service().json(body)
    };
    for (member, value, kind) in [
        ("name", json!(""), "string_too_short"),
        ("name", json!("x".repeat(256)), "string_too_long"),
        ("scopes", json!([]), "too_short"),
        ("scopes", json!("read"), "list_type"),
        ("scopes", json!(["all"]), "enum"),
        ("scopes", json!([1]), "enum"),
        ("scopes", json!(vec!["read"; 17]), "too_long"),
        ("expires_at", json!(kernel::rfc3339(testkit::instant())), "value_error"),
        ("expires_at", json!("soon"), "datetime_parsing"),
        ("rate_limit_per_second", json!(0), "greater_than_equal"),
        ("rate_limit_per_second", json!(1.5), "int_type"),
    ] {
        let fault = key(member, value).fault(&format!("body.{member}")).await;
        assert_eq!(fault["type"], kind, "{fault}");
    }
    app.post(KEYS).service().json(json!({"scopes": ["read"]})).fault("body.name").await;
    app.post(KEYS).service().json(json!({"name": "n"})).fault("body.scopes").await;
    assert_eq!(app.get(KEYS).service().rows().await, [""; 0]);
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_the_next_request_on_and_a_repeat_changes_nothing() {
    let (app, _user) = TestApp::with_user(&[("ENVIRONMENT", "production")]).await;
    let (key, text) = made(&app, json!({"name": "a", "scopes": ["read"]})).await;
    let (_, other) = made(&app, json!({"name": "b", "scopes": ["read"]})).await;
    let balance = |text: &str| app.get("credits/balance").token(text);
    balance(&text).expect(200).await;
    app.get("/metrics").token(&text).expect(200).await;
    for _ in 0..2 {
        let revoked = revoke(&app, &key).data().await;
        assert_eq!(revoked, json!({"key_id": key["key_id"], "revoked": true}));
    }
    let refused = balance(&text).refused(401, "AuthenticationException").await;
    assert_eq!(refused.json()["detail"], "Could not validate credentials");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    app.get("/metrics").token(&text).refused(401, "AuthenticationException").await;
    // Nothing is said of its scope any more.
    let consume = app.post("credits/consume").token(&text).json(json!({"amount": 1}));
    consume.refused(401, "AuthenticationException").await;
    balance(&other).expect(200).await;
    let told = app.get("/api/v1/audit-events?action=api_key.revoked").service().rows().await;
    assert_eq!(told.len(), 1, "{told:?}");
    for unknown in ["00000000-0000-4000-8000-000000000000", "x"] {
        let path = format!("{KEYS}/{unknown}");
        let refused = app.delete(&path).service().refused(404, "ApiKeyNotFoundException").await;
        assert_eq!(refused.json()["message"], format!("API key not found: {unknown}"));
    }
}

#[tokio::test]
async fn what_only_looks_like_a_key_is_401_and_never_a_token() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let (_, text) = made(&app, json!({"name": "a", "scopes": ["admin"]})).await;
    let balance = app.get("credits/balance").header("X-API-Key", &text);
    balance.expect(200).await;
    let last = if text.ends_with('A') { "Q" } else { "A" };
    for wrong in [
        format!("{}{last}", &text[..text.len() - 1]),
        text[..text.len() - 1].to_owned(),
        "usk_live_".to_owned(),
        "usk_live_a.b.c".to_owned(),
        format!("usk_live_{}", app.token("auth0|a")),
    ] {
        let refused = app.get("credits/balance").token(&wrong).refused(401, "AuthenticationException").await;
        assert_eq!(refused.json()["detail"], "Could not validate credentials", "{wrong}");
        assert!(!refused.text.contains(&wrong[4..]), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_key_expires_and_its_last_use_is_shown_to_the_hour() {
    let (app, _user) = TestApp::with_user(&[]).await;
    app.clock().advance(Duration::minutes(30));
    let expires_at = testkit::instant() + Duration::hours(3);
    let body = json!({"name": "a", "scopes": ["read"], "expires_at": kernel::rfc3339(expires_at)});
    let (_, text) = made(&app, body).await;
    let last_use = async || {
        while flows::last_use::run(app.db().pool(), &app.app().uses).await.unwrap() {}
        app.get(KEYS).service().rows().await[0]["last_used_at"].clone()
    };
    assert_eq!(last_use().await, Value::Null);
    app.get("credits/balance").token(&text).expect(200).await;
    assert_eq!(last_use().await, kernel::rfc3339(testkit::instant()));
    app.clock().advance(Duration::hours(2));
    app.get("credits/balance").token(&text).expect(200).await;
    assert_eq!(last_use().await, kernel::rfc3339(testkit::instant() + Duration::hours(2)));
    app.clock().advance(Duration::hours(1));
    app.get("credits/balance").token(&text).refused(401, "AuthenticationException").await;
}

#[tokio::test]
async fn a_key_has_its_own_rate_and_others_are_not_slowed() {
    let (app, _user) = TestApp::with_user(&[("RATE_LIMIT_ENABLED", "true")]).await;
    let (_, slow) = made(&app, json!({"name": "a", "scopes": ["read"], "rate_limit_per_second": 2})).await;
    let (_, free) = made(&app, json!({"name": "b", "scopes": ["read"]})).await;
    let balance = |text: &str| app.get("credits/balance").token(text);
    for _ in 0..4 {
        balance(&slow).expect(200).await;
        balance(&free).expect(200).await;
    }
    balance(&slow).refused(429, "RateLimitExceededException").await;
    balance(&free).expect(200).await;
    app.clock().advance(Duration::SECOND);
    balance(&slow).expect(200).await;
}

#[tokio::test]
async fn scopes_bound_what_a_key_may_do() {
    let (app, user) = TestApp::with_user(&[]).await;
    let key = async |scope: &str| made(&app, json!({"name": scope, "scopes": [scope]})).await.1;
    let (read, service, admin) = (key("read").await, key("service").await, key("admin").await);
    let consume = |text: &str| app.post("credits/consume").token(text).json(json!({"amount": 1}));
    let prices = |text: &str| app.get("/api/v1/audit-events").token(text);
    let needs = |reply: TestReply| reply.json()["error_details"]["required_scope"].clone();
    assert_eq!(needs(consume(&read).refused(403, "InsufficientScopeException").await), "service");
    consume(&service).expect(200).await;
    consume(&admin).expect(200).await;
    for text in [&read, &service] {
        assert_eq!(needs(prices(text).refused(403, "InsufficientScopeException").await), "admin");
    }
    prices(&admin).expect(200).await;
    // The actor of what a key does is the id of the key.
    app.post(KEYS).token(&admin).json(json!({"name": "n", "scopes": ["read"]})).expect(200).await;
    let told = app.get("/api/v1/audit-events?action=api_key.created").service().rows().await;
    assert!(told[0]["actor"].text().starts_with("key:"), "{told:?}");
    // The journal knows in which capacity they act.
    let entries = app.get("credits/transactions").by(&user).rows().await;
    assert_eq!(entries.len(), 3);
}

#[tokio::test]
async fn a_repeat_may_come_with_the_next_key() {
    let (app, _user) = TestApp::with_user(&[]).await;
    let spend = || {
        let request = app.post("/api/v1/users/auth0%7Ca/credits/consume").json(json!({"amount": 1}));
        request.header("Idempotency-Key", "order-7")
    };
    let first = spend().service().expect(200).await;
    for _ in 0..2 {
        let (_, next) = made(&app, json!({"name": "next", "scopes": ["service"]})).await;
        let repeat = spend().token(&next).expect(200).await;
        assert!(repeat.is_replayed());
        assert_eq!(repeat.text, first.text);
    }
}

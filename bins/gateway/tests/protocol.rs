//! What every answer has in common: headers, ids, methods, languages, limits, and errors from every layer.

use std::{sync::Arc, time::Duration};

use actix_web::{App, http::Method, test, web};
use gateway::http::{
    call::Call,
    dispatch::dispatch,
    doc::Doc,
    error::ApiError,
    reply::Reply,
    route::{Access, BodyRule, Route},
};
use serde_json::{Value, json};
use testkit::TestApp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::examples;

/// Sends bytes as they are and reads until the server closes.
async fn raw(app: &TestApp, request: &str) -> String {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the server did not close the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn assert_documented_error(text: &str) {
    let body: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    for member in [
        "success",
        "status",
        "message",
        "error_code",
        "error_details",
        "timestamp",
        "detail",
        "request_id",
    ] {
        assert!(body.get(member).is_some(), "{member} is missing: {text}");
    }
    assert_eq!(body["success"], false);
    assert!(body["error_details"]["operation"].is_string());
    assert!(body["error_details"]["timestamp"].is_string());
}

#[tokio::test]
async fn every_answer_carries_its_request_id() {
    let app = TestApp::start().await;
    let own = app.get("/livez").header("X-Request-Id", "my-id_1.2").send().await;
    assert_eq!(own.header("x-request-id"), "my-id_1.2");
    for unusable in ["", "with blank", &"x".repeat(65), "a/b"] {
        let made = app.get("/livez").header("X-Request-Id", unusable).send().await;
        assert_eq!(made.header("x-request-id").len(), 36, "{unusable:?}");
    }
    let refused = app
        .get("/nowhere")
        .header("X-Request-Id", "mine")
        .send()
        .await
        .expect(404);
    assert_eq!(refused.json()["request_id"], "mine");
    assert_eq!(refused.header("x-request-id"), "mine");
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told() {
    let app = TestApp::start().await;
    let unknown = app.get("/api/v1/sessions").send().await.expect(404);
    assert_documented_error(&unknown.text);
    assert_eq!(unknown.error_code(), "NotFoundException");
    for route in examples::routes() {
        let path = route.path.replace(['{', '}'], "");
        let wrong = app
            .request("PATCH".parse().unwrap(), &path)
            .send()
            .await
            .expect(405);
        assert_documented_error(&wrong.text);
        assert!(
            wrong.header("allow").contains(route.method.as_str()),
            "{path}: {}",
            wrong.header("allow")
        );
    }
    assert_eq!(app.get("/health/").send().await.status, 404);
}

#[tokio::test]
async fn head_works_wherever_get_does() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    for route in examples::routes()
        .iter()
        .filter(|route| route.method == Method::GET)
    {
        let session = examples::session_of(&app, &user).await;
        let path = route
            .path
            .replace("{user_id}", "auth0|a")
            .replace("{session_id}", &session);
        let path = path.replace("{file}", "docs.js");
        let reply = app
            .request("HEAD".parse().unwrap(), &path)
            .token(&user.token)
            .send()
            .await;
        assert_eq!((reply.status, reply.text.as_str()), (200, ""), "{path}");
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
    let encoded_slash = app
        .get("/api/v1/users/a%2Fb/credits/balance")
        .service()
        .send()
        .await;
    assert_eq!(encoded_slash.status, 422);
}

#[tokio::test]
async fn json_is_read_whatever_its_type_says() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = || {
        app.post("/api/v1/users/auth0%7Ca/credits/consume")
            .token(&user.token)
    };
    let form = consume()
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(r#"{"amount":1}"#);
    assert_eq!(form.send().await.status, 200);
    assert_eq!(consume().body(r#"{"amount":1}"#).send().await.status, 200);
    let multipart = consume()
        .header("Content-Type", "multipart/form-data; boundary=x")
        .body("--x--")
        .send()
        .await;
    assert_eq!(
        (multipart.status, multipart.error_code().as_str()),
        (415, "UnsupportedMediaTypeException")
    );
    let packed = consume()
        .header("Content-Encoding", "gzip")
        .body("x")
        .send()
        .await;
    assert_eq!(packed.status, 415);
}

#[tokio::test]
async fn unusable_bodies_are_422_with_their_place() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = |body: &str| {
        app.post("/api/v1/users/auth0%7Ca/credits/consume")
            .token(&user.token)
            .body(body.to_owned())
            .send()
    };
    for (body, kind) in [
        ("", "missing"),
        ("  ", "missing"),
        ("{}", "missing"),
        ("[]", "dict_type"),
        ("null", "dict_type"),
        ("{\"amount\":NaN}", "json_invalid"),
        ("{\"amount\":1,\"amount\":2}", "value_error"),
        ("{\"amount\":1", "json_invalid"),
        ("{\"amount\":1,\"metadata\":[]}", "dict_type"),
        ("{\"amount\":1,\"metadata\":{\"a\":\"\\u0000\"}}", "value_error"),
        ("{\"amount\":1,\"description\":\"a\\u0000b\"}", "value_error"),
    ] {
        let reply = consume(body).await;
        assert_eq!(reply.status, 422, "{body}: {}", reply.text);
        assert_documented_error(&reply.text);
        assert_eq!(reply.json()["detail"][0]["type"], kind, "{body}: {}", reply.text);
    }
    let several = consume(r#"{"amount":"x","reason":1,"usage_record_id":-1}"#).await;
    assert_eq!(
        several.json()["detail"].as_array().unwrap().len(),
        3,
        "{}",
        several.text
    );
    let balance = app
        .get("/api/v1/users/auth0%7Ca/credits/balance")
        .token(&user.token)
        .send()
        .await;
    assert_eq!(balance.json()["data"], 1000.0);
}

#[tokio::test]
async fn large_bodies_are_413_declared_or_not() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let large = format!(
        "{{\"amount\":1,\"description\":\"{}\"}}",
        "x".repeat(2 * 1024 * 1024)
    );
    let declared = app
        .post("/api/v1/users/auth0%7Ca/credits/consume")
        .token(&user.token)
        .body(large.clone());
    let reply = declared.send().await.expect(413);
    assert_documented_error(&reply.text);
    assert_eq!(reply.json()["error_details"]["limit"], 2_097_152);
    let head = format!(
        "POST /api/v1/users/auth0%7Ca/credits/consume HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\nAuthorization: Bearer {}\r\n\r\n{:x}\r\n",
        user.token,
        large.len()
    );
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let _refused_midway = stream.write_all(large.as_bytes()).await.is_err();
    let mut answer = [0_u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_client_that_never_finishes_is_let_go() {
    let app = TestApp::start_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let user = app.user("auth0|a").await;
    let head = raw(&app, "GET /livez HTTP/1.1\r\nHost: x\r\n").await;
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    let request = format!(
        "POST /api/v1/users/auth0%7Ca/credits/consume HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\
         Authorization: Bearer {}\r\n\r\n{{\"amo",
        user.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0_u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
}

#[tokio::test]
async fn messages_follow_accept_language() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = "/api/v1/users/auth0%7Ca/credits/balance";
    let chinese = app
        .get(path)
        .token(&user.token)
        .header("Accept-Language", "zh-CN")
        .send()
        .await;
    assert_eq!(chinese.json()["message"], "积分余额查询成功");
    assert_eq!(chinese.header("content-language"), "zh");
    assert!(chinese.header("vary").contains("Accept-Language"));
    let refused = app
        .get(path)
        .header("Accept-Language", "zh")
        .send()
        .await
        .expect(401);
    assert_eq!(refused.json()["message"], "未提供认证信息");
    assert_eq!(
        refused.json()["detail"],
        "Not authenticated",
        "detail stays English on /api/v1"
    );
    let chat = app.get("/api/user/profile").send().await.expect(404);
    assert_eq!(chat.header("content-language"), "zh");
    assert_eq!(
        app.get(path)
            .token(&user.token)
            .send()
            .await
            .header("content-language"),
        "en"
    );
}

#[tokio::test]
async fn browsers_of_allowed_origins_may_call() {
    let app = TestApp::start().await;
    let preflight = |origin: &str, method: &str| {
        app.request("OPTIONS".parse().unwrap(), "/api/v1/users/me")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method)
            .header(
                "Access-Control-Request-Headers",
                "authorization,content-type,idempotency-key,x-user-id",
            )
            .send()
    };
    let allowed = preflight("http://localhost:3000", "PATCH").await;
    assert_eq!(allowed.status, 200);
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        "http://localhost:3000"
    );
    assert_eq!(allowed.header("access-control-allow-credentials"), "true");
    assert_eq!(allowed.header("access-control-max-age"), "600");
    let foreign = preflight("https://evil.example.com", "GET").await;
    assert_eq!(foreign.header("access-control-allow-origin"), "");
    assert_documented_error(&foreign.text);
    let refused = app
        .get("/api/v1/users/me")
        .header("Origin", "http://localhost:3000")
        .send()
        .await
        .expect(401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "http://localhost:3000"
    );
    assert!(
        refused
            .header("access-control-expose-headers")
            .contains("x-request-id")
    );
}

#[tokio::test]
async fn answers_are_compressed_for_who_takes_it() {
    let app = TestApp::start().await;
    let packed = app
        .get("/openapi.json")
        .header("Accept-Encoding", "gzip")
        .send()
        .await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(
        app.get("/openapi.json").send().await.header("content-encoding"),
        ""
    );
    let asset = app
        .get("/docs/assets/swagger-ui.css")
        .header("Accept-Encoding", "gzip")
        .send()
        .await;
    assert_eq!(asset.header("content-encoding"), "gzip");
    let plain = app.get("/docs/assets/swagger-ui.css").send().await;
    assert!(
        plain.text.contains(".swagger-ui"),
        "an embedded file is unpacked for clients without gzip"
    );
}

#[tokio::test]
async fn documentation_pages_load_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    for page in ["/docs", "/redoc"] {
        let reply = app.get(page).send().await.expect(200);
        assert!(
            reply
                .header("content-security-policy")
                .contains("default-src 'self'")
        );
        assert!(
            !reply.text.contains("http://") && !reply.text.contains("https://"),
            "{}",
            reply.text
        );
        for part in reply
            .text
            .split(['"', '\''])
            .filter(|part| part.starts_with("/docs/assets/"))
        {
            assert_eq!(app.get(part).send().await.status, 200, "{part}");
        }
    }
    assert_eq!(app.get("/docs/assets/nothing.js").send().await.status, 404);
    assert_eq!(app.get("/docs/assets/..%2Fdocs.html").send().await.status, 404);
}

#[tokio::test]
async fn a_panic_and_a_stuck_request_are_answered() {
    static PANICS: Route = failing(|_call: Call| Box::pin(async { panic!("planted by a test") }));
    static HANGS: Route = failing(|_call: Call| Box::pin(std::future::pending::<Result<Reply, ApiError>>()));
    let service = TestApp::start_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let app = Arc::clone(service.app());
    let (first, second) = (Arc::clone(&app), app);
    let actix = test::init_service(
        App::new()
            .route(
                "/panics",
                web::get()
                    .to(move |request, payload| dispatch(Arc::clone(&first), &PANICS, request, payload)),
            )
            .route(
                "/hangs",
                web::get()
                    .to(move |request, payload| dispatch(Arc::clone(&second), &HANGS, request, payload)),
            ),
    )
    .await;
    for (path, status, code) in [
        ("/panics", 500, "InternalServerException"),
        ("/hangs", 503, "ServiceUnavailableException"),
    ] {
        let response = test::call_service(&actix, test::TestRequest::get().uri(path).to_request()).await;
        assert_eq!(response.status(), status);
        let body: Value = test::read_body_json(response).await;
        assert_documented_error(&body.to_string());
        assert_eq!(body["error_code"], code);
        assert!(
            !body.to_string().contains("planted"),
            "nothing internal leaves the process"
        );
    }
}

const fn failing(handler: gateway::http::route::Handler) -> Route {
    Route {
        method: Method::GET,
        path: "/failing",
        access: Access::Anyone,
        body: BodyRule::Ignored,
        operation: "failing",
        doc: || Doc::new("system", "Fails"),
        handler,
    }
}

#[tokio::test]
async fn without_its_database_the_service_says_so_and_recovers_nothing_by_magic() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    app.app().pool.close();
    let health = app.get("/health").send().await.expect(503).json();
    assert_eq!(
        (&health["status"], &health["uptime"]),
        (&json!("unhealthy"), &json!("degraded"))
    );
    assert_eq!(health["services"]["data"]["repository"], "unavailable");
    let ready = app.get("/readyz").send().await.expect(503).json();
    assert_eq!(ready["checks"]["database"], "failed");
    assert_eq!(app.get("/livez").send().await.status, 200);
    let refused = app
        .post("/api/v1/users/auth0%7Ca/credits/consume")
        .token(&user.token)
        .body(r#"{"amount":1}"#);
    let refused = refused.send().await.expect(503);
    assert_eq!(refused.error_code(), "ServiceUnavailableException");
    assert_eq!(refused.header("retry-after"), "1");
}

#[tokio::test]
async fn a_service_that_shuts_down_is_not_ready() {
    let app = TestApp::start().await;
    assert_eq!(
        app.get("/readyz").send().await.expect(200).json()["status"],
        "ready"
    );
    app.app().begin_shutdown();
    assert_eq!(
        app.get("/readyz").send().await.expect(503).json()["status"],
        "not_ready"
    );
    assert_eq!(app.get("/livez").send().await.status, 200);
}

#[tokio::test]
async fn metrics_name_routes_by_template_and_no_user() {
    let app = TestApp::start().await;
    let user = app.user("auth0|measured").await;
    app.get("/api/v1/users/auth0%7Cmeasured/credits/balance")
        .token(&user.token)
        .send()
        .await
        .expect(200);
    app.get("/nowhere/auth0%7Cmeasured").send().await.expect(404);
    let text = app.get("/metrics").send().await.expect(200).text;
    assert!(text.contains("user_service_http_requests_total{"), "{text}");
    assert!(text.contains(r#"route="/api/v1/users/{user_id}/credits/balance""#));
    assert!(text.contains(r#"route="unmatched""#));
    assert!(text.contains("user_service_http_request_duration_seconds_bucket"));
    assert!(text.contains("user_service_committer_batch_size"));
    assert!(!text.contains("measured"), "no label holds a user id");
}

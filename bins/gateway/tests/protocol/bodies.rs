//! What is done with request bodies: types, shapes, sizes.

use testkit::{SERVICE_KEY, TestApp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{PATIENCE, assert_documented_error};

#[tokio::test]
async fn json_is_read_whatever_its_type_says() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = || app.post("/api/v1/users/auth0%7Ca/credits/consume").token(&user.token);
    let form = consume().header("Content-Type", "application/x-www-form-urlencoded").body(r#"{"amount":1}"#);
    assert_eq!(form.send().await.status, 200);
    assert_eq!(consume().body(r#"{"amount":1}"#).send().await.status, 200);
    let multipart =
        consume().header("Content-Type", "multipart/form-data; boundary=x").body("--x--").send().await;
    assert_eq!((multipart.status, multipart.error_code().as_str()), (415, "UnsupportedMediaTypeException"));
    let packed = consume().header("Content-Encoding", "gzip").body("x").send().await;
    assert_eq!(packed.status, 415);
}

#[tokio::test]
async fn unusable_bodies_are_422_with_their_place() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = |body: &str| {
        app.post("/api/v1/users/auth0%7Ca/credits/consume").token(&user.token).body(body.to_owned()).send()
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
    assert_eq!(several.json()["detail"].as_array().unwrap().len(), 3, "{}", several.text);
    let balance = app.get("/api/v1/users/auth0%7Ca/credits/balance").token(&user.token).send().await;
    assert_eq!(balance.json()["data"], 1000.0);
}

#[tokio::test]
async fn large_bodies_are_413_declared_or_not() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let large = format!("{{\"amount\":1,\"description\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let declared = app.post("/api/v1/users/auth0%7Ca/credits/consume").token(&user.token).body(large.clone());
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
async fn a_wrong_body_is_not_echoed_whole() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = |body: String| {
        app.post("/api/v1/users/auth0%7Ca/credits/consume").token(&user.token).body(body).send()
    };
    let list = consume(format!("[{}1]", "1,".repeat(500_000))).await.expect(422);
    assert!(list.text.len() < 2_000, "{} bytes", list.text.len());
    let field = consume(format!("{{\"amount\":\"{}\"}}", "x".repeat(500_000))).await.expect(422);
    assert!(field.text.len() < 2_000, "{} bytes", field.text.len());
}

#[tokio::test]
async fn a_number_beyond_all_bounds_is_told_as_too_large() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let consume = app.post("/api/v1/users/auth0%7Ca/credits/consume").token(&user.token);
    let reply = consume.body(r#"{"amount":1e400}"#).send().await.expect(422);
    assert_eq!(reply.json()["detail"][0]["type"], "less_than_equal", "{}", reply.text);
}

/// Both with the head and later, also while the status of the caller is read.
#[tokio::test]
async fn a_malformed_chunk_is_answered_whenever_it_comes() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let user = format!("Authorization: Bearer {}", user.token);
    let service = format!("X-API-Key: {SERVICE_KEY}");
    let keyed = format!("{service}\r\nIdempotency-Key: k");
    for caller in [&user, &service, &keyed] {
        for (path, begun) in
            [("credits/consume", ""), ("credits/consume", "5\r\n{\"amo\r\n"), ("credits/balance", "")]
        {
            let method = if path == "credits/balance" { "GET" } else { "POST" };
            for is_later in [false, true] {
                let head = format!(
                    "{method} /api/v1/users/auth0%7Ca/{path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{caller}\r\n\r\n{begun}"
                );
                let mut stream = TcpStream::connect(app.address()).await.unwrap();
                let malformed = "ZZ\r\n";
                if is_later {
                    stream.write_all(head.as_bytes()).await.unwrap();
                    // The head was read and answered by then, or the body is waited for.
                    app.get("/readyz").send().await;
                    stream.write_all(malformed.as_bytes()).await.unwrap();
                } else {
                    stream.write_all(format!("{head}{malformed}").as_bytes()).await.unwrap();
                }
                let mut answer = Vec::new();
                let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(read.is_ok(), "{path}, later: {is_later}: {answer}");
                let refused = answer.starts_with("HTTP/1.1 422") && answer.contains("The body broke off");
                // A body that a route does not read may come after its answer.
                let ignored = method == "GET" && answer.starts_with("HTTP/1.1 200");
                assert!(refused || ignored, "{caller:.9} {path}, later: {is_later}: {answer:?}");
            }
        }
    }
    let path = "/api/v1/users/auth0%7Ca/credits/balance";
    assert_eq!(app.get(path).service().send().await.expect(200).json()["data"], 1000.0);
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_is_skipped() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let path = "/api/v1/users/auth0%7Ca/credits/consume";
    let body = "\u{feff}{\"amount\": 1}";
    let consume = app.post(path).token(&user.token).body(body).send().await;
    consume.expect(200);
    let empty = app.post(path).token(&user.token).body("\u{feff}").send().await;
    assert_eq!(empty.expect(422).json()["detail"][0]["type"], "missing");
}

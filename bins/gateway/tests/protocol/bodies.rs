//! What is done with request bodies: types, shapes, sizes.

use super::assert_documented_error;
use crate::prelude::*;

#[tokio::test]
async fn json_is_read_whatever_its_type_says() {
    let (app, user) = TestApp::with_user(&[]).await;
    let consume = || app.post("credits/consume").by(&user);
    let form = consume().header("Content-Type", "application/x-www-form-urlencoded").body(r#"{"amount":1}"#);
    assert_eq!(form.await.status, 200);
    assert_eq!(consume().body(r#"{"amount":1}"#).await.status, 200);
    let multipart = consume().header("Content-Type", "multipart/form-data; boundary=x").body("--x--").await;
    assert_eq!((multipart.status, multipart.error_code().as_str()), (415, "UnsupportedMediaTypeException"));
    assert_eq!(consume().header("Content-Encoding", "gzip").body("x").await.status, 415);
}

#[tokio::test]
async fn unusable_bodies_are_422_with_their_place() {
    let (app, user) = TestApp::with_user(&[]).await;
    let consume = |body: &str| app.post("credits/consume").by(&user).body(body.to_owned());
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
        ("{\"amount\":1e400}", "less_than_equal"),
    ] {
        let reply = consume(body).await;
        assert_eq!(reply.status, 422, "{body}: {}", reply.text);
        assert_documented_error(&reply.text);
        assert_eq!(reply.json()["detail"][0]["type"], kind, "{body}: {}", reply.text);
    }
    let several = consume(r#"{"amount":"x","reason":1,"usage_record_id":-1}"#).await;
    assert_eq!(several.json()["detail"].list().len(), 3, "{}", several.text);
    assert_eq!(app.balance().await, 1000.0);
}

#[tokio::test]
async fn large_bodies_are_413_declared_or_not() {
    let (app, user) = TestApp::with_user(&[]).await;
    let large = format!("{{\"amount\":1,\"description\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let reply = app.post("credits/consume").by(&user).body(large.clone()).expect(413).await;
    assert_documented_error(&reply.text);
    assert_eq!(reply.json()["error_details"]["limit"], 2_097_152);
    let head = format!(
        "POST /api/v1/users/auth0%7Ca/credits/consume HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\nAuthorization: Bearer {}\r\n\r\n{:x}\r\n",
        user.token,
        large.len()
    );
    let mut stream = open(app.address(), head).await;
    let _refused_midway = stream.write_all(large.as_bytes()).await.is_err();
    let mut answer = [0_u8; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_wrong_body_is_not_echoed_whole() {
    let (app, user) = TestApp::with_user(&[]).await;
    let consume = |body: String| app.post("credits/consume").by(&user).body(body);
    let list = consume(format!("[{}1]", "1,".repeat(500_000))).expect(422).await;
    assert!(list.text.len() < 2_000, "{} bytes", list.text.len());
    let field = consume(format!("{{\"amount\":\"{}\"}}", "x".repeat(500_000))).expect(422).await;
    assert!(field.text.len() < 2_000, "{} bytes", field.text.len());
}

/// Both with the head and later, also while the status of the caller is read.
#[tokio::test]
async fn a_malformed_chunk_is_answered_whenever_it_comes() {
    let (app, user) = TestApp::with_user(&[]).await;
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
                let mut stream = open(app.address(), head + if is_later { "" } else { "ZZ\r\n" }).await;
                if is_later {
                    // The head was read and answered by then, or the body is waited for.
                    app.get("/readyz").await;
                    stream.write_all(b"ZZ\r\n").await.unwrap();
                }
                let answer = rest(&mut stream).await;
                let refused = answer.starts_with("HTTP/1.1 422") && answer.contains("The body broke off");
                // A body that a route does not read may come after its answer.
                let ignored = method == "GET" && answer.starts_with("HTTP/1.1 200");
                assert!(refused || ignored, "{caller:.9} {path}, later: {is_later}: {answer:?}");
            }
        }
    }
    let path = "/api/v1/users/auth0%7Ca/credits/balance";
    assert_eq!(app.get(path).service().data().await, 1000.0);
}

#[tokio::test]
async fn a_byte_order_mark_before_a_body_is_skipped() {
    let (app, user) = TestApp::with_user(&[]).await;
    let path = "/api/v1/users/auth0%7Ca/credits/consume";
    let body = "\u{feff}{\"amount\": 1}";
    app.post(path).by(&user).body(body).expect(200).await;
    let empty = app.post(path).by(&user).body("\u{feff}").await;
    assert_eq!(empty.expect(422).json()["detail"][0]["type"], "missing");
}

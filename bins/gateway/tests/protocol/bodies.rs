//! What is done with request bodies: types, shapes, sizes.

use testkit::TestApp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::assert_documented_error;

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

#[tokio::test]
async fn a_broken_chunk_is_the_clients_fault() {
    let app = TestApp::start().await;
    let user = app.user("auth0|a").await;
    let request = format!(
        "POST /api/v1/users/auth0%7Ca/credits/consume HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
         Authorization: Bearer {}\r\n\r\n5\r\n{{\"amo\r\nZZ\r\n",
        user.token
    );
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0_u8; 12];
    let read = stream.read_exact(&mut answer).await;
    assert!(read.is_err() || &answer == b"HTTP/1.1 422" || &answer == b"HTTP/1.1 400", "{answer:?}");
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

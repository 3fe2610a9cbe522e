//! What a connection may cost: pipelined requests after the last answer, bodies that never end, expectations, stalled readers.

use identity::Activity;
use tokio::time::timeout;

use super::{PATIENCE, assert_documented_error, raw};
use crate::prelude::*;

const CONSUME: &str = "/api/v1/users/auth0%7Ca/credits/consume";

fn consume(token: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {CONSUME} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends bytes, and reads until something is there or the server closes.
async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut answer = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains(wanted) {
            match stream.read(&mut part).await.unwrap() {
                0 => break,
                read => answer.extend_from_slice(&part[..read]),
            }
        }
    };
    assert!(timeout(PATIENCE, reading).await.is_ok(), "{wanted} did not come");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn nothing_is_done_after_the_last_answer() {
    let (app, user) = TestApp::with_user(&[]).await;
    let spend = consume(&user.token, "", r#"{"amount":1}"#);
    // The client says that its first request is the last one.
    let last = consume(&user.token, "Connection: close\r\n", r#"{"amount":1}"#);
    let answer = raw(&app, &format!("{last}{spend}{spend}")).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(app.balance().await, 999.0);
    // So it does with the older version.
    let old = format!("GET /livez HTTP/1.0\r\nHost: x\r\n\r\n{spend}");
    let answer = raw(&app, &old).await;
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    assert_eq!(app.balance().await, 999.0);
    // The service refuses a body of which the rest is still to come, in one piece and in chunks.
    let size = 3 * 1024 * 1024;
    let refused = [
        format!("Content-Length: {size}\r\n\r\n{}", " ".repeat(size)),
        format!("Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(size)),
    ];
    for body in refused {
        let request =
            format!("POST {CONSUME} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{body}", user.token);
        // The server may stop reading before all is sent.
        let answer = exchange(app.address(), format!("{request}{spend}{spend}")).await;
        answered(&answer, 413, &[]);
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert_eq!(app.balance().await, 999.0);
    }
}

#[tokio::test]
async fn a_refused_request_with_its_whole_body_keeps_the_connection() {
    let (app, user) = TestApp::with_user(&[]).await;
    let refused = consume("none", "", r#"{"amount":1}"#);
    let done = consume(&user.token, "Connection: close\r\n", r#"{"amount":1}"#);
    let answer = raw(&app, &format!("{refused}{refused}{done}")).await;
    assert_eq!(answer.matches("HTTP/1.1 401").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(app.balance().await, 999.0);
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_and_the_connection_closed() {
    let (app, user) = TestApp::with_user(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let head = format!("POST {CONSUME} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n", user.token);
    for begun in [
        format!("{head}Content-Length: 50\r\n\r\n{{\"amo"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"amo\r\n"),
    ] {
        let mut stream = open(app.address(), begun).await;
        let answer = until(&mut stream, "request_id").await;
        answered(&answer, 408, &["RequestTimeoutException"]);
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        // It goes on dripping, and is let go all the same.
        let (mut reader, mut writer) = stream.split();
        let drip = async {
            while writer.write_all(b"1\r\n \r\n").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let end = async {
            let mut answer = Vec::new();
            let _reset_or_end = reader.read_to_end(&mut answer).await;
            answer
        };
        let dripping = async {
            tokio::select! { () = drip => {}, _answer = end => {} }
        };
        assert!(timeout(PATIENCE, dripping).await.is_ok(), "the connection stays open");
    }
    assert_eq!(app.balance().await, 1000.0);
}

#[tokio::test]
async fn the_head_of_a_further_request_must_come_in_time_too() {
    let (app, user) = TestApp::with_user(&[]).await;
    let get = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    let post = consume(&user.token, "", r#"{"amount":1}"#);
    let in_chunks = consume(&user.token, "", "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let in_chunks = format!("{in_chunks}c\r\n{{\"amount\":1}}\r\n0\r\n\r\n");
    let begun = "GET /livez HTTP/1.1\r\nHo";
    let late = async {
        let mut stream = open(app.address(), &get).await;
        until(&mut stream, "{\"status\":\"ok\"}").await;
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
    };
    // In one piece with the request before it.
    let at_once = async |request: &str| {
        let mut stream = open(app.address(), format!("{request}{begun}")).await;
        let answer = rest(&mut stream).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    };
    tokio::join!(late, at_once(&get), at_once(&post), at_once(&in_chunks));
}

#[tokio::test]
async fn no_body_is_asked_for_where_the_head_decides() {
    let (app, user) =
        TestApp::with_user(&[("RATE_LIMIT_ENABLED", "true"), ("RATE_LIMIT_BYTES_BURST", "2048")]).await;
    let head = |path: &str, token: &str, size: u32| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
             Content-Length: {size}\r\n\r\n"
        )
    };
    for (request, status) in [
        (head(CONSUME, "none", 10), 401),
        (head(CONSUME, testkit::SERVICE_KEY, 3_000_000), 413),
        (head(CONSUME, &user.token, 4_000), 429),
        (head("/api/v1/users/auth0%7Cb/credits/consume", &user.token, 10), 403),
        (head("/nowhere", &user.token, 10), 404),
        (head("/livez", &user.token, 10), 405),
        (
            head(CONSUME, &user.token, 10).replace("Host: x", "Host: x\r\nContent-Type: multipart/form-data"),
            415,
        ),
    ] {
        // Whoever was refused may send the body or the next request: neither is read as the other.
        let next = consume(&user.token, "", r#"{"amount":1}"#);
        let answer = raw(&app, &format!("{request}{next}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(!answer.contains("100 Continue") && !answer.contains(" 200 "), "{answer}");
        // What the library had read already, and cannot read as a request, gets its empty 400 behind the last answer.
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        assert_documented_error(body.split("HTTP/1.1 400").next().unwrap());
    }
    // A disabled user learns nothing else, as without the expectation.
    let disabled = app.user("auth0|c").await;
    crate::access::set_active(&app, &disabled, Activity::Deactivated).await;
    let own = "/api/v1/users/auth0%7Cc/credits/consume";
    let packed = head(own, &disabled.token, 10).replace("Host: x", "Host: x\r\nContent-Encoding: gzip");
    let answer = raw(&app, &packed).await;
    answered(&answer, 403, &["AccountDisabledException"]);
    let body = r#"{"amount":1}"#;
    let wanted = head(CONSUME, &user.token, 12).replace("Host: x", "Host: x\r\nConnection: close");
    let mut stream = open(app.address(), wanted).await;
    let asked = until(&mut stream, "\r\n\r\n").await;
    assert_eq!(asked, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    answered(&answer, 200, &[]);
    assert_eq!(app.balance().await, 999.0);
}

#[tokio::test]
async fn connections_of_one_address_are_bounded_and_idle_ones_make_room() {
    let app = TestApp::start_with(&[("CONNECTIONS_PER_ADDRESS", "3")]).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = open(app.address(), b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        until(&mut stream, "{\"status\":\"ok\"}").await;
        streams.push(stream);
    }
    // The first has been idle for longest.
    let answer = raw(&app, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    answered(&answer, 200, &[]);
    assert_eq!(rest(&mut streams.remove(0)).await, "");
    for stream in &mut streams {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        until(stream, "{\"status\":\"ok\"}").await;
    }
    let trusting =
        TestApp::start_with(&[("CONNECTIONS_PER_ADDRESS", "1"), ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let mut first = TcpStream::connect(trusting.address()).await.unwrap();
    trusting.get("/livez").expect(200).await;
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    until(&mut first, "{\"status\":\"ok\"}").await;
}

/// Heads of answers are used again by the HTTP library, with the version of the answer before.
#[tokio::test]
async fn a_request_of_the_older_version_ends_its_own_connection_at_most() {
    let app = TestApp::start_with(&[("WORKERS", "1")]).await;
    let old = "GET /livez HTTP/1.0\r\nHost: x\r\n";
    let further = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    for kept in ["", "Connection: keep-alive\r\n"] {
        let mut stream = open(app.address(), format!("{old}{kept}\r\n")).await;
        let answer = until(&mut stream, "ok").await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        drop(stream);
        let mut other = TcpStream::connect(app.address()).await.unwrap();
        for number in 1..=3 {
            other.write_all(further.as_bytes()).await.unwrap();
            let answer = until(&mut other, "ok").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{kept:?}, request {number}: {answer:?}");
            assert!(!answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        }
    }
    // It is kept if its client asks for that.
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    for _ in 0..3 {
        let request = "GET /livez HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = until(&mut stream, "ok").await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer:?}");
    }
}

//! Limits of one caller: the echo of wrong values, bytes in memory, bytes a minute. Each attack of `just abuse`, in short.

use super::assert_documented_error;
use crate::prelude::*;

const CONSUME: &str = "/api/v1/users/auth0%7Ca/credits/consume";
const BATCH: &str = "/api/v1/usage/batch";

/// A JSON list of zeros of about so many bytes.
fn zeros(bytes: usize) -> String {
    format!("[0{}]", ",0".repeat(bytes / 2))
}

#[tokio::test]
async fn a_large_wrong_value_is_told_in_short() {
    let (app, user) = TestApp::with_user(&[]).await;
    let wrong = app.post(CONSUME).by(&user).body(format!("{{\"amount\":{}}}", zeros(1 << 20)));
    let told = wrong.expect(422).await.json();
    let start: String = zeros(400).chars().take(200).collect();
    assert_eq!(told["detail"][0]["input"], format!("{start}..."));
    let many = app.post(BATCH).by(&user).body(format!("{{\"records\":{}}}", zeros(15 << 20)));
    let told = many.expect(422).await;
    assert_eq!(told.json()["detail"][0]["type"], "too_long");
    assert!(told.text.len() < 4_000, "{} bytes", told.text.len());
    let whole = app.post(BATCH).by(&user).body(zeros(15 << 20)).await;
    assert_eq!(whole.expect(422).json()["detail"][0]["type"], "dict_type");
    // A thousand wrong records are reported one by one, and none of them is recorded.
    let told = app.post(BATCH).by(&user).body(format!("{{\"records\":[{}0]}}", "0,".repeat(999))).ok().await;
    assert_eq!(told["data"]["failed"], 1_000);
}

#[tokio::test]
async fn a_large_batch_is_recorded_in_its_order() {
    let (app, user) = TestApp::with_user(&[]).await;
    let record = |place: usize| {
        json!({"user_id": "auth0|a", "event_type": "x", "event_id": format!("event {place}"),
               "request_data": {"text": "x".repeat(2_000)}})
    };
    let mut records: Vec<Value> = (0..300).map(record).collect();
    records[7] = json!({"user_id": "auth0|a"});
    records[8] = json!(5);
    let body = json!({"records": records});
    let told = app.post(BATCH).by(&user).json(&body).ok().await;
    assert_eq!(told["data"]["recorded"], 298);
    let results = told["data"]["results"].list();
    let places: Vec<_> = results.iter().map(|result| result["index"].as_u64().unwrap()).collect();
    assert_eq!(places, (0..300).collect::<Vec<u64>>());
    told["data"]["results"]
        .has(json!({"7.error_code": "ValidationException", "8.detail.0.type": "dict_type"}));
}

/// The hash of a large body is made elsewhere, and is the same one.
#[tokio::test]
async fn a_large_request_with_a_key_is_repeated_or_told_to_differ() {
    let (app, user) = TestApp::with_user(&[]).await;
    let record = |last: u32| {
        format!(
            r#"{{"user_id":"auth0|a","endpoint":"/x","event_type":"x","request_data":{{"a":{},"b":{last}}}}}"#,
            zeros(100_000)
        )
    };
    let send = |path: &str, body: String| app.post(path).by(&user).key("k").body(body);
    let record_path = "/api/v1/users/auth0%7Ca/usage";
    let batch = |last: u32| format!(r#"{{"records":[{0},{0}]}}"#, record(last));
    for (path, body) in [(record_path, record(1)), (BATCH, batch(1))] {
        let first = send(path, body.clone()).expect(200).await;
        assert_eq!(first.header("idempotency-replayed"), "");
        let again = send(path, body).expect(200).await;
        assert!(again.is_replayed());
        assert_eq!(first.text, again.text);
    }
    let other = send(record_path, record(2)).await;
    assert_eq!(other.error_code(), "IdempotencyConflictException", "{}", other.text);
    let other = send(BATCH, batch(2)).ok().await;
    assert_eq!(other["data"]["failed"], 2, "{other}");
    app.post(BATCH).by(&user).key("").body(batch(1)).expect(422).await;
}

/// Sends the head of a batch and a part of its body, and keeps the rest back.
async fn begun(app: &TestApp, user: &TestUser, declared: usize, sent: usize) -> TcpStream {
    let head = format!(
        "POST {BATCH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {declared}\r\n\r\n",
        user.token
    );
    let mut stream = open(app.address(), head).await;
    // A refused body may be closed before all of it was sent.
    let _sent = stream.write_all(&vec![b' '; sent]).await;
    stream
}

/// Waits until the service holds bytes of bodies as wanted.
async fn held(app: &TestApp, wanted: impl Fn(u64) -> bool) {
    let mut deadline = testkit::Deadline::new();
    while !wanted(app.app().traffic.bodies.held()) {
        assert!(deadline.allows_another(), "{:?}", app.app().traffic.bodies);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn bytes_in_memory_are_bounded() {
    let variables = [("BODY_BYTES_IN_FLIGHT", "33554432"), ("REQUEST_TIMEOUT_SECONDS", "600")];
    let app = TestApp::start_with(&variables).await;
    let (a, b, c) = (app.user("auth0|a").await, app.user("auth0|b").await, app.user("auth0|c").await);
    let most = 15 << 20;
    let first = begun(&app, &a, 16 << 20, most).await;
    held(&app, |bytes| bytes >= 15 << 20).await;
    // Sixteen MiB of one caller are the most; a second body of the same one ends with 429.
    let own = rest(&mut begun(&app, &a, 16 << 20, 2 << 20).await).await;
    answered(&own, 429, &["RateLimitExceededException", "retry-after: 1"]);
    assert_documented_error(own.split("\r\n\r\n").nth(1).unwrap());
    let second = begun(&app, &b, 16 << 20, most).await;
    held(&app, |bytes| bytes >= 30 << 20).await;
    let other = rest(&mut begun(&app, &c, 16 << 20, 3 << 20).await).await;
    answered(&other, 503, &["ServiceUnavailableException", "retry-after: 1"]);
    app.get("/api/v1/users/auth0%7Cc/credits/balance").by(&c).expect(200).await;
    drop((first, second));
    held(&app, |bytes| bytes == 0).await;
    app.post(BATCH).by(&c).body(zeros(8 << 20)).expect(422).await;
}

/// A chunk that comes late is counted at the instant it comes, and gives nothing back that was taken since its request began.
#[tokio::test]
async fn a_late_chunk_gives_no_bytes_back() {
    let variables = [
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_BYTES", "60000"),
        ("RATE_LIMIT_BYTES_BURST", "40000"),
        ("REQUEST_TIMEOUT_SECONDS", "600"),
    ];
    let (app, user) = TestApp::with_user(&variables).await;
    let send = |bytes: usize| app.post(CONSUME).by(&user).body(" ".repeat(bytes));
    let head = format!(
        "POST {CONSUME} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n",
        user.token
    );
    let mut slow = open(app.address(), head).await;
    held(&app, |bytes| bytes == 1).await;
    app.clock().advance(time::Duration::seconds(22));
    send(40_000).expect(422).await;
    send(1_000).expect(429).await;
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", 1_000, " ".repeat(1_000));
    slow.write_all(chunk.as_bytes()).await.unwrap();
    let late = rest(&mut slow).await;
    answered(&late, 429, &[]);
    send(1_000).expect(429).await;
}

#[tokio::test]
async fn a_user_may_send_so_many_bytes() {
    let variables =
        [("RATE_LIMIT_ENABLED", "true"), ("RATE_LIMIT_BYTES", "60000"), ("RATE_LIMIT_BYTES_BURST", "4000")];
    let app = TestApp::start_with(&variables).await;
    let (user, other) = (app.user("auth0|a").await, app.user("auth0|b").await);
    let body = format!("{{\"amount\":1,\"description\":\"{}\"}}", "x".repeat(100));
    let padded = format!("{body}{}", " ".repeat(2_500 - body.len()));
    let send = |token: &str, body: &str| app.post(CONSUME).token(token).body(body.to_owned());
    let counted = send(&user.token, &padded).expect(200).await;
    assert_eq!(counted.header("ratelimit-policy"), "\"user\";q=200;w=2, \"bytes\";q=4000;w=4");
    let level = counted.header("ratelimit");
    assert!(level.starts_with("\"user\";r=198;t=1, \"bytes\";r=14"), "{level}");
    let refused = send(&user.token, &padded).expect(429).await;
    assert_documented_error(&refused.text);
    assert_eq!(refused.error_code(), "RateLimitExceededException");
    let told = refused.json()["error_details"].clone();
    assert_eq!((&told["limit"], &told["window_seconds"]), (&json!(4_000), &json!(4)));
    assert_eq!(refused.header("retry-after"), told["retry_after"].to_string());
    assert!(!refused.header("ratelimit").is_empty());
    // What is not declared is counted as it comes.
    let chunked = format!(
        "POST {CONSUME} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{padded}\r\n0\r\n\r\n",
        user.token,
        padded.len()
    );
    let answer = super::raw(&app, &chunked).await;
    answered(&answer, 429, &[]);
    // Others, services and requests without a body are not concerned.
    app.post("/api/v1/users/auth0%7Cb/credits/consume").by(&other).body(padded.clone()).expect(200).await;
    for _ in 0..3 {
        app.post(CONSUME).service().body(padded.clone()).expect(200).await;
    }
    app.get("credits/balance").by(&user).expect(200).await;
    app.clock().advance(time::Duration::seconds(3));
    send(&user.token, &padded).expect(200).await;
    let text = app.get("/metrics").expect(200).await.text;
    assert!(text.contains("user_service_rate_limited_total{class=\"bytes\"}"), "{text}");
    let off = TestApp::start_with(&[variables[1], variables[2], ("RATE_LIMIT_ENABLED", "false")]).await;
    let user = off.user("auth0|a").await;
    for _ in 0..3 {
        let sent = off.post(CONSUME).by(&user).body(padded.clone());
        assert_eq!(sent.expect(200).await.header("ratelimit"), "");
    }
}

/// If the head exceeds the byte limit, the answer is 429 before any check of rights and of the size of the
/// body (HTTP contract 1.4). Of a body in chunks it says so only if nothing is left.
#[tokio::test]
async fn the_byte_limit_comes_before_permissions_and_sizes() {
    let variables =
        [("RATE_LIMIT_ENABLED", "true"), ("RATE_LIMIT_BYTES", "60000"), ("RATE_LIMIT_BYTES_BURST", "4000")];
    let app = TestApp::start_with(&variables).await;
    let (user, _other) = (app.user("auth0|a").await, app.user("auth0|b").await);
    let (foreign, hidden) =
        ("/api/v1/users/auth0%7Cb/credits/consume", "/api/v1/users/auth0%7Cb/credits/holds");
    let send = |path: &str, bytes: usize| {
        let amount = r#"{"amount":1}"#;
        let body = format!("{amount}{}", " ".repeat(bytes - amount.len()));
        app.post(path).by(&user).body(body)
    };
    let large = async |path: &str, token: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 3000000\r\n\r\n"
        );
        super::raw(&app, &head).await
    };
    let chunked = async |path: &str| {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Transfer-Encoding: chunked\r\n\r\nc\r\n{{\"amount\":1}}\r\n0\r\n\r\n",
            user.token
        );
        super::raw(&app, &request).await
    };
    let counted = send(CONSUME, 2_500).expect(200).await;
    let (_, of_bytes) = counted.header("ratelimit").split_once("\"bytes\";r=").unwrap();
    let left: usize = of_bytes.split(';').next().unwrap().parse().unwrap();
    for path in [CONSUME, foreign, hidden] {
        send(path, left + 1).refused(429, "RateLimitExceededException").await;
    }
    for (path, token, status) in [
        (foreign, user.token.as_str(), 429),
        (CONSUME, &user.token, 429),
        (CONSUME, "none", 401),
        ("/nowhere", &user.token, 404),
    ] {
        let answer = large(path, token).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    // What was refused took nothing; what fits is taken before it is judged by rights.
    let half = left / 2;
    send(foreign, half).expect(403).await;
    let answer = chunked(foreign).await;
    answered(&answer, 403, &[]);
    send(CONSUME, left - half + 1).expect(429).await;
    send(hidden, left - half).expect(404).await;
    let answer = chunked(foreign).await;
    answered(&answer, 429, &[]);
    // Requests without a body are not concerned.
    app.post(foreign).by(&user).expect(403).await;
}

//! The self-test says in one line what is wrong, and names the variable.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use files::objects::{FaultCause, S3Settings, StorageFault};
use testkit::{S3_ACCESS_KEY, S3_SECRET_KEY, S3Fault, S3Server};
use uuid::Uuid;

use super::{keys, open, settings};

async fn fault(settings: S3Settings) -> StorageFault {
    let objects = open(settings);
    let writing = objects.write("files/00/a", "text/plain").await.unwrap();
    let debug = format!("{objects:?} {writing:?}");
    let fault = objects.self_test(Uuid::nil()).await.unwrap_err();
    let line = fault.to_string();
    assert!(!line.contains('\n') && line.len() < 200, "{line}");
    for text in [&line, &debug, &format!("{fault:?}")] {
        assert!(!text.contains(S3_SECRET_KEY) && !text.contains(S3_ACCESS_KEY), "{text}");
    }
    fault
}

async fn line(settings: S3Settings) -> String {
    fault(settings).await.to_string()
}

#[tokio::test]
async fn a_store_that_is_set_up_well_passes() {
    let server = S3Server::start();
    open(settings(&server)).self_test(Uuid::nil()).await.unwrap();
    assert!(server.keys().is_empty());
    let made: Vec<_> = server.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(made, ["PUT", "GET", "GET", "DELETE"]);
}

#[tokio::test]
async fn keys_bucket_and_clock() {
    let server = S3Server::start();
    let (at, good) = (server.endpoint(), settings(&server));
    let wrong = S3Settings { keys: Some(keys("AKIAOTHER", S3_SECRET_KEY)), ..good.clone() };
    assert_eq!(line(wrong).await, format!("S3_ACCESS_KEY_ID: {at} does not know this key"));
    let wrong = S3Settings { keys: Some(keys(S3_ACCESS_KEY, "another-secret")), ..good.clone() };
    assert_eq!(
        line(wrong).await,
        format!(
            "S3_SECRET_ACCESS_KEY: {at} refuses the signature: the secret does not belong to S3_ACCESS_KEY_ID"
        )
    );
    let wrong = S3Settings { bucket: "other".to_owned(), ..good.clone() };
    assert_eq!(line(wrong).await, format!("S3_BUCKET: {at} has no bucket \"other\""));
    for minutes in [-16, 16] {
        server.set_clock_ahead(time::Duration::minutes(minutes));
        assert_eq!(
            line(good.clone()).await,
            format!("S3_ENDPOINT: the clocks of {at} and of this machine differ too much: synchronize them")
        );
    }
    server.set_clock_ahead(time::Duration::minutes(14));
    open(good).self_test(Uuid::nil()).await.unwrap();
}

#[tokio::test]
async fn refusals_of_a_store() {
    let server = S3Server::start();
    let at = server.endpoint();
    for (refusal, cause, expected) in [
        (
            S3Fault::Error(403, "AccessDenied"),
            FaultCause::Permission,
            "S3_ACCESS_KEY_ID: the key may not write objects in bucket \"user-files\" (403 AccessDenied)"
                .to_owned(),
        ),
        (
            S3Fault::Error(400, "AuthorizationHeaderMalformed"),
            FaultCause::Region,
            format!("S3_REGION: bucket \"user-files\" is not in region \"us-east-1\" of {at}"),
        ),
        (
            S3Fault::Error(507, "XMinioStorageFull"),
            FaultCause::Full,
            "S3_BUCKET: no space is left in bucket \"user-files\"".to_owned(),
        ),
        (
            S3Fault::Error(503, "SlowDown"),
            FaultCause::Unavailable,
            format!("S3_ENDPOINT: {at} cannot write objects at present (503 SlowDown)"),
        ),
        (
            S3Fault::Error(501, "NotImplemented"),
            FaultCause::Unavailable,
            format!("S3_ENDPOINT: {at} cannot write objects at present (501 NotImplemented)"),
        ),
        (
            S3Fault::Error(400, "InvalidRequest"),
            FaultCause::Endpoint,
            format!(
                "S3_ENDPOINT: {at} refuses to write objects in bucket \"user-files\" (400 InvalidRequest)"
            ),
        ),
    ] {
        server.fail(move |_| Some(refusal.clone()));
        let fault = fault(settings(&server)).await;
        assert_eq!((fault.cause(), fault.to_string()), (cause, expected));
    }
    // A key that may write, but not list, delete or read.
    for (method, is_list, doing) in
        [("GET", true, "list"), ("GET", false, "read"), ("DELETE", false, "delete")]
    {
        server.fail(move |call| {
            let is_meant = call.method == method && call.parameter("list-type").is_some() == is_list;
            is_meant.then_some(S3Fault::Error(403, "AccessDenied"))
        });
        assert_eq!(
            line(settings(&server)).await,
            format!(
                "S3_ACCESS_KEY_ID: the key may not {doing} objects in bucket \"user-files\" (403 AccessDenied)"
            )
        );
    }
}

#[tokio::test]
async fn servers_that_are_no_s3() {
    let server = S3Server::start();
    let at = server.endpoint();
    for (answer, expected) in [
        (S3Fault::Html(200, "<html>welcome</html>"), "does not answer as S3 does (to write objects)"),
        (S3Fault::Html(404, "<html>no page</html>"), "does not answer as S3 does (404, to write objects)"),
        (S3Fault::Html(403, "<html>go away</html>"), "does not answer as S3 does (403, to write objects)"),
        (S3Fault::Html(405, ""), "does not answer as S3 does (405, to write objects)"),
        (
            S3Fault::Html(400, "<html>The plain HTTP request was sent to HTTPS port</html>"),
            "expects TLS: write https instead of http",
        ),
        (
            S3Fault::Redirect("https://s3.example.com/"),
            "redirects to another address (301): write that, often with https",
        ),
        (S3Fault::HangUp, "ended before it could write objects"),
    ] {
        let hung_up = matches!(answer, S3Fault::HangUp);
        server.fail(move |_| Some(answer.clone()));
        let begin = if hung_up { format!("the connection to {at}") } else { at.clone() };
        assert_eq!(line(settings(&server)).await, format!("S3_ENDPOINT: {begin} {expected}"));
    }
}

#[tokio::test]
async fn addresses_without_a_server() {
    let server = S3Server::start();
    let good = settings(&server);
    let at = |endpoint: &str| S3Settings { endpoint: Some(endpoint.parse().unwrap()), ..good.clone() };
    let https = server.endpoint().replace("http:", "https:");
    assert_eq!(
        line(at(&https)).await,
        format!(
            "S3_ENDPOINT: {https} does not speak TLS: write http instead of https, if the network is private"
        )
    );
    assert_eq!(
        line(at("http://no-such-host.invalid:9000")).await,
        "S3_ENDPOINT: the host of http://no-such-host.invalid:9000 has no address"
    );
    drop(server);
    let endpoint = good.endpoint.clone().unwrap().origin().ascii_serialization();
    assert_eq!(line(good).await, format!("S3_ENDPOINT: nothing listens at {endpoint}"));
}

/// A server that expects TLS answers a request in clear with an alert.
#[tokio::test]
async fn http_to_a_server_that_expects_tls() {
    const ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 1024];
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                stream.write_all(&ALERT).unwrap();
            }
        }
    });
    let server = S3Server::start();
    let settings = S3Settings { endpoint: Some(endpoint.parse().unwrap()), ..settings(&server) };
    assert_eq!(
        line(settings).await,
        format!(
            "S3_ENDPOINT: {endpoint} does not answer with HTTP: if it expects TLS, write https instead of http"
        )
    );
}

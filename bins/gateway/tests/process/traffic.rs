//! Clients that keep connections and do nothing with them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::net::{TcpSocket, TcpStream};

use super::{
    gateway_process::{Gateway, database},
    usage_export::{ask, loaded},
};
use crate::prelude::*;

fn address(gateway: &Gateway) -> SocketAddr {
    gateway.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// A new connection is answered.
async fn healthy(gateway: &Gateway) {
    let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    answered(&rest(&mut open(address(gateway), request).await).await, 200, &[]);
}

/// Nothing was warned of since the start.
fn assert_quiet(gateway: &Gateway) {
    let log = gateway.log();
    let served = log.split("listening on ").nth(1).unwrap_or_default();
    for level in ["WARN", "ERROR"] {
        assert!(!served.contains(&format!("\"level\":\"{level}\"")), "{served}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sockets_shut_out_nobody_though_descriptors_are_few() {
    let db = database().await;
    let gateway = Gateway::limited(db.url(), &[], "-n 256").await;
    gateway.ensure("someone").await;
    let mut idle = Vec::new();
    for _ in 0..220 {
        idle.push(TcpStream::connect(address(&gateway)).await.unwrap());
    }
    for _ in 0..40 {
        healthy(&gateway).await;
    }
    gateway.consume("someone", 1).expect(200).await;
    drop(idle);
    assert_quiet(&gateway);
}

/// Sockets that ask for much and read nothing of it are closed for others, though their answers are not sent yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_do_not_read_shut_out_nobody_though_descriptors_are_few() {
    let db = database().await;
    let gateway = Gateway::limited(db.url(), &[], "-n 256").await;
    gateway.ensure("someone").await;
    let deaf = open_deaf(&gateway, 300).await;
    for _ in 0..40 {
        healthy(&gateway).await;
    }
    gateway.consume("someone", 1).expect(200).await;
    assert_quiet(&gateway);
    drop(deaf);
}

/// One address that opens many connections has no more of them open than it may, by the service's count and by the kernel's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_of_one_address_are_closed_though_there_are_descriptors_for_them() {
    let db = database().await;
    gateway::descriptors::raise_limit();
    let gateway = Gateway::limited(db.url(), &[("CONNECTIONS_PER_ADDRESS", "512")], "-n 4096").await;
    gateway.ensure("someone").await;
    let deaf = open_deaf(&gateway, 1_501).await;
    // The last ones are taken in a moment, and those that make room are closed in a moment.
    let mut deadline = testkit::Deadline::new();
    loop {
        let (counted, in_kernel) = (open_connections(&gateway).await, established(&gateway));
        if (500..=512).contains(&counted) && in_kernel <= 512 {
            break;
        }
        assert!(deadline.allows_another(), "{counted} are open, {in_kernel} established");
    }
    healthy(&gateway).await;
    gateway.consume("someone", 1).expect(200).await;
    assert_quiet(&gateway);
    drop(deaf);
}

/// Opens sockets that ask for much and read nothing of it.
async fn open_deaf(gateway: &Gateway, count: usize) -> Vec<TcpStream> {
    let mut deaf = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2_048).unwrap();
        let connecting = tokio::time::timeout(PATIENCE, socket.connect(address(gateway)));
        let mut stream = connecting.await.unwrap().unwrap();
        let asked = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(12);
        // Some are closed before they have asked.
        let _sent = stream.write_all(&asked).await;
        deaf.push(stream);
    }
    deaf
}

/// Number of open connections by the service's count.
///
/// It asks again where its own connection was the one that made room.
async fn open_connections(gateway: &Gateway) -> usize {
    let mut deadline = testkit::Deadline::new();
    let text = loop {
        match gateway.get("/metrics").try_send().await {
            Ok(reply) => break reply.text,
            Err(error) => assert!(deadline.allows_another(), "{error:?}"),
        }
    };
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("user_service_http_connections_open "));
    count.unwrap().parse().unwrap()
}

/// Number of established connections at the gateway's end, by the kernel's count.
fn established(gateway: &Gateway) -> usize {
    let local = format!("0100007F:{:04X}", address(gateway).port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    ends.filter(|fields| fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"01")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_clients_that_take_nothing() {
    let grace = Duration::from_secs(60);
    let db = loaded().await;
    let variables = [("SHUTDOWN_GRACE_SECONDS", "60"), ("REQUEST_TIMEOUT_SECONDS", "600")];
    let mut gateway = Gateway::on(db.url(), &variables).await;
    let mut stalled = Vec::new();
    for _ in 0..200 {
        let mut stream = ask(&gateway).await;
        let mut piece = [0; 15];
        let begun = tokio::time::timeout(Duration::from_secs(300), stream.read_exact(&mut piece)).await;
        assert!(begun.is_ok(), "an export did not begin: {}", gateway.log_tail());
        assert_eq!(&piece, b"HTTP/1.1 200 OK");
        stalled.push(stream);
    }
    let told = Instant::now();
    gateway.stop();
    assert!(told.elapsed() < grace, "it took all of the grace period");
    assert!(!gateway.log().contains("did not finish in time"), "{}", gateway.log_tail());
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_clients_are_counted_and_not_warned_of() {
    let db = database().await;
    let gateway = Gateway::on(db.url(), &[("REQUEST_TIMEOUT_SECONDS", "1"), ("LOG_LEVEL", "debug")]).await;
    let token = format!("X-API-Key: {}\r\n", testkit::SERVICE_KEY);
    let slow = format!("POST /api/v1/users/ensure HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 9\r\n\r\n{{");
    let chunk = format!(
        "POST /api/v1/users/ensure HTTP/1.1\r\nHost: x\r\n{token}Transfer-Encoding: chunked\r\n\r\nnone\r\n"
    );
    for (request, statuses) in [
        ("no request\r\n\r\n", &[400][..]),
        ("GET / HTTP/1.1\r\nno header\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHo", &[408]),
        (&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000)), &[431]),
        (&slow, &[408]),
        (&chunk, &[400, 422]),
    ] {
        // The server may answer before it has read everything.
        let answer = exchange(address(&gateway), request).await;
        let status = answer.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0);
        assert!(statuses.contains(&status), "{request:.60}: {answer}");
    }
    // A client that speaks TLS to the port of HTTP.
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    answered(&rest(&mut open(address(&gateway), tls).await).await, 400, &[]);
    let metrics = gateway.metrics().await;
    for counted in ["malformed\"} 3", "head_too_large\"} 1"] {
        let line = format!("user_service_http_client_errors_total{{kind=\"{counted}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    let log = gateway.log();
    for kind in ["malformed", "head_too_large"] {
        assert!(log.contains(&format!("\"kind\":\"{kind}\"")), "{kind}: {log}");
    }
    assert!(!log.contains("hung up"), "{log}");
    assert_quiet(&gateway);
}

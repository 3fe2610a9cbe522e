//! An export of many records: flat memory, nothing read ahead of a slow client, and no work for one that is gone.

use std::{fs, net::SocketAddr};

use tokio::net::{TcpSocket, TcpStream};

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

const RECORDS: usize = 200_000;

/// Records of ten users over two months, with what they sum up to.
pub async fn loaded() -> TestDb {
    let mut db = database().await;
    // Or the gateway would move the records at its start, on a connection that the test counts.
    let clock = kernel::ManualClock::at(datetime!(2025-12-20 0:00 UTC));
    usage::create_months(db.pool(), &clock, 1).await.unwrap();
    // Written past the service, so there are no sums of them.
    db.forgo_audits();
    let load = format!(
        "INSERT INTO usage.records
              (id, user_id, occurred_at, recorded_at, endpoint, event_type, model_name, tokens_used, prompt_tokens,
               completion_tokens, credits_charged, cost_usd, calculation_method, request_data,
               size_bytes)
         SELECT nextval('usage.record_ids'), 'auth0|' || n % 10, '2025-11-20'::timestamptz + n * interval '20 s', now(),
                '/api/chat/completion', 'ai_chat', 'gpt-4', 300, 200, 100, 1500000, 2000000, 'gpt4_pricing',
                jsonb_build_object('text', repeat('x', 100)), 156
         FROM generate_series(1, {RECORDS}) AS n;
         ANALYZE usage.records"
    );
    db.run(&load).await;
    db
}

/// Sends the request for a whole export on a connection whose client takes little at a time.
pub async fn ask(gateway: &Gateway) -> TcpStream {
    let address: SocketAddr = gateway.url.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /api/v1/usage/export?format=ndjson HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
        testkit::SERVICE_KEY
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// A counter or gauge of the process; 0 before it is first told.
async fn metric(gateway: &Gateway, name: &str) -> usize {
    let text = gateway.metrics().await;
    let line = text.lines().find_map(|line| line.strip_prefix("user_service_")?.strip_prefix(name));
    line.map_or(0, |rest| rest.rsplit(' ').next().unwrap().parse().unwrap())
}

/// The most memory the process ever had, in KiB.
fn memory_peak(gateway: &Gateway) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Waits until the figure is as wanted, and answers it.
async fn wait_for(gateway: &Gateway, name: &str, wanted: impl Fn(usize) -> bool) -> usize {
    let mut deadline = testkit::Deadline::new();
    loop {
        let found = metric(gateway, name).await;
        if wanted(found) {
            return found;
        }
        assert!(deadline.allows_another(), "{name} is {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_reads_no_further_than_its_client_and_ends_with_it() {
    let db = loaded().await;
    let gateway = Gateway::on(db.url(), &[("DATABASE_POOL_SIZE", "5")]).await;
    let mut stream = ask(&gateway).await;
    let mut piece = vec![0; 16 * 1024];
    let head = stream.read(&mut piece).await.unwrap();
    assert!(String::from_utf8_lossy(&piece[..head]).starts_with("HTTP/1.1 200 OK"));
    let before = memory_peak(&gateway);

    // The client stands still: what was read is in buffers of the kernel, and that is a small part of some 120 MB.
    let ahead = wait_until_still(&gateway).await;
    assert!(ahead < RECORDS / 10, "{ahead} records were read ahead");
    assert_eq!(metric(&gateway, "http_requests_in_flight").await, 2, "the export and this question");
    // The only connection is free.
    gateway.get("/api/v1/usage/timeseries?metrics=records").expect(200).await;

    // It goes on, to the end: all of it comes, and memory does not grow with it.
    let (mut bytes, mut lines) = (0, 0);
    loop {
        let count = stream.read(&mut piece).await.unwrap();
        if count == 0 {
            break;
        }
        bytes += count;
        lines += piece[..count].iter().filter(|byte| **byte == b'{').count();
    }
    assert!(bytes > 100_000_000, "{bytes} bytes");
    assert!(lines > RECORDS, "{lines} objects");
    assert_eq!(wait_for(&gateway, "usage_exported_records_total", |count| count >= RECORDS).await, RECORDS);
    let grown = memory_peak(&gateway).saturating_sub(before);
    assert!(grown < 24 * 1024, "memory grew by {grown} KiB");
    let answered = r#"http_requests_total{method="GET",route="/api/v1/usage/export",status="200"}"#;
    wait_for(&gateway, answered, |count| count == 1).await;
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("/api/v1/usage/export")).unwrap();
    assert!(line.contains("request answered"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_nobody_takes_any_more_ends() {
    let db = loaded().await;
    let gateway = Gateway::on(db.url(), &[]).await;
    let mut stream = ask(&gateway).await;
    let mut piece = vec![0; 16 * 1024];
    assert!(stream.read(&mut piece).await.unwrap() > 0);
    drop(stream);
    wait_for(&gateway, "http_requests_abandoned_total", |count| count == 1).await;
    assert_eq!(metric(&gateway, "http_requests_in_flight").await, 1, "this question");
    let read = metric(&gateway, "usage_exported_records_total").await;
    assert!(read < RECORDS / 10, "{read} records were read for nobody");
    assert!(gateway.log().contains("the client hung up in the middle of the answer"));
}

/// Waits until nothing is read for the client any more: the same figure in many looks.
async fn wait_until_still(gateway: &Gateway) -> usize {
    let (mut last, mut same) = (0, 0);
    let mut deadline = testkit::Deadline::new();
    while same < 20 {
        let read = metric(gateway, "usage_exported_records_total").await;
        same = if read == last && read > 0 { same + 1 } else { 0 };
        last = read;
        assert!(deadline.allows_another(), "{read} records were read and more");
    }
    last
}

//! The way to the database goes silent, or the database's processes stop: nothing is closed, and nothing answers.

use std::process::Command;

use diesel::{QueryableByName, sql_types::Integer};
use diesel_async::RunQueryDsl as _;

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Spends and asks for the balance at the same time, and answers both statuses with their codes.
async fn both(gateway: &Gateway) -> [(u16, String); 2] {
    let (consumed, balance) = tokio::join!(gateway.consume("a", 1), gateway.get("a/credits/balance"));
    [consumed, balance].map(|reply| (reply.status, reply.error_code()))
}

fn assert_unavailable(replies: &[(u16, String)]) {
    let codes = ["ServiceUnavailableException", "OutcomeUnknownException"];
    for (status, code) in replies {
        assert!(*status == 503 && codes.contains(&code.as_str()), "{replies:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_answered_with_503_and_new_connections_are_used_at_once() {
    let db = database().await;
    let proxy = Proxy::start(&db).await;
    let gateway = Gateway::on(proxy.url(), &[]).await;
    gateway.ensure("a").await;
    gateway.consume("a", 1).expect(200).await;

    proxy.silence_all();
    let replies = both(&gateway).await;
    assert_unavailable(&replies);
    assert!(gateway.log().contains("database connection timed out"), "{}", gateway.log_tail());

    // The old connections stay silent for as long as the proxy lives.
    proxy.let_new_through();
    let mut deadline = testkit::Deadline::new();
    while gateway.consume("a", 1).await.status != 200 {
        assert!(deadline.allows_another(), "{}", gateway.log_tail());
    }
    for _ in 0..20 {
        let replies = both(&gateway).await;
        assert!(replies.iter().all(|(status, _)| *status == 200), "{replies:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_stop_are_answered_with_503_and_replaced() {
    let db = database().await;
    let gateway = Gateway::on(db.url(), &[]).await;
    gateway.ensure("a").await;
    for _ in 0..10 {
        assert!(both(&gateway).await.iter().all(|(status, _)| *status == 200));
    }
    let backends: Vec<Backend> = diesel::sql_query(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'user-service' \
         AND usename <> 'postgres' AND state = 'idle'",
    )
    .load(&mut db.connect_as_superuser().await)
    .await
    .unwrap();
    assert!(!backends.is_empty());
    let stopped = Stopped(backends.iter().map(|backend| backend.pid.to_string()).collect());
    stopped.signal("-STOP");

    // One of them may have got a connection that was opened after the others were listed.
    let mut replies = both(&gateway).await.to_vec();
    replies.retain(|(status, _)| *status != 200);
    assert!(!replies.is_empty());
    assert_unavailable(&replies);
    for _ in 0..20 {
        let replies = both(&gateway).await;
        assert!(replies.iter().all(|(status, _)| *status == 200), "{replies:?}");
    }
}

/// Processes that run again when this is dropped.
struct Stopped(Vec<String>);

impl Stopped {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(signal).args(&self.0).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

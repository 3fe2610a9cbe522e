//! kill -9 of the gateway under writes of every domain: acknowledged means durable, unacknowledged all or nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::prelude::*;
use crate::process::gateway_process::{Gateway, folder};

const WRITERS: u32 = 16;

/// The answers to the writers before the process died.
#[derive(Default)]
struct Acknowledged {
    consumed: AtomicU32,
    messages: AtomicU32,
    usage: AtomicU32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_loses_nothing_that_it_acknowledged() {
    let folder = folder();
    let mut kept = (0, 0, 0);
    for round in 1..=3_u32 {
        let gateway = Arc::new(Gateway::start(folder.path(), &[]).await);
        gateway.ensure("a").await;
        let session = session(&gateway, round).await;
        let acknowledged = Arc::new(Acknowledged::default());
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(write(Arc::clone(&gateway), Arc::clone(&acknowledged), session.clone(), writer));
        }
        while acknowledged.consumed.load(Ordering::SeqCst) < 20 * round {
            tokio::task::yield_now().await;
        }
        gateway.signal("-KILL");
        while writers.join_next().await.is_some() {}
        drop(gateway);

        let after = Gateway::start(folder.path(), &[]).await;
        kept = check(&after, &acknowledged, &session, kept).await;
    }
}

/// A session of the user `a`, for this round only.
async fn session(gateway: &Gateway, round: u32) -> String {
    let body = json!({"title": format!("round {round}")});
    gateway.post("a/sessions", body).ok().await["session_id"].text().to_owned()
}

/// Writes until the process is gone.
async fn write(gateway: Arc<Gateway>, acknowledged: Arc<Acknowledged>, session: String, writer: u32) {
    let messages = format!("/api/v1/sessions/{session}/messages");
    loop {
        let message = json!({"role": "user", "content": "x", "tokens_used": 2});
        let (request, counter) = match writer % 3 {
            0 => (gateway.consume("a", 1), &acknowledged.consumed),
            1 => (gateway.post(&messages, message), &acknowledged.messages),
            _ => (gateway.post("a/usage", json!({"endpoint": "/x", "event_type": "t"})), &acknowledged.usage),
        };
        let Ok(reply) = request.try_send().await else { return };
        assert_eq!(reply.status, 200, "{}", reply.text);
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Compares what is stored with what was acknowledged; each writer may have one more that it never heard of.
async fn check(
    gateway: &Gateway,
    acknowledged: &Acknowledged,
    session: &str,
    before: (u32, u32, u32),
) -> (u32, u32, u32) {
    let transactions = gateway.balance("a").await;
    let consumed = (1000.0 - transactions) as u32;
    let stats = gateway.get("a/usage/stats").data().await;
    let usage = u32::try_from(stats["total_records"].as_u64().unwrap()).unwrap();
    let list = gateway.get("a/sessions").rows().await;
    let row = list.iter().find(|row| row["session_id"] == session).unwrap();
    let messages = u32::try_from(row["message_count"].as_u64().unwrap()).unwrap();
    assert_eq!(row["total_tokens"].as_u64().unwrap(), u64::from(messages) * 2, "counters and messages agree");
    for (what, stored, acknowledged) in [
        ("consumed", consumed - before.0, &acknowledged.consumed),
        ("messages", messages, &acknowledged.messages),
        ("usage records", usage - before.2, &acknowledged.usage),
    ] {
        let acknowledged = acknowledged.load(Ordering::SeqCst);
        assert!(stored >= acknowledged, "{what}: {acknowledged} acknowledged, {stored} kept");
        assert!(stored <= acknowledged + WRITERS, "{what}: {acknowledged} acknowledged, {stored} kept");
    }
    (consumed, messages, usage)
}

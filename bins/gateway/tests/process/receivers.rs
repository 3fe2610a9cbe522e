//! The receiver of events of the configuration, across restarts.

use std::sync::Arc;

use kernel::Clock;

use super::gateway_process::{Gateway, database};
use crate::prelude::*;

#[tokio::test]
async fn events_are_stored_exactly_while_there_is_a_receiver() {
    let (db, secret) = (database().await, ("SUPABASE_JWT_SECRET", "a shared secret of more than 32 bytes"));
    let mut stored = Vec::new();
    for receiver in [None, Some("http://127.0.0.1:1/events"), Some("https://receiver.example.com/"), None] {
        let variables: Vec<_> =
            [secret].into_iter().chain(receiver.map(|url| ("WEBHOOK_URL", url))).collect();
        let mut gateway = Gateway::on(db.url(), &variables).await;
        gateway.ensure("someone").await;
        for _ in 0..2 {
            gateway.consume("someone", 1).expect(200).await;
        }
        stored.push(db.ask("SELECT count(*) FROM webhooks.events").await);
        assert_eq!(gateway.log().contains("events are stored for WEBHOOK_URL"), stored.len() == 2);
        assert_eq!(gateway.log().contains("no events are stored for it"), stored.len() == 4);
        gateway.stop();
    }
    assert_eq!(stored, [0, 2, 4, 4]);
}

/// A transaction that may write events and does not end delays a change, and nothing else: neither the start nor charges.
#[tokio::test]
async fn a_start_does_not_wait_for_a_transaction_that_may_write_events() {
    let db = database().await;
    let stuck = pg::Tx::begin(db.pool()).await.unwrap();
    webhooks::Receivers::default().wanted(stuck.shared()).await.unwrap();
    let variables = [("WEBHOOK_URL", "http://127.0.0.1:1/events")];
    let mut gateway = Gateway::on(db.url(), &variables).await;
    assert!(gateway.log().contains("WEBHOOK_URL takes effect later"), "{}", gateway.log());
    gateway.ensure("someone").await;
    gateway.consume("someone", 1).expect(200).await;
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.events").await, 0);
    stuck.rollback().await;
    let mut deadline = Deadline::new();
    while db.ask("SELECT count(*) FROM webhooks.receivers").await == 0 {
        assert!(deadline.allows_another(), "{}", gateway.log());
    }
    gateway.consume("someone", 1).expect(200).await;
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.events").await, 1);
    gateway.stop();
}

/// A change that a start has made is not made again later: another process may have started since and made another one.
#[tokio::test]
async fn a_change_is_tried_later_only_if_it_had_to_wait() {
    let db = database().await;
    let clock: Arc<dyn Clock> = Arc::new(testkit::clock());
    let later = async |is_configured| {
        gateway::receivers::begin(db.pool(), &clock, is_configured).await.unwrap().is_some()
    };
    assert!(!later(true).await && !later(true).await && !later(false).await);
    let stuck = pg::Tx::begin(db.pool()).await.unwrap();
    webhooks::Receivers::default().wanted(stuck.shared()).await.unwrap();
    assert!(later(true).await && !later(false).await);
    stuck.rollback().await;
}

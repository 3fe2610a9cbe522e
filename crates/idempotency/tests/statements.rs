//! Cost of looking keys up and storing answers, and rows that the table refuses.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use kernel::{CallerClass, Clock};
use pg::Tx;

use crate::{Request, database, rows_read, success};

/// Counts statements.
struct Counter(Arc<AtomicUsize>);

impl Instrumentation for Counter {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn statements_do_not_grow_with_the_batch_and_read_by_an_index() {
    let (db, at) = (database().await, testkit::clock().now());
    let mut conn = db.connect().await;
    let rows = "INSERT INTO idempotency.answers (user_id, key, caller, fingerprint, created_at, transaction_id, answer) \
        SELECT 'someone', 'k' || n, 'user', sha256('x'), now(), gen_random_uuid(), '{\"v\":1}' \
        FROM generate_series(1, 5000) AS n";
    conn.batch_execute(rows).await.unwrap();
    conn.batch_execute("ANALYZE idempotency.answers").await.unwrap();
    for count in [0_usize, 1, 129] {
        let requests: Vec<Request> = (0..count)
            .map(|number| Request::new("someone", &format!("new {number}"), 1, CallerClass::Service))
            .collect();
        let mut tx = Tx::begin(db.pool()).await.unwrap();
        let counted = Arc::new(AtomicUsize::new(0));
        tx.conn().set_instrumentation(Counter(Arc::clone(&counted)));
        let mut keys = idempotency::look_up(tx.shared(), requests.iter().map(Request::keyed)).await.unwrap();
        for (place, request) in requests.iter().enumerate() {
            keys.add(request.keyed(), place, success(1, at));
        }
        keys.save(&tx).await.unwrap();
        tx.conn().set_instrumentation(|_: InstrumentationEvent<'_>| {});
        assert_eq!(AtomicUsize::load(&counted, Ordering::Relaxed), if count == 0 { 0 } else { 2 });
        let read = rows_read(tx.conn()).await;
        assert_eq!(read, 0, "rows of other keys were read");
        tx.rollback().await;
    }
}

#[tokio::test]
async fn the_table_refuses_what_says_nothing() {
    let db = database().await;
    let mut conn = db.connect().await;
    let row = |values: &str| {
        format!(
            "INSERT INTO idempotency.answers (user_id, key, caller, fingerprint, created_at, transaction_id, answer) \
             VALUES ('someone', 'k', {values})"
        )
    };
    conn.batch_execute(&row("'user', sha256('x'), now(), gen_random_uuid(), NULL")).await.unwrap();
    for (values, constraint) in [
        ("'service', sha256('x'), now(), NULL, NULL", "answers_refusals"),
        ("'service', 'x', now(), gen_random_uuid(), NULL", "answers_fingerprint_check"),
        ("'nobody', sha256('x'), now(), gen_random_uuid(), NULL", "answers_caller"),
        ("'user', sha256('y'), now(), gen_random_uuid(), NULL", "answers_key"),
    ] {
        let refused = conn.batch_execute(&row(values)).await.unwrap_err().to_string();
        assert!(refused.contains(constraint), "{values}: {refused}");
    }
    conn.batch_execute(&row("NULL, sha256('x'), now(), gen_random_uuid(), NULL")).await.unwrap();
    let again = conn.batch_execute(&row("NULL, sha256('y'), now(), gen_random_uuid(), NULL")).await;
    assert!(again.unwrap_err().to_string().contains("answers_key"));
}

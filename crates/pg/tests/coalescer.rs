//! Questions that wait at the same time are answered by one query.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::future::join_all;
use pg::{BatchLimits, Coalescer, DbError, Lookup, Rejected};
use testkit::{Deadline, TestDb};
use tokio::sync::Semaphore;

use crate::support::{ask, notes};

/// Doubles numbers in SQL. Negative ones it does not understand.
struct Double(Arc<Journal>);

struct Journal {
    batches: Mutex<Vec<usize>>,
    gate: Semaphore,
    kill_next: AtomicBool,
}

impl Lookup for Double {
    type Item = i64;
    type Outcome = i64;

    async fn load(&self, conn: &mut AsyncPgConnection, items: &[i64]) -> Result<Vec<i64>, DbError> {
        self.0.batches.lock().unwrap().push(items.len());
        self.0.gate.acquire().await.unwrap().forget();
        if self.0.kill_next.swap(false, Ordering::SeqCst) {
            conn.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await?;
        }
        let mut doubled = Vec::new();
        for item in items {
            doubled.push(ask(conn, &format!("{item} * 2 + 0 / greatest({item} + 1, 0)")).await?);
        }
        Ok(doubled)
    }
}

fn start(db: &TestDb, permits: usize) -> (Coalescer<Double>, Arc<Journal>) {
    let journal = Arc::new(Journal {
        batches: Mutex::default(),
        gate: Semaphore::new(permits),
        kill_next: AtomicBool::new(false),
    });
    let limits = BatchLimits {
        name: "test",
        lanes: 1,
        workers: 1,
        batch_items_max: 50,
        queue_items_max: 100,
        batch_bytes_max: 16 << 20,
        queue_bytes_max: 64 << 20,
        wait_max: Duration::from_secs(30),
    };
    let coalescer = Coalescer::start(db.second_pool(), Double(Arc::clone(&journal)), limits);
    (coalescer, journal)
}

#[tokio::test]
async fn questions_gather_while_one_is_answered() {
    let db = notes().await;
    let (coalescer, journal) = start(&db, 0);
    let asked: Vec<_> = (0..20)
        .map(|n| {
            let coalescer = coalescer.clone();
            tokio::spawn(async move { coalescer.ask("key", n).await })
        })
        .collect();
    let mut deadline = Deadline::new();
    while journal.batches.lock().unwrap().is_empty() {
        assert!(deadline.allows_another(), "no query");
        tokio::task::yield_now().await;
    }
    journal.gate.add_permits(100);
    let answers: Vec<i64> =
        join_all(asked).await.into_iter().map(|joined| joined.unwrap().unwrap()).collect();
    assert_eq!(answers, (0..20).map(|n| n * 2).collect::<Vec<_>>());
    let batches = journal.batches.lock().unwrap().clone();
    assert!(batches.len() <= 2, "{batches:?}");
    assert_eq!(batches.iter().sum::<usize>(), 20);
}

#[tokio::test]
async fn question_that_cannot_be_answered_spoils_no_other() {
    let db = notes().await;
    let (coalescer, _) = start(&db, 100);
    let answers = join_all([5, -1, 6].map(|n| coalescer.ask("key", n))).await;
    assert_eq!(answers, [Ok(10), Err(Rejected::Failed), Ok(12)]);
}

#[tokio::test]
async fn query_whose_connection_is_killed_is_asked_again() {
    let db = notes().await;
    let (coalescer, journal) = start(&db, 100);
    journal.kill_next.store(true, Ordering::SeqCst);
    assert_eq!(coalescer.ask("key", 4).await, Ok(8));
    assert_eq!(journal.batches.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn flushed_coalescer_answers_nothing_more() {
    let db = notes().await;
    let (coalescer, _) = start(&db, 100);
    coalescer.flush().await;
    assert_eq!(coalescer.ask("key", 4).await, Err(Rejected::Full));
}

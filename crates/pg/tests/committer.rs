//! Group commit: what waits is done together, in order, and nothing is lost.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use pg::{BatchLimits, Committer, DbError, PgConnection, Pool, PoolSettings, Rejected, Tx, Work};
use testkit::TestDb;
use tokio::sync::Semaphore;

use crate::support::{ask_pool, count_notes, insert, notes};

/// Writes notes, and goes wrong where an item says so.
struct Notes(Arc<Journal>);

/// What the work did, and whether it may go on.
struct Journal {
    batches: Mutex<Vec<Vec<i64>>>,
    gate: Semaphore,
    kills: AtomicU32,
}

impl Journal {
    fn with(permits: usize, kills: u32) -> Self {
        Self {
            batches: Mutex::default(),
            gate: Semaphore::new(permits),
            kills: AtomicU32::new(kills),
        }
    }
}

#[derive(Clone, Copy)]
struct Item {
    id: i64,
    act: Act,
}

#[derive(Clone, Copy, PartialEq)]
enum Act {
    /// Inserts a note.
    Write,
    /// Violates a constraint.
    Violate,
    /// Inserts a note and ends the server's backend, as long as `kills` are left.
    Kill,
    /// Inserts a note whose commit ends the backend.
    KillInCommit,
    /// Inserts a note and answers one outcome too few.
    Miscount,
    /// Panics.
    Panic,
}

impl Work for Notes {
    type Item = Item;
    type Outcome = i64;
    type Opening = ();

    async fn open(&self, _: &PgConnection, _: &[Item]) -> Result<(), DbError> {
        Ok(())
    }

    async fn run(&self, tx: &mut Tx, items: &[Item], (): ()) -> Result<Vec<i64>, DbError> {
        let ids = items.iter().map(|item| item.id).collect();
        self.0.batches.lock().unwrap().push(ids);
        self.0.gate.acquire().await.unwrap().forget();
        let mut outcomes = Vec::new();
        for item in items {
            self.write(tx, *item).await?;
            if item.act != Act::Miscount {
                outcomes.push(item.id * 10);
            }
        }
        Ok(outcomes)
    }
}

impl Notes {
    async fn write(&self, tx: &mut Tx, item: Item) -> Result<(), DbError> {
        let body = match item.act {
            Act::Violate => "much too long",
            Act::KillInCommit => "doomed",
            _ => "a",
        };
        insert(tx, item.id, body).await?;
        assert!(item.act != Act::Panic, "an item that panics");
        let count_down = |left: u32| left.checked_sub(1);
        let kills = &self.0.kills;
        if item.act == Act::Kill
            && kills
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down)
                .is_ok()
        {
            tx.conn()
                .batch_execute("SELECT pg_terminate_backend(pg_backend_pid())")
                .await?;
        }
        Ok(())
    }
}

const LIMITS: BatchLimits = BatchLimits {
    name: "test",
    lanes: 1,
    workers: 1,
    batch_items_max: 50,
    queue_items_max: 100,
    batch_bytes_max: 16 << 20,
    queue_bytes_max: 64 << 20,
    wait_max: Duration::from_secs(30),
};

const OPEN: usize = 1_000;

/// A committer whose work may begin `permits` batches before it waits.
fn start(db: &TestDb, limits: BatchLimits, permits: usize, kills: u32) -> (Committer<Notes>, Arc<Journal>) {
    let journal = Arc::new(Journal::with(permits, kills));
    let committer = Committer::start(db.second_pool(), Notes(Arc::clone(&journal)), limits);
    (committer, journal)
}

fn write(id: i64) -> Item {
    Item { id, act: Act::Write }
}

/// Hands an item in at once and returns what will become of it.
async fn hand_in(committer: &Committer<Notes>, item: Item) -> tokio::task::JoinHandle<Result<i64, Rejected>> {
    let committer = committer.clone();
    let (handed, in_queue) = tokio::sync::oneshot::channel();
    let submitted = tokio::spawn(async move {
        let mut submission = std::pin::pin!(committer.submit("key", item));
        // The first poll puts the item into the queue.
        let first = futures_util::poll!(submission.as_mut());
        handed.send(()).unwrap();
        match first {
            std::task::Poll::Ready(result) => result,
            std::task::Poll::Pending => submission.await,
        }
    });
    in_queue.await.unwrap();
    submitted
}

async fn wait_for_batches(journal: &Journal, count: usize) {
    let began = Instant::now();
    while journal.batches.lock().unwrap().len() < count {
        assert!(began.elapsed() < Duration::from_secs(30), "no batch in 30 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn lone_item_is_done_at_once_and_answered_after_its_commit() {
    let db = notes().await;
    let (committer, _) = start(&db, LIMITS, OPEN, 0);
    assert_eq!(committer.submit("key", write(1)).await, Ok(10));
    assert_eq!(count_notes(db.pool()).await, 1);
}

#[tokio::test]
async fn items_gather_while_a_batch_is_busy_and_are_committed_together() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, 0, 0);
    let mut submitted = vec![hand_in(&committer, write(0)).await];
    wait_for_batches(&journal, 1).await;
    for id in 1..=60 {
        submitted.push(hand_in(&committer, write(id)).await);
    }
    journal.gate.add_permits(OPEN);
    let outcomes: Vec<i64> = join_all(submitted)
        .await
        .into_iter()
        .map(|joined| joined.unwrap().unwrap())
        .collect();
    assert_eq!(outcomes, (0..=60).map(|id| id * 10).collect::<Vec<_>>());
    let sizes: Vec<usize> = journal.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(
        sizes,
        [1, 50, 10],
        "one alone, then as many as a batch may have, then the rest"
    );
    let transactions = "SELECT count(DISTINCT xmin::text) FROM notes.notes";
    assert_eq!(ask_pool(db.pool(), transactions).await, 3);
}

#[tokio::test]
async fn items_of_one_key_keep_their_order_whatever_the_number_of_lanes() {
    let db = notes().await;
    let limits = BatchLimits {
        lanes: 4,
        batch_items_max: 7,
        ..LIMITS
    };
    let (committer, _) = start(&db, limits, OPEN, 0);
    let keys = ["anna", "berta", "clara"];
    // The ids of a key are apart from those of the others, and rise in the order of submission.
    let submissions =
        (0..25_i64).flat_map(|n| (0_i64..).zip(keys).map(move |(key, name)| (name, key * 100 + n)));
    let results = join_all(submissions.map(|(key, id)| committer.submit(key, write(id)))).await;
    assert!(results.iter().all(Result::is_ok));
    let disorder = "SELECT count(*) FROM notes.notes one JOIN notes.notes two \
        ON one.id / 100 = two.id / 100 AND one.id < two.id AND one.place > two.place";
    assert_eq!(ask_pool(db.pool(), disorder).await, 0);
    assert_eq!(count_notes(db.pool()).await, 75);
}

#[tokio::test]
async fn poisonous_item_fails_alone_and_once() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, 0, 0);
    let first = hand_in(&committer, write(0)).await;
    wait_for_batches(&journal, 1).await;
    let mut submitted = Vec::new();
    for (id, act) in [
        (1, Act::Write),
        (2, Act::Violate),
        (3, Act::Panic),
        (4, Act::Miscount),
        (5, Act::Write),
    ] {
        submitted.push(hand_in(&committer, Item { id, act }).await);
    }
    journal.gate.add_permits(OPEN);
    assert_eq!(first.await.unwrap(), Ok(0));
    let results: Vec<_> = join_all(submitted)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let failed = Err(Rejected::Failed);
    assert_eq!(results, [Ok(10), failed, failed, failed, Ok(50)]);
    let batches = journal.batches.lock().unwrap().clone();
    assert_eq!(
        batches,
        [
            vec![0],
            vec![1, 2, 3, 4, 5],
            vec![1],
            vec![2],
            vec![3],
            vec![4],
            vec![5]
        ]
    );
    assert_eq!(ask_pool(db.pool(), "SELECT sum(id) FROM notes.notes").await, 6);
    assert_eq!(
        committer.submit("key", write(9)).await,
        Ok(90),
        "the lane lives on"
    );
}

#[tokio::test]
async fn single_item_that_fails_is_not_run_again() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, OPEN, 0);
    for (id, act) in [(1, Act::Violate), (2, Act::Miscount), (3, Act::Panic)] {
        assert_eq!(
            committer.submit("key", Item { id, act }).await,
            Err(Rejected::Failed)
        );
    }
    assert_eq!(*journal.batches.lock().unwrap(), [[1], [2], [3]]);
    assert_eq!(count_notes(db.pool()).await, 0);
}

#[tokio::test]
async fn full_queue_turns_away_at_once() {
    let db = notes().await;
    let limits = BatchLimits {
        queue_items_max: 2,
        ..LIMITS
    };
    let (committer, journal) = start(&db, limits, 0, 0);
    let mut submitted = vec![hand_in(&committer, write(0)).await];
    wait_for_batches(&journal, 1).await;
    for id in [1, 2] {
        submitted.push(hand_in(&committer, write(id)).await);
    }
    assert_eq!(committer.submit("key", write(3)).await, Err(Rejected::Full));
    journal.gate.add_permits(OPEN);
    for result in join_all(submitted).await {
        assert!(result.unwrap().is_ok());
    }
    assert_eq!(count_notes(db.pool()).await, 3);
    assert_eq!(committer.submit("key", write(4)).await, Ok(40));
}

#[tokio::test]
async fn item_that_waited_too_long_is_given_up_undone() {
    let db = notes().await;
    let limits = BatchLimits {
        wait_max: Duration::ZERO,
        ..LIMITS
    };
    let (committer, journal) = start(&db, limits, OPEN, 0);
    assert_eq!(
        committer.submit("key", write(1)).await,
        Err(Rejected::Unavailable)
    );
    assert!(journal.batches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn items_whose_callers_have_left_are_done_all_the_same() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, 0, 0);
    let busy = hand_in(&committer, write(1)).await;
    wait_for_batches(&journal, 1).await;
    let waiting = hand_in(&committer, write(2)).await;
    for caller in [busy, waiting] {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    journal.gate.add_permits(OPEN);
    committer.flush().await;
    assert_eq!(count_notes(db.pool()).await, 2);
}

#[tokio::test]
async fn flush_finishes_what_waits_and_then_takes_nothing_more() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, 0, 0);
    let mut submitted = Vec::new();
    for id in 0..10 {
        submitted.push(hand_in(&committer, write(id)).await);
    }
    let mut flush = std::pin::pin!(committer.flush());
    assert!(futures_util::poll!(flush.as_mut()).is_pending());
    assert_eq!(committer.submit("key", write(99)).await, Err(Rejected::Full));
    journal.gate.add_permits(OPEN);
    flush.await;
    assert_eq!(count_notes(db.pool()).await, 10);
    for result in join_all(submitted).await {
        assert!(result.unwrap().is_ok());
    }
    committer.flush().await;
}

#[tokio::test]
async fn batch_whose_connection_is_killed_is_done_again_exactly_once() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, OPEN, 2);
    let item = Item {
        id: 1,
        act: Act::Kill,
    };
    assert_eq!(committer.submit("key", item).await, Ok(10));
    assert_eq!(
        journal.batches.lock().unwrap().len(),
        3,
        "killed twice, done the third time"
    );
    assert_eq!(count_notes(db.pool()).await, 1);
}

#[tokio::test]
async fn batch_that_finds_no_lasting_connection_is_surely_not_done() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, OPEN, 3);
    let item = Item {
        id: 1,
        act: Act::Kill,
    };
    assert_eq!(committer.submit("key", item).await, Err(Rejected::Unavailable));
    assert_eq!(journal.batches.lock().unwrap().len(), 3);
    assert_eq!(count_notes(db.pool()).await, 0);
    assert_eq!(committer.submit("key", item).await, Ok(10));
}

#[tokio::test]
async fn commit_that_breaks_is_told_as_unknown_and_never_repeated() {
    let db = notes().await;
    let (committer, journal) = start(&db, LIMITS, OPEN, 0);
    let item = Item {
        id: 1,
        act: Act::KillInCommit,
    };
    assert_eq!(committer.submit("key", item).await, Err(Rejected::OutcomeUnknown));
    assert_eq!(journal.batches.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn contention_with_another_process_is_tried_again() {
    let db = notes().await;
    let journal = Arc::new(Journal::with(OPEN, 0));
    let mut settings = PoolSettings::new(db.url());
    settings.lock_timeout = Duration::from_millis(500);
    let pool = Pool::new(&settings).unwrap();
    let committer = Committer::start(pool, Notes(Arc::clone(&journal)), LIMITS);
    // The insert of the batch waits for this one, and would be a duplicate if it were committed.
    let mut other = Tx::begin(db.pool()).await.unwrap();
    insert(&mut other, 1, "other").await.unwrap();
    let submitted = hand_in(&committer, write(1)).await;
    wait_for_batches(&journal, 2).await;
    other.rollback().await;
    assert_eq!(submitted.await.unwrap(), Ok(10));
    assert_eq!(count_notes(db.pool()).await, 1);
}

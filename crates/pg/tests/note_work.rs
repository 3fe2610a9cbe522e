//! Work for a committer that writes notes, keeps a journal, and goes wrong on demand.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::SimpleAsyncConnection;
use pg::{BatchLimits, Committer, DbError, PgConnection, Rejected, Tx, Work, batch::BLOCKED_MAX};
use testkit::TestDb;
use tokio::sync::Semaphore;

use crate::support::insert;

/// Weight of a heavy item.
pub const HEAVY: usize = 400;

/// Writes notes, and goes wrong where an item says so.
pub struct Notes(pub Arc<Journal>);

/// What the work did, and whether it may go on.
pub struct Journal {
    pub batches: Mutex<Vec<Vec<i64>>>,
    /// Batches that a single statement did.
    pub plain: Mutex<Vec<Vec<i64>>>,
    pub gate: Semaphore,
    /// How often it was asked what is blocked.
    pub asked: AtomicU32,
    kills: AtomicU32,
}

impl Journal {
    /// Of work that may begin `permits` batches, and ends `kills` backends.
    pub fn with(permits: usize, kills: u32) -> Self {
        Self {
            batches: Mutex::default(),
            plain: Mutex::default(),
            gate: Semaphore::new(permits),
            asked: AtomicU32::new(0),
            kills: AtomicU32::new(kills),
        }
    }
}

#[derive(Clone, Copy)]
pub struct Item {
    pub id: i64,
    pub act: Act,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Act {
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
    /// Panics in the opening of the transaction.
    PanicInOpen,
    /// Panics when all is decided.
    PanicInSave,
    /// Inserts a note that the commit refuses.
    Orphan,
    /// Inserts a note whose commit waits for advisory lock 7.
    WaitInCommit,
    /// Inserts a note and then, when all is decided, waits for advisory lock 7.
    WaitInSave,
    /// Inserts a note and violates a constraint when all is decided.
    FailInSave,
    /// Both.
    WaitThenFail,
    /// Takes longer than any statement may.
    Slow,
    /// Takes as long as an item may be blocked.
    Linger,
    /// Inserts a note, and weighs [`HEAVY`].
    Heavy,
    /// Inserts a note with the opening of the transaction, and once more in it, which cannot be.
    Twice,
    /// Plain: inserts a note.
    Plain,
    /// Plain, but left by the statement.
    PlainLeft,
    /// Plain, and violates a constraint.
    PlainViolate,
    /// Plain: inserts a note whose commit ends the backend.
    PlainKill,
    /// Plain: inserts a note, then the answer cannot be read.
    PlainUnread,
    /// Plain: inserts a note and answers one outcome too few.
    PlainMiscount,
    /// Plain: inserts a note, then panics.
    PlainPanic,
}

impl Item {
    fn body(self) -> &'static str {
        match self.act {
            Act::Violate | Act::PlainViolate => "much too long",
            Act::KillInCommit | Act::PlainKill => "doomed",
            Act::WaitInCommit => "waits",
            _ => "a",
        }
    }
}

impl Work for Notes {
    type Item = Item;
    type Outcome = i64;
    type Opening = ();
    type Plan<'a> = Vec<i64>;

    async fn open(&self, mut conn: &PgConnection, items: &[Item]) -> Result<(), DbError> {
        assert!(items.iter().all(|item| item.act != Act::PanicInOpen), "an item that panics in the opening");
        for item in items.iter().filter(|item| item.act == Act::Twice) {
            let note = pg::sql("INSERT INTO notes.notes (id, body) VALUES ($1, 'a')");
            let note = note.bind::<BigInt, _>(item.id);
            diesel_async::RunQueryDsl::execute(note, &mut conn).await?;
        }
        Ok(())
    }

    async fn decide(&self, tx: &mut Tx, items: &[Item], (): ()) -> Result<Vec<i64>, DbError> {
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

    async fn save(&self, tx: &mut Tx, items: &[Item], outcomes: Vec<i64>) -> Result<Vec<i64>, DbError> {
        for item in items {
            assert!(item.act != Act::PanicInSave, "an item that panics in saving");
            if matches!(item.act, Act::WaitInSave | Act::WaitThenFail) {
                tx.conn().batch_execute("SELECT pg_advisory_xact_lock_shared(7)").await?;
            }
            if matches!(item.act, Act::FailInSave | Act::WaitThenFail) {
                insert(tx, -item.id, "much too long").await?;
            }
        }
        Ok(outcomes)
    }

    async fn blocked(&self, _tx: &mut Tx, items: &[Item]) -> Result<Vec<bool>, DbError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        Ok(vec![false; items.len()])
    }

    fn is_plain(&self, item: &Item) -> bool {
        let plain = [Act::Plain, Act::PlainLeft, Act::PlainViolate, Act::PlainKill, Act::PlainUnread];
        plain.contains(&item.act) || matches!(item.act, Act::PlainMiscount | Act::PlainPanic)
    }

    /// An outcome is 1 more than that of the long way.
    async fn at_once(&self, mut conn: &PgConnection, items: &[Item]) -> Result<Vec<Option<i64>>, DbError> {
        self.0.plain.lock().unwrap().push(items.iter().map(|item| item.id).collect());
        let done = items.iter().filter(|item| item.act != Act::PlainLeft);
        let (ids, bodies): (Vec<i64>, Vec<&str>) = done.map(|item| (item.id, item.body())).unzip();
        let notes = pg::sql("INSERT INTO notes.notes (id, body) SELECT * FROM unnest($1, $2)")
            .bind::<Array<BigInt>, _>(ids)
            .bind::<Array<Text>, _>(bodies);
        diesel_async::RunQueryDsl::execute(notes, &mut conn).await?;
        assert!(items.iter().all(|item| item.act != Act::PlainPanic), "an item that panics");
        if items.iter().any(|item| item.act == Act::PlainUnread) {
            return Err(DbError::Inconsistent("an answer that cannot be read".to_owned()));
        }
        let outcome = |item: &Item| (item.act != Act::PlainLeft).then_some(item.id * 10 + 1);
        Ok(items.iter().filter(|item| item.act != Act::PlainMiscount).map(outcome).collect())
    }

    fn weight(item: &Item) -> usize {
        if item.act == Act::Heavy { HEAVY } else { 1 }
    }
}

impl Notes {
    async fn write(&self, tx: &mut Tx, item: Item) -> Result<(), DbError> {
        insert(tx, item.id, item.body()).await?;
        let sql = match item.act {
            Act::Orphan => format!("UPDATE notes.notes SET parent = 99 WHERE id = {}", item.id),
            Act::Slow => "SELECT pg_sleep(60)".to_owned(),
            Act::Linger => format!("SELECT pg_sleep({})", BLOCKED_MAX.as_secs_f64()),
            _ => String::new(),
        };
        tx.conn().batch_execute(&sql).await?;
        assert!(item.act != Act::Panic, "an item that panics");
        let count_down = |left: u32| left.checked_sub(1);
        let kills = &self.0.kills;
        if item.act == Act::Kill && kills.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count_down).is_ok()
        {
            tx.conn().batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await?;
        }
        Ok(())
    }
}

/// Of one lane.
pub fn limits(workers: usize) -> BatchLimits {
    BatchLimits {
        name: "test",
        lanes: 1,
        workers,
        batch_items_max: 50,
        queue_items_max: 100,
        batch_bytes_max: 16 << 20,
        queue_bytes_max: 64 << 20,
        wait_max: Duration::from_secs(30),
    }
}

/// More batches than any test runs.
pub const OPEN: usize = 1_000;

/// A committer whose work may begin `permits` batches before it waits.
pub fn start(
    db: &TestDb,
    limits: BatchLimits,
    permits: usize,
    kills: u32,
) -> (Committer<Notes>, Arc<Journal>) {
    let journal = Arc::new(Journal::with(permits, kills));
    let committer = Committer::start(db.second_pool(), Notes(Arc::clone(&journal)), limits);
    (committer, journal)
}

pub fn write(id: i64) -> Item {
    Item { id, act: Act::Write }
}

/// What will become of an item.
pub type Submitted = tokio::task::JoinHandle<Result<i64, Rejected>>;

/// Hands an item in at once and returns what will become of it.
pub async fn hand_in(committer: &Committer<Notes>, item: Item) -> Submitted {
    hand_in_for(committer, "key", item).await
}

/// [`hand_in`] under another key.
pub async fn hand_in_for(committer: &Committer<Notes>, key: &'static str, item: Item) -> Submitted {
    let committer = committer.clone();
    let (handed, in_queue) = tokio::sync::oneshot::channel();
    let submitted = tokio::spawn(async move {
        let mut submission = std::pin::pin!(committer.submit(key, item));
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

pub async fn wait_for_batches(journal: &Journal, count: usize) {
    let mut deadline = testkit::Deadline::new();
    while journal.batches.lock().unwrap().len() < count {
        assert!(deadline.allows_another(), "no batch");
        tokio::task::yield_now().await;
    }
}

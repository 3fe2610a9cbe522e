//! Items that another process blocks wait aside, and no other item waits with them.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt},
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join_all;
use pg::{
    BatchLimits, Committer, DbError, PgConnection, Pool, PoolSettings, Rejected, Tx, Work, batch::BLOCKED_MAX,
};
use testkit::TestDb;

use crate::support::{hold_commits, insert, notes, wait_for_commit, wait_until, with_one_and_two_workers};

/// Locks the notes whose numbers the items are (where it is negative, until the commit may end), and goes wrong as a server that speaks German where it is told to.
struct Lock {
    batches: Arc<Mutex<Vec<Vec<i64>>>>,
    manner: Manner,
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Knows what is blocked.
    Asking,
    /// Likewise, but its time-outs have foreign words.
    Foreign,
    /// Does not know.
    Ignorant,
    /// Panics when it is asked.
    Panicking,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

impl Work for Lock {
    type Item = i64;
    type Outcome = i64;

    type Opening = ();
    type Plan<'a> = ();

    async fn open(&self, mut conn: &PgConnection, items: &[i64]) -> Result<(), DbError> {
        self.batches.lock().unwrap().push(items.to_vec());
        if self.manner != Manner::Foreign {
            let ids: Vec<i64> = items.iter().map(|item| item.abs()).collect();
            let sql = "SELECT id FROM notes.notes WHERE id = ANY($1) FOR UPDATE";
            let _locked: Vec<Row> = pg::sql(sql).bind::<Array<BigInt>, _>(ids).load(&mut conn).await?;
        }
        Ok(())
    }

    async fn decide(&self, tx: &mut Tx, items: &[i64], (): ()) -> Result<(), DbError> {
        if self.manner == Manner::Foreign {
            let ids: Vec<String> = items.iter().map(i64::to_string).collect();
            let sql = format!(
                "DO $$ BEGIN PERFORM FROM notes.notes WHERE id IN ({}) FOR UPDATE; \
                 EXCEPTION WHEN lock_not_available THEN RAISE EXCEPTION USING ERRCODE = 'lock_not_available', \
                 MESSAGE = 'storniere Anfrage wegen Zeitüberschreitung einer Sperre'; END $$",
                ids.join(",")
            );
            tx.conn().batch_execute(&sql).await?;
        }
        if items.iter().any(|item| *item < 0) {
            insert(tx, 100, "waits").await?;
        }
        Ok(())
    }

    async fn save(&self, _: &mut Tx, items: &[i64], (): ()) -> Result<Vec<i64>, DbError> {
        Ok(items.to_vec())
    }

    async fn blocked(&self, tx: &mut Tx, items: &[i64]) -> Result<Vec<bool>, DbError> {
        if self.manner == Manner::Ignorant {
            return Ok(vec![false; items.len()]);
        }
        assert!(self.manner != Manner::Panicking, "a panic of the test");
        let sql = "SELECT id FROM notes.notes WHERE id = ANY($1) FOR UPDATE SKIP LOCKED";
        let free: Vec<Row> = pg::sql(sql).bind::<Array<BigInt>, _>(items).load(tx.conn()).await?;
        let is_free = |item| free.iter().any(|row| row.id == item);
        Ok(items.iter().map(|item| !is_free(*item)).collect())
    }
}

with_one_and_two_workers! {
    neighbours_of_a_held_up_item_are_done_together_at_once,
    what_stays_held_up_is_given_up_undone,
    items_that_are_held_up_keep_their_order,
    work_that_cannot_tell_runs_its_items_alone,
    flush_waits_for_what_is_held_up,
    lock_on_a_whole_table_holds_the_lane_up_for_as_long_as_a_caller_waits,
    work_that_cannot_tell_waits_for_two_of_its_items_at_a_time,
    what_a_lock_on_a_whole_table_held_up_is_done_together,
}

struct Bench {
    db: TestDb,
    committer: Committer<Lock>,
    batches: Arc<Mutex<Vec<Vec<i64>>>>,
    /// Holds note 1.
    other: Tx,
}

/// Notes 1 to 9, the first of which somebody else holds, and one lane.
async fn bench(manner: Manner, workers: usize) -> Bench {
    let db = notes().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    for id in 1..=9 {
        insert(&mut tx, id, "a").await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut other = Tx::begin(db.pool()).await.unwrap();
    other.conn().batch_execute("SELECT FROM notes.notes WHERE id = 1 FOR UPDATE").await.unwrap();
    let mut settings = PoolSettings::new(db.url());
    settings.lock_timeout = Duration::from_millis(100);
    let batches = Arc::default();
    let work = Lock { batches: Arc::clone(&batches), manner };
    let limits = BatchLimits {
        name: "test",
        lanes: 1,
        workers,
        batch_items_max: 50,
        queue_items_max: 100,
        batch_bytes_max: 16 << 20,
        queue_bytes_max: 64 << 20,
        wait_max: Duration::from_secs(30),
    };
    let committer = Committer::start(Pool::new(&settings).unwrap(), work, limits);
    Bench { db, committer, batches, other }
}

impl Bench {
    /// Hands the items in, so that they are one batch, and returns what becomes of each.
    fn hand_in(&self, items: impl IntoIterator<Item = i64>) -> Vec<Submitted> {
        // On a runtime of one thread nothing runs before the next await: all are in the queue when the lane wakes up.
        let submit = |item: i64| {
            let committer = self.committer.clone();
            tokio::spawn(async move { committer.submit(&item.abs().to_string(), item).await })
        };
        items.into_iter().map(submit).collect()
    }

    fn tried(&self) -> usize {
        self.batches.lock().unwrap().len()
    }
}

type Submitted = tokio::task::JoinHandle<Result<i64, Rejected>>;

async fn neighbours_of_a_held_up_item_are_done_together_at_once(workers: usize) {
    for manner in [Manner::Asking, Manner::Foreign] {
        let bench = bench(manner, workers).await;
        let mut submitted = bench.hand_in(1..=9);
        let held = submitted.remove(0);
        for (id, done) in (2..).zip(submitted) {
            assert_eq!(done.await.unwrap(), Ok(id));
        }
        assert!(!held.is_finished());
        assert_eq!(bench.tried(), 2, "all, then all but one: {:?}", bench.batches);

        let later = bench.hand_in([5]).remove(0);
        assert_eq!(later.await.unwrap(), Ok(5), "the lane does not wait either");
        let held_again = bench.hand_in([1]).remove(0);
        bench.other.rollback().await;
        assert_eq!(held.await.unwrap(), Ok(1));
        assert_eq!(held_again.await.unwrap(), Ok(1));
    }
}

async fn what_stays_held_up_is_given_up_undone(workers: usize) {
    for manner in [Manner::Asking, Manner::Foreign] {
        let bench = bench(manner, workers).await;
        let began = Instant::now();
        assert_eq!(bench.committer.submit("key", 1).await, Err(Rejected::Blocked));
        let waited = began.elapsed();
        assert!(waited >= BLOCKED_MAX, "{waited:?}");
        assert!(waited < BLOCKED_MAX * 2, "{waited:?}");
        assert_eq!(bench.tried(), 1, "{:?}", bench.batches);
        assert_eq!(bench.committer.submit("key", 2).await, Ok(2), "the lane lives on");
        bench.other.rollback().await;
        assert_eq!(bench.committer.submit("key", 1).await, Ok(1));
    }
}

async fn items_that_are_held_up_keep_their_order(workers: usize) {
    let bench = bench(Manner::Asking, workers).await;
    let mut first = bench.hand_in([1, 2]);
    assert_eq!(first.remove(1).await.unwrap(), Ok(2));
    let mut second = bench.hand_in([3, 1]);
    assert_eq!(second.remove(0).await.unwrap(), Ok(3));
    bench.other.rollback().await;
    assert_eq!(first.remove(0).await.unwrap(), Ok(1));
    assert_eq!(second.remove(0).await.unwrap(), Ok(1));
    assert_eq!(bench.batches.lock().unwrap().last(), Some(&vec![1, 1]));
}

async fn work_that_cannot_tell_runs_its_items_alone(workers: usize) {
    for manner in [Manner::Ignorant, Manner::Panicking] {
        let bench = bench(manner, workers).await;
        let mut submitted = bench.hand_in(1..=3);
        let held = submitted.remove(0);
        for (id, done) in (2..).zip(submitted) {
            assert_eq!(done.await.unwrap(), Ok(id));
        }
        assert!(!held.is_finished());
        bench.other.rollback().await;
        assert_eq!(held.await.unwrap(), Ok(1));
        assert_eq!(bench.committer.submit("key", 2).await, Ok(2), "the lane lives on");
    }
}

async fn flush_waits_for_what_is_held_up(workers: usize) {
    let bench = bench(Manner::Asking, workers).await;
    let held = bench.hand_in([1]).remove(0);
    bench.db.wait_for_waiting(1).await;
    let committer = bench.committer.clone();
    let flushed = tokio::spawn(async move { committer.flush().await });
    while bench.committer.submit("key", 2).await != Err(Rejected::Full) {}
    assert!(!held.is_finished());
    bench.other.rollback().await;
    assert_eq!(held.await.unwrap(), Ok(1));
    flushed.await.unwrap();
}

/// As a migration takes it.
async fn lock_table(bench: &mut Bench) {
    let lock = "LOCK TABLE notes.notes";
    bench.other.conn().batch_execute(lock).await.unwrap();
}

async fn lock_on_a_whole_table_holds_the_lane_up_for_as_long_as_a_caller_waits(workers: usize) {
    let in_manner = |manner| async move {
        let mut bench = bench(manner, workers).await;
        lock_table(&mut bench).await;
        let began = Instant::now();
        // Alone they would take 50 times 100 ms.
        for held in join_all(bench.hand_in(1..=50)).await {
            assert_eq!(held.unwrap(), Err(Rejected::Blocked));
        }
        assert!(began.elapsed() < BLOCKED_MAX * 2, "{:?}", began.elapsed());
        bench.other.rollback().await;
        assert_eq!(bench.committer.submit("key", 1).await, Ok(1));
    };
    join_all([Manner::Asking, Manner::Foreign, Manner::Ignorant].map(in_manner)).await;
}

async fn work_that_cannot_tell_waits_for_two_of_its_items_at_a_time(workers: usize) {
    let mut bench = bench(Manner::Ignorant, workers).await;
    lock_table(&mut bench).await;
    for held in join_all(bench.hand_in(1..=9)).await {
        assert_eq!(held.unwrap(), Err(Rejected::Blocked));
    }
    let sizes: Vec<usize> = bench.batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes[..7], [9, 9, 1, 1, 9, 1, 1]);
    bench.other.rollback().await;
}

async fn what_a_lock_on_a_whole_table_held_up_is_done_together(workers: usize) {
    let mut bench = bench(Manner::Asking, workers).await;
    lock_table(&mut bench).await;
    let submitted = bench.hand_in(1..=9);
    let waits = "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%SKIP LOCKED')";
    wait_until(bench.db.pool(), waits).await;
    bench.other.rollback().await;
    for (id, done) in (1..).zip(submitted) {
        assert_eq!(done.await.unwrap(), Ok(id));
    }
    let tried = bench.batches.lock().unwrap().clone();
    assert_eq!(tried.len(), 2, "{tried:?}");
}

#[tokio::test]
async fn what_waits_for_a_commit_of_its_own_lane_holds_up_nobody_else() {
    let mut bench = bench(Manner::Asking, 2).await;
    let commits = hold_commits(&bench.db).await;
    std::mem::replace(&mut bench.other, commits).rollback().await;
    let first = bench.hand_in([-1]).remove(0);
    wait_for_commit(&bench.db).await;
    let mut later = bench.hand_in([1, 2, 3]);
    let behind = later.remove(0);
    for (id, done) in (2..).zip(later) {
        assert_eq!(done.await.unwrap(), Ok(id));
    }
    for id in 4..=9 {
        assert_eq!(bench.hand_in([id]).remove(0).await.unwrap(), Ok(id));
    }
    assert!(!behind.is_finished());
    bench.other.rollback().await;
    assert_eq!(first.await.unwrap(), Ok(-1));
    assert_eq!(behind.await.unwrap(), Ok(1));
}

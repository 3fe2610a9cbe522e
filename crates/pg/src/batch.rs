//! Group commit: what waits is done together.
//!
//! A [`Committer`] takes everything that waits in a lane, runs it in one transaction, commits once and answers each
//! caller. While it works, the next batch gathers; while it waits for the disk, the next one may work already
//! ([`BatchLimits::workers`]). There is no timer: an idle lane answers a lone request at once.
//! A [`Coalescer`] does the same for hot reads, without a transaction.
//!
//! Correctness never depends on them: any number of processes may run on one database, because the work itself takes the
//! locks it needs. What another process holds up does not hold up the rest: see [`HELD_UP_MAX`].

mod held;

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use tokio::{
    sync::{Mutex, OwnedMutexGuard, mpsc, oneshot},
    task::JoinHandle,
};

pub use self::held::HELD_UP_MAX;
use self::held::{Batch, Held};
use crate::{Attempts, DbError, Pool, Tx, pool::Connection, pool::chain};

/// Set-oriented work of a [`Committer`]: the outcome must be that of doing the items one by one, in order.
pub trait Work: Send + Sync + 'static {
    /// One requested change.
    type Item: Send + Sync + 'static;
    /// What became of it. A refusal is an outcome, not an error.
    type Outcome: Send + 'static;
    /// What the first statements answered.
    type Opening: Send;

    /// Sends the first statements of the transaction, those that need no answer to another: locks, above all. They travel
    /// together with its beginning.
    fn open(
        &self,
        conn: &AsyncPgConnection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Self::Opening, DbError>> + Send;

    /// Does all items in `tx` and answers as many outcomes, in the same order. The caller commits.
    fn run(
        &self,
        tx: &mut Tx,
        items: &[Self::Item],
        opening: Self::Opening,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, DbError>> + Send;

    /// Which of the items another transaction holds up at this moment, in their order. Asked when a batch waited too long
    /// for a lock; must not wait itself, and `tx` is rolled back afterwards.
    ///
    /// Without an answer of its own, items that wait too long are run alone to find out.
    fn held_up(
        &self,
        _tx: &mut Tx,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<bool>, DbError>> + Send {
        let free = vec![false; items.len()];
        async move { Ok(free) }
    }
}

/// Set-oriented reading of a [`Coalescer`].
pub trait Lookup: Send + Sync + 'static {
    /// What is asked for.
    type Item: Send + Sync + 'static;
    /// The answer.
    type Outcome: Send + 'static;

    /// Answers all items, in the same order.
    fn load(
        &self,
        conn: &mut AsyncPgConnection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, DbError>> + Send;
}

/// Bounds of a [`Committer`] or [`Coalescer`].
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Label of the metrics, for example `writes`.
    pub name: &'static str,
    /// Queues that work at the same time. One key always goes to the same lane.
    pub lanes: usize,
    /// Batches of one lane that are under way at the same time: one works, the others are in their commit. More than two
    /// only make the batches smaller.
    pub workers: usize,
    /// Most items of one batch.
    pub batch_items_max: usize,
    /// Most items that wait in one lane.
    pub queue_items_max: usize,
    /// How long an item may wait before it is given up undone.
    pub wait_max: Duration,
}

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue is full, or the service is shutting down. Surely not done.
    #[error("the queue is full")]
    Full,
    /// The database could not be reached, or contention did not end. Surely not done.
    #[error("the database is not available")]
    Unavailable,
    /// Another transaction held what the item needs for longer than [`HELD_UP_MAX`]. Surely not done.
    #[error("another transaction holds up the operation")]
    HeldUp,
    /// The connection broke while committing: done or not.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown,
    /// The item cannot be done, through a fault of ours. Surely not done.
    #[error("the operation failed")]
    Failed,
}

/// The batching executor of writes. Cheap to clone; usable from any runtime.
pub struct Committer<W: Work>(Lanes<W::Item, W::Outcome>);

/// The batching executor of reads. Cheap to clone; usable from any runtime.
pub struct Coalescer<L: Lookup>(Lanes<L::Item, L::Outcome>);

impl<W: Work> Clone for Committer<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Lookup> Clone for Coalescer<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: Work> std::fmt::Debug for Committer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Committer")
    }
}

impl<L: Lookup> std::fmt::Debug for Coalescer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Coalescer")
    }
}

impl<W: Work> Committer<W> {
    /// Starts the lanes on the present tokio runtime.
    #[must_use]
    pub fn start(pool: Pool, work: W, limits: BatchLimits) -> Self {
        let work = Arc::new(work);
        Self(Lanes::start(limits, move |turns| {
            let (pool, work) = (pool.clone(), Arc::clone(&work));
            tokio::spawn(serve(turns, limits, Writer { pool, work }))
        }))
    }

    /// Puts an item in the lane of `key` and waits for its outcome.
    ///
    /// The item belongs to the committer from here on: a caller that stops waiting changes nothing.
    ///
    /// # Errors
    /// [`Rejected`].
    pub async fn submit(&self, key: &str, item: W::Item) -> Result<W::Outcome, Rejected> {
        self.0.submit(key, item).await
    }

    /// Takes no more items, finishes those that wait, and returns when the last one is answered.
    pub async fn flush(&self) {
        self.0.flush().await;
    }
}

impl<L: Lookup> Coalescer<L> {
    /// Starts the lanes on the present tokio runtime.
    #[must_use]
    pub fn start(pool: Pool, lookup: L, limits: BatchLimits) -> Self {
        let lookup = Arc::new(lookup);
        Self(Lanes::start(limits, move |turns| {
            let (pool, lookup) = (pool.clone(), Arc::clone(&lookup));
            tokio::spawn(serve(turns, limits, Reader { pool, lookup }))
        }))
    }

    /// Asks; questions that wait at the same time are answered by one query.
    ///
    /// The answer is read after this call began, so it shows every write acknowledged before.
    ///
    /// # Errors
    /// [`Rejected`].
    pub async fn ask(&self, key: &str, item: L::Item) -> Result<L::Outcome, Rejected> {
        self.0.submit(key, item).await
    }

    /// Takes no more questions and returns when the last one is answered.
    pub async fn flush(&self) {
        self.0.flush().await;
    }
}

struct Waiting<I, O> {
    item: I,
    key: u64,
    since: Instant,
    answer: oneshot::Sender<Result<O, Rejected>>,
}

type Lane<I, O> = mpsc::Receiver<Waiting<I, O>>;

/// What the workers of a lane take turns at: who has it takes what waits and works, and passes it on when nothing is left
/// to do but to commit.
struct Turn<I, O> {
    lane: Lane<I, O>,
    taken: Vec<Waiting<I, O>>,
    /// Items whose key is in a batch that commits at this moment: they would wait for its locks, and all others with them.
    behind: Vec<Waiting<I, O>>,
    held: Held<I, O>,
    committing: Arc<Committing>,
}

/// How many of the batches under way have an item of a key.
#[derive(Default)]
struct Committing(std::sync::Mutex<HashMap<u64, usize>>);

/// The keys of a batch under way, until it is done.
struct UnderWay {
    keys: Vec<u64>,
    committing: Arc<Committing>,
}

impl Committing {
    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<u64, usize>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, keys: Vec<u64>) -> UnderWay {
        let mut counts = self.counts();
        for key in &keys {
            *counts.entry(*key).or_default() += 1;
        }
        drop(counts);
        UnderWay {
            keys,
            committing: Arc::clone(self),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.committing.counts();
        for key in &self.keys {
            if let Entry::Occupied(mut count) = counts.entry(*key) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Turn<I, O> {
    /// Takes what waits: at least one item, unless something is held up. False when nothing can come any more.
    async fn take(&mut self, items_max: usize) -> bool {
        if self.behind.is_empty() {
            return self.held.take(&mut self.lane, &mut self.taken, items_max).await;
        }
        self.taken.append(&mut self.behind);
        while self.taken.len() < items_max {
            match self.lane.try_recv() {
                Ok(waiting) => self.taken.push(waiting),
                Err(_) => break,
            }
        }
        true
    }

    /// Leaves behind what would wait for a batch that is in its commit, unless nothing else is there to do.
    fn leave_behind(&mut self) {
        let counts = self.committing.counts();
        if counts.is_empty() || self.taken.iter().all(|waiting| counts.contains_key(&waiting.key)) {
            return;
        }
        let (behind, taken) = self
            .taken
            .drain(..)
            .partition(|waiting| counts.contains_key(&waiting.key));
        drop(counts);
        (self.behind, self.taken) = (behind, taken);
    }
}

type Turns<I, O> = Arc<Mutex<Turn<I, O>>>;
type MyTurn<I, O> = OwnedMutexGuard<Turn<I, O>>;

type Sender<I, O> = mpsc::Sender<Waiting<I, O>>;

struct Lanes<I, O> {
    senders: Arc<std::sync::RwLock<Vec<Sender<I, O>>>>,
    workers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl<I, O> Clone for Lanes<I, O> {
    fn clone(&self) -> Self {
        Self {
            senders: Arc::clone(&self.senders),
            workers: Arc::clone(&self.workers),
        }
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Lanes<I, O> {
    fn start(limits: BatchLimits, spawn: impl Fn(Turns<I, O>) -> JoinHandle<()>) -> Self {
        let (senders, lanes): (Vec<_>, Vec<_>) = (0..limits.lanes.max(1))
            .map(|_| mpsc::channel(limits.queue_items_max.max(1)))
            .unzip();
        let mut workers = Vec::new();
        for lane in lanes {
            let turns = Arc::new(Mutex::new(Turn {
                lane,
                taken: Vec::with_capacity(limits.batch_items_max),
                behind: Vec::new(),
                held: Held::nothing(),
                committing: Arc::default(),
            }));
            workers.extend((0..limits.workers.max(1)).map(|_| spawn(Arc::clone(&turns))));
        }
        Self {
            senders: Arc::new(std::sync::RwLock::new(senders)),
            workers: Arc::new(Mutex::new(workers)),
        }
    }

    async fn submit(&self, key: &str, item: I) -> Result<O, Rejected> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let key = hasher.finish();
        let sender = self.sender(key).ok_or(Rejected::Full)?;
        let (answer, outcome) = oneshot::channel();
        let waiting = Waiting {
            item,
            key,
            since: Instant::now(),
            answer,
        };
        sender.try_send(waiting).map_err(|_| Rejected::Full)?;
        drop(sender);
        outcome.await.unwrap_or(Err(Rejected::Unavailable))
    }

    fn sender(&self, key: u64) -> Option<Sender<I, O>> {
        let senders = self
            .senders
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = u64::try_from(senders.len()).ok().filter(|count| *count > 0)?;
        let lane = usize::try_from(key % count).ok()?;
        senders.get(lane).cloned()
    }

    async fn flush(&self) {
        self.senders
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clear();
        for worker in self.workers.lock().await.drain(..) {
            if let Err(error) = worker.await {
                tracing::error!(error = %error, "a batching lane ended badly");
            }
        }
    }
}

/// What a lane does with the items it took.
trait Executor: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Outcome: Send + 'static;

    /// Does the items, and drops `turn` as soon as the next batch may begin.
    fn execute(
        &self,
        items: &[Self::Item],
        turn: &mut Option<MyTurn<Self::Item, Self::Outcome>>,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, DbError>> + Send;

    /// As [`Work::held_up`]; reading is held up by nobody.
    fn held_up(&self, items: &[Self::Item]) -> impl Future<Output = Result<Vec<bool>, DbError>> + Send {
        let free = vec![false; items.len()];
        async move { Ok(free) }
    }
}

struct Writer<W> {
    pool: Pool,
    work: Arc<W>,
}

impl<W: Work> Executor for Writer<W> {
    type Item = W::Item;
    type Outcome = W::Outcome;

    async fn execute(
        &self,
        items: &[W::Item],
        turn: &mut Option<MyTurn<W::Item, W::Outcome>>,
    ) -> Result<Vec<W::Outcome>, DbError> {
        let (mut tx, opening) = Tx::begin_with(&self.pool, &*self.work, items).await?;
        match self.work.run(&mut tx, items, opening).await {
            Ok(outcomes) => {
                DbError::expect_rows("a batch", items.len(), outcomes.len())?;
                drop(turn.take());
                tx.commit().await?;
                Ok(outcomes)
            }
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    async fn held_up(&self, items: &[W::Item]) -> Result<Vec<bool>, DbError> {
        let mut tx = Tx::begin(&self.pool).await?;
        let held_up = self.work.held_up(&mut tx, items).await;
        tx.rollback().await;
        held_up
    }
}

struct Reader<L> {
    pool: Pool,
    lookup: Arc<L>,
}

impl<L: Lookup> Executor for Reader<L> {
    type Item = L::Item;
    type Outcome = L::Outcome;

    async fn execute(
        &self,
        items: &[L::Item],
        _turn: &mut Option<MyTurn<L::Item, L::Outcome>>,
    ) -> Result<Vec<L::Outcome>, DbError> {
        let mut conn = self.pool.get().await?;
        let outcomes = match self.lookup.load(&mut conn, items).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // A connection that has just broken may not know it yet, and the next attempt would get it again.
                drop(Connection::take(conn));
                return Err(error);
            }
        };
        DbError::expect_rows("a lookup", items.len(), outcomes.len())?;
        Ok(outcomes)
    }
}

const ATTEMPTS_MAX: u32 = 3;

async fn serve<E: Executor>(turns: Turns<E::Item, E::Outcome>, limits: BatchLimits, executor: E) {
    let items_max = limits.batch_items_max.max(1);
    loop {
        let mut turn = Arc::clone(&turns).lock_owned().await;
        if !turn.take(items_max).await {
            return;
        }
        if limits.workers > 1 && turn.held.is_empty() {
            turn.leave_behind();
        }
        let Turn {
            lane,
            taken,
            held,
            committing,
            ..
        } = &mut *turn;
        let under_way = committing.begin(taken.iter().map(|waiting| waiting.key).collect());
        if !taken.is_empty() {
            metrics::histogram!("committer_batch_size", "queue" => limits.name).record(count(taken.len()));
            metrics::gauge!("committer_queue_depth", "queue" => limits.name).set(count(lane.len()));
        }
        let (items, answers) = admit(taken, limits);
        if !held.is_empty() {
            held.look_again(&executor, limits, items, answers).await;
        } else if !items.is_empty() {
            finish(&executor, limits, items, answers, turn, &turns).await;
        }
        drop(under_way);
    }
}

#[expect(
    clippy::as_conversions,
    reason = "metrics are floats; a queue is far below 2^52"
)]
fn count(items: usize) -> f64 {
    items as f64
}

type Answers<O> = Vec<oneshot::Sender<Result<O, Rejected>>>;

/// Splits what was taken; what waited too long is given up here, before anything is done.
fn admit<I, O>(taken: &mut Vec<Waiting<I, O>>, limits: BatchLimits) -> (Vec<I>, Answers<O>) {
    let (mut items, mut answers) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
    for waiting in taken.drain(..) {
        let waited = waiting.since.elapsed();
        metrics::histogram!("committer_queue_wait_seconds", "queue" => limits.name)
            .record(waited.as_secs_f64());
        if waited > limits.wait_max {
            respond(waiting.answer, Err(Rejected::Unavailable));
        } else {
            items.push(waiting.item);
            answers.push(waiting.answer);
        }
    }
    (items, answers)
}

/// Runs the batch; if it fails for a reason that lies in an item, only the one at fault fails, and only what is held up
/// waits.
async fn finish<E: Executor>(
    executor: &E,
    limits: BatchLimits,
    items: Vec<E::Item>,
    answers: Answers<E::Outcome>,
    turn: MyTurn<E::Item, E::Outcome>,
    turns: &Turns<E::Item, E::Outcome>,
) {
    let began = Instant::now();
    let mut turn = Some(turn);
    let result = attempt(executor, &items, &mut turn).await;
    metrics::histogram!("committer_commit_seconds", "queue" => limits.name)
        .record(began.elapsed().as_secs_f64());
    let error = match result {
        Ok(outcomes) => {
            return answers
                .into_iter()
                .zip(outcomes)
                .for_each(|(answer, outcome)| respond(answer, Ok(outcome)));
        }
        Err(error) => error,
    };
    let batch = Batch::new(items, answers, began);
    match rejection(&error) {
        Some(rejected) if !matches!(error, DbError::LockTimeout(_)) => {
            tracing::warn!(queue = limits.name, error = %chain(&error), "a batch was not done");
            batch.reject(rejected);
        }
        _ => {
            let mut turn = match turn {
                Some(turn) => turn,
                None => Arc::clone(turns).lock_owned().await,
            };
            turn.held.sort_out(executor, limits, batch, &error).await;
        }
    }
}

async fn attempt<E: Executor>(
    executor: &E,
    items: &[E::Item],
    turn: &mut Option<MyTurn<E::Item, E::Outcome>>,
) -> Result<Vec<E::Outcome>, DbError> {
    let mut attempts = Attempts::up_to(ATTEMPTS_MAX);
    loop {
        // A panic must not end the lane: everyone after this batch would be turned away until the process restarts.
        let result = AssertUnwindSafe(executor.execute(items, turn))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(DbError::Inconsistent("the work of a batch panicked".to_owned())));
        match result {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

/// What every item of a batch is told; `None` when the fault may lie in a single one.
fn rejection(error: &DbError) -> Option<Rejected> {
    match error {
        DbError::OutcomeUnknown(_) => Some(Rejected::OutcomeUnknown),
        DbError::LockTimeout(_) => Some(Rejected::HeldUp),
        error if error.is_transient() => Some(Rejected::Unavailable),
        _ => None,
    }
}

fn respond<O>(answer: oneshot::Sender<Result<O, Rejected>>, outcome: Result<O, Rejected>) {
    if answer.send(outcome).is_err() {
        tracing::debug!("the caller of a finished operation is gone");
    }
}

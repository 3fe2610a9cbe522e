//! Group commit: what waits is done together.
//!
//! A [`Committer`] takes everything that waits in a lane, runs it in one transaction, commits once and answers each
//! caller. While it decides, the next batch gathers; while it writes and waits for the disk, the next one may decide already
//! ([`BatchLimits::workers`]). There is no timer: an idle lane answers a lone request at once.
//! A [`Coalescer`] does the same for hot reads, without a transaction.
//!
//! Correctness never depends on them: any number of processes may run on one database, because the work itself takes the
//! locks it needs. What another process holds up does not hold up the rest: see [`HELD_UP_MAX`].

mod answer;
mod executor;
mod held;
mod items;
mod lanes;
mod monitor;
mod turn;
mod worker;

use std::{future::Future, sync::Arc, time::Duration};

use diesel_async::AsyncPgConnection;

use self::{
    executor::{Reader, Writer},
    lanes::Lanes,
    worker::Worker,
};
pub use self::{held::HELD_UP_MAX, monitor::QueueHealth};
use crate::{DbError, Pool, Tx};

/// Set-oriented work of a [`Committer`]: the outcome must be that of doing the items one by one, in order.
pub trait Work: Send + Sync + 'static {
    /// One requested change.
    type Item: Send + Sync + 'static;
    /// What became of it. A refusal is an outcome, not an error.
    type Outcome: Send + 'static;
    /// What the first statements answered.
    type Opening: Send;
    /// What is to be written.
    type Plan<'a>: Send;

    /// Sends the first statements of the transaction, those that need no answer to another: locks, above all. They travel
    /// together with its beginning.
    fn open(
        &self,
        conn: &AsyncPgConnection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Self::Opening, DbError>> + Send;

    /// Takes what locks are missing, reads what there is to be read, and decides all items.
    ///
    /// The next batch begins when this is done, while this one writes. Items of the keys of this one do not, before it is in
    /// its commit; what others lock or read of the same rows must wait for a lock of this one, or be such that their writes
    /// fail with [`DbError::Contention`], as between two processes.
    fn decide<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Self::Item],
        opening: Self::Opening,
    ) -> impl Future<Output = Result<Self::Plan<'a>, DbError>> + Send;

    /// Writes what was decided and answers as many outcomes as there are items, in the same order. The caller commits.
    fn save<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Self::Item],
        plan: Self::Plan<'a>,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, DbError>> + Send;

    /// Which of the items another transaction holds up at this moment, in their order. Asked when a batch waited too long
    /// for a lock; must not wait itself, and `tx` is rolled back afterwards.
    ///
    /// Without an answer of its own, items that wait too long are run alone to find out. A time-out of the question itself,
    /// as behind the lock of a whole table, stands for all of them.
    fn held_up(
        &self,
        _tx: &mut Tx,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<bool>, DbError>> + Send {
        let free = vec![false; items.len()];
        async move { Ok(free) }
    }

    /// Memory that an item takes while it waits, about, in bytes. For items that own texts: with their length.
    #[must_use]
    fn weight(_item: &Self::Item) -> usize {
        size_of::<Self::Item>()
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
    /// Batches of one lane that are under way at the same time: one decides, the others write or are in their commit. More
    /// than two only make the batches smaller.
    pub workers: usize,
    /// Most items of one batch.
    pub batch_items_max: usize,
    /// Most items that wait in one lane.
    pub queue_items_max: usize,
    /// Most bytes of one batch, by [`Work::weight`]. A heavier item is a batch of its own.
    pub batch_bytes_max: usize,
    /// Most bytes that wait in one lane.
    pub queue_bytes_max: usize,
    /// How long an item may wait before it is given up undone.
    pub wait_max: Duration,
}

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue is full, or the service is shutting down. Surely not done.
    #[error("the queue is full")]
    Full,
    /// The database could not be reached, or cannot do it for now, or contention did not end. Surely not done.
    #[error("the database is not available")]
    Unavailable,
    /// Another transaction held what the item needs for longer than [`HELD_UP_MAX`]. Surely not done.
    #[error("another transaction holds up the operation")]
    HeldUp,
    /// The connection broke while committing, or the lane ended with the item in a batch: done or not.
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
        Self(Lanes::start(limits, move |turns, monitor| {
            let (pool, work) = (pool.clone(), Arc::clone(&work));
            tokio::spawn(Worker::new(Writer { pool, work }, limits, monitor).serve(turns))
        }))
    }

    /// Puts an item in the lane of `key` and waits for its outcome.
    ///
    /// The item belongs to the committer from here on: a caller that stops waiting changes nothing.
    ///
    /// # Errors
    /// [`Rejected`].
    pub async fn submit(&self, key: &str, item: W::Item) -> Result<W::Outcome, Rejected> {
        let weight = W::weight(&item);
        self.0.submit(key, item, weight).await
    }

    /// How the queue fares.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        self.0.health()
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
        Self(Lanes::start(limits, move |turns, monitor| {
            let (pool, lookup) = (pool.clone(), Arc::clone(&lookup));
            tokio::spawn(Worker::new(Reader { pool, lookup }, limits, monitor).serve(turns))
        }))
    }

    /// Asks; questions that wait at the same time are answered by one query.
    ///
    /// The answer is read after this call began, so it shows every write acknowledged before.
    ///
    /// # Errors
    /// [`Rejected`].
    pub async fn ask(&self, key: &str, item: L::Item) -> Result<L::Outcome, Rejected> {
        self.0.submit(key, item, size_of::<L::Item>()).await
    }

    /// How the queue fares.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        self.0.health()
    }

    /// Takes no more questions and returns when the last one is answered.
    pub async fn flush(&self) {
        self.0.flush().await;
    }
}

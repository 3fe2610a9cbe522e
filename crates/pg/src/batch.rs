//! Group commit: what waits is done together.
//!
//! A [`Committer`] takes everything that waits in a lane, runs it in one transaction, commits once and answers each
//! caller. While it decides, the next batch gathers; while it writes and waits for the disk, the next one may decide already
//! ([`BatchLimits::workers`]). There is no timer: an idle lane answers a lone request at once.
//! A [`Coalescer`] does the same for hot reads, without a transaction.
//!
//! Correctness never depends on them: any number of processes may run on one database, because the work itself takes the
//! locks it needs. What another process blocks does not block the rest: see [`BLOCKED_MAX`].

mod answer;
mod executor;
mod held;
mod items;
mod lanes;
mod limits;
mod meters;
mod monitor;
mod runner;
mod turn;
mod work;
mod worker;

use std::sync::Arc;

pub use self::{
    answer::Rejected,
    limits::{BLOCKED_MAX, BatchLimits},
    monitor::QueueHealth,
    work::{Lookup, Work},
};
use self::{
    executor::{Reader, Writer},
    lanes::Lanes,
};
use crate::Pool;

/// The batching executor of writes. Cheap to clone; usable from any runtime.
pub struct Committer<W: Work>(Arc<Lanes<Writer<W>>>);

/// The batching executor of reads. Cheap to clone; usable from any runtime.
pub struct Coalescer<L: Lookup>(Arc<Lanes<Reader<L>>>);

impl<W: Work> Clone for Committer<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Lookup> Clone for Coalescer<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
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
        Self(Lanes::start(limits, Writer { pool, work }))
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

    /// State of the queue.
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
        Self(Lanes::start(limits, Reader { pool, lookup }))
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

    /// State of the queue.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        self.0.health()
    }

    /// Takes no more questions and returns when the last one is answered.
    pub async fn flush(&self) {
        self.0.flush().await;
    }
}

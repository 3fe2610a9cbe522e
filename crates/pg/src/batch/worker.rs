//! One worker of a lane: takes batches and sees each to its end.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, Histogram};

use super::{
    BatchLimits,
    executor::{Executor, Progress, rejection},
    items::Batch,
    monitor::Monitor,
    turn::{MyTurn, Taken, Turns},
};
use crate::{DbError, pool::chain};

pub(super) struct Worker<E> {
    pub(super) executor: E,
    pub(super) limits: BatchLimits,
    meters: OnceLock<Meters>,
    monitor: Arc<Monitor>,
}

/// The metrics of a queue.
pub(super) struct Meters {
    batch_size: Histogram,
    queue_depth: Gauge,
    queue_wait: Histogram,
    commit: Histogram,
    pub(super) isolations: Counter,
    pub(super) held_up: Counter,
}

impl<E: Executor> Worker<E> {
    pub(super) fn new(executor: E, limits: BatchLimits, monitor: Arc<Monitor>) -> Self {
        Self { executor, limits, meters: OnceLock::new(), monitor }
    }

    /// Works until nothing can come any more.
    pub(super) async fn serve(self, turns: Turns<E::Item, E::Outcome>) {
        loop {
            let mut turn = turns.next().await;
            let (batch, under_way) = match turn.take(&self).await {
                Taken::Work(batch, under_way) => (batch, under_way),
                Taken::Claimed => continue,
                Taken::Closed => return,
            };
            let busy = self.monitor.begin();
            if !turn.held.is_empty() {
                turn.held.look_again(&self, batch).await;
            } else if !batch.is_empty() {
                self.finish(batch, turn, &turns).await;
            }
            drop((under_way, busy));
        }
    }

    /// Looked up once, and not before the first batch: a recorder that is installed after the lanes began is found too.
    pub(super) fn meters(&self) -> &Meters {
        self.meters.get_or_init(|| Meters::of(self.limits.name))
    }

    /// Tells what became of a batch as a whole, or gives it back: the fault may lie in a single item.
    pub(super) fn reject(
        &self,
        batch: Batch<E::Item, E::Outcome>,
        error: &DbError,
    ) -> Option<Batch<E::Item, E::Outcome>> {
        match rejection(error) {
            Some(rejected) if !matches!(error, DbError::LockTimeout(_)) => {
                tracing::warn!(queue = self.limits.name, items = batch.len(), error = %chain(error), "the requests of a batch are answered with 503");
                batch.reject(rejected);
                None
            }
            _ => Some(batch),
        }
    }

    /// Runs items together, and notes how that ended.
    pub(super) async fn attempt(
        &self,
        batch: &mut Batch<E::Item, E::Outcome>,
        progress: &mut Progress<E::Item, E::Outcome>,
    ) -> Result<Vec<E::Outcome>, DbError> {
        let result = batch.attempt(&self.executor, progress).await;
        self.monitor.ended(result.as_ref().err(), progress.is_committing());
        result
    }

    /// Runs the batch; if it fails for a reason that lies in an item, only the one at fault fails, and only what is held
    /// up waits.
    async fn finish(
        &self,
        mut batch: Batch<E::Item, E::Outcome>,
        turn: MyTurn<E::Item, E::Outcome>,
        turns: &Turns<E::Item, E::Outcome>,
    ) {
        let began = Instant::now();
        let mut progress = Progress::passing(turn);
        let result = self.attempt(&mut batch, &mut progress).await;
        self.meters().commit.record(began.elapsed().as_secs_f64());
        let error = match result {
            Ok(outcomes) => return batch.answer(outcomes),
            Err(error) => error,
        };
        let turn = progress.into_turn();
        if let Some(batch) = self.reject(batch, &error) {
            let mut turn = match turn {
                Some(turn) => turn,
                None => turns.claim().await,
            };
            turn.held.sort_out(self, batch, &error).await;
        }
    }
}

impl Meters {
    fn of(queue: &'static str) -> Self {
        Self {
            batch_size: metrics::histogram!("committer_batch_size", "queue" => queue),
            queue_depth: metrics::gauge!("committer_queue_depth", "queue" => queue),
            queue_wait: metrics::histogram!("committer_queue_wait_seconds", "queue" => queue),
            commit: metrics::histogram!("committer_commit_seconds", "queue" => queue),
            isolations: metrics::counter!("committer_isolations_total", "queue" => queue),
            held_up: metrics::counter!("committer_held_up_total", "queue" => queue),
        }
    }

    /// A batch of `items` was taken, and `left` wait on.
    pub(super) fn batch(&self, items: usize, left: usize) {
        self.batch_size.record(count(items));
        self.queue_depth.set(count(left));
    }

    /// An item waited for its batch.
    pub(super) fn waited(&self, waited: Duration) {
        self.queue_wait.record(waited.as_secs_f64());
    }
}

#[expect(clippy::as_conversions, reason = "metrics are floats; a queue is far below 2^52")]
fn count(items: usize) -> f64 {
    items as f64
}

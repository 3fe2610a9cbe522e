//! The workers of a lane take batches and see each to its end: the executor of a queue with its limits, metrics and monitor.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use metrics::{Counter, Gauge, Histogram};

use super::{
    BatchLimits,
    answer::Rejected,
    executor::{Executor, Progress, attempt, rejection},
    held,
    items::Batch,
    monitor::Monitor,
    turn::{MyTurn, Taken, Turns},
};
use crate::{DbError, error::chain};

/// The metrics of a queue.
pub(super) struct Meters {
    batch_size: Histogram,
    queue_depth: Gauge,
    pub(super) queue_wait: Histogram,
    pub(super) commit: Histogram,
    pub(super) isolations: Counter,
    pub(super) blocked: Counter,
}

impl Meters {
    pub(super) fn new(queue: &'static str) -> Self {
        Self {
            batch_size: metrics::histogram!("committer_batch_size", "queue" => queue),
            queue_depth: metrics::gauge!("committer_queue_depth", "queue" => queue),
            queue_wait: metrics::histogram!("committer_queue_wait_seconds", "queue" => queue),
            commit: metrics::histogram!("committer_commit_seconds", "queue" => queue),
            isolations: metrics::counter!("committer_isolations_total", "queue" => queue),
            blocked: metrics::counter!("committer_blocked_total", "queue" => queue),
        }
    }

    /// A batch of `items` was taken, and `left` wait on.
    pub(super) fn batch(&self, items: usize, left: usize) {
        self.batch_size.record(count(items));
        self.queue_depth.set(count(left));
    }
}

#[expect(clippy::as_conversions, reason = "metrics are floats; a queue is far below 2^52")]
fn count(items: usize) -> f64 {
    items as f64
}

pub(super) struct Runner<E> {
    pub(super) executor: E,
    pub(super) limits: BatchLimits,
    pub(super) monitor: Monitor,
    meters: OnceLock<Meters>,
}

impl<E: Executor> Runner<E> {
    pub(super) fn new(executor: E, limits: BatchLimits) -> Self {
        Self { executor, limits, monitor: Monitor::new(limits.name), meters: OnceLock::new() }
    }

    /// Looked up once, and not before the first batch: a recorder that is installed after the lanes began is found too.
    pub(super) fn meters(&self) -> &Meters {
        self.meters.get_or_init(|| Meters::new(self.limits.name))
    }

    /// Runs items together, and notes how that ended. Should nobody live to see the end of it, the callers are told what that
    /// leaves open.
    pub(super) async fn attempt(
        &self,
        batch: &mut Batch<E::Item, E::Outcome>,
        progress: &mut Progress<E::Item, E::Outcome>,
    ) -> Result<Vec<E::Outcome>, DbError> {
        batch.unless_answered(E::CUT_SHORT);
        let result = attempt(&self.executor, batch.items(), progress).await;
        if result.is_err() {
            // Who goes on with the items answers an unknown outcome at once; everything else is surely not done.
            batch.unless_answered(Rejected::Unavailable);
        }
        self.monitor.ended(result.as_ref().err(), progress.is_committing());
        result
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
}

/// Works until nothing can come any more.
pub(super) async fn serve<E: Executor>(runner: Arc<Runner<E>>, turns: Arc<Turns<E::Item, E::Outcome>>) {
    loop {
        let mut turn = turns.next().await;
        let (batch, under_way) = match turn.take(runner.limits, || runner.meters()).await {
            Taken::Work(batch, under_way) => (batch, under_way),
            Taken::Claimed => continue,
            Taken::Closed => return,
        };
        let busy = runner.monitor.begin();
        if !turn.held.is_empty() {
            held::look_again(&mut turn.held, &runner, batch).await;
        } else if !batch.is_empty() {
            finish(&runner, batch, turn, &turns).await;
        }
        drop((under_way, busy));
    }
}

/// Runs the batch; if it fails for a reason that lies in an item, only the one at fault fails, and only what is held
/// up waits.
async fn finish<E: Executor>(
    runner: &Runner<E>,
    mut batch: Batch<E::Item, E::Outcome>,
    turn: MyTurn<E::Item, E::Outcome>,
    turns: &Turns<E::Item, E::Outcome>,
) {
    let began = Instant::now();
    let mut progress = Progress::passing(turn);
    let result = runner.attempt(&mut batch, &mut progress).await;
    runner.meters().commit.record(began.elapsed());
    let error = match result {
        Ok(outcomes) => return batch.answer(outcomes),
        Err(error) => error,
    };
    let turn = progress.into_turn();
    if let Some(batch) = runner.reject(batch, &error) {
        let mut turn = match turn {
            Some(turn) => turn,
            None => turns.claim().await,
        };
        held::sort_out(&mut turn.held, runner, batch, &error).await;
    }
}

//! Runs batches: the executor of a queue with its limits, metrics and monitor.

use std::sync::OnceLock;

use super::{
    answer::Rejected,
    executor::{Executor, Progress, at_once, attempt, rejection},
    items::Batch,
    limits::BatchLimits,
    meters::Meters,
    monitor::Monitor,
};
use crate::{DbError, error::chain};

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

    /// Does plain items in one statement, and returns those that are still to be done: all of them, with the error, after a failure
    /// that left nothing behind.
    pub(super) async fn at_once(
        &self,
        mut batch: Batch<E::Item, E::Outcome>,
    ) -> (Batch<E::Item, E::Outcome>, Option<DbError>) {
        batch.unless_answered(E::CUT_SHORT);
        let items = batch.len();
        let (mut rest, error) = match at_once(&self.executor, batch.items()).await {
            Ok(outcomes) => (batch.answer_some(outcomes), None),
            Err(error @ DbError::OutcomeUnknown(_)) => {
                self.monitor.ended(Some(&error), true);
                self.reject(batch, &error);
                return (Batch::empty(), None);
            }
            Err(error) => {
                let queue = self.limits.name;
                if error.is_unavailable() {
                    tracing::debug!(queue, items, error = %chain(&error), "a statement did nothing; its items run in a transaction");
                } else {
                    tracing::error!(queue, items, error = %chain(&error), "a statement failed; its items run in a transaction");
                }
                (batch, Some(error))
            }
        };
        let done = items.saturating_sub(rest.len());
        if done > 0 {
            self.monitor.ended(None, true);
            self.meters().at_once.increment(u64::try_from(done).unwrap_or_default());
        }
        rest.unless_answered(Rejected::Unavailable);
        (rest, error)
    }

    /// Reports the outcome of a batch as a whole, or gives it back: the fault may lie in a single item.
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

//! Items that somebody else's transaction holds up, and what becomes of those that stood beside them.
//!
//! A batch waits for its locks in the statement that takes them, for as long as the sessions of its pool allow
//! (`lock_timeout`): usually others are done in milliseconds, and the happy path pays no statement for the rest. When that
//! ends in a time-out, the work is asked which items are held up ([`Work::held_up`]). They are set aside, and everything
//! else is done at once. From then on the lane asks before each batch, so that nothing waits behind the items aside, and
//! they keep their place before later items that need the same. What is held up for [`HELD_UP_MAX`] is given up undone.
//!
//! Asking beats the alternatives: running 256 items one by one is as many commits, locking with `SKIP LOCKED` always
//! would set aside what two processes merely share, and waiting on a connection of its own would need one for each item.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Answers, BatchLimits, Executor, Lane, Rejected, Waiting, attempt, chain, rejection, respond};
use crate::DbError;

/// How long an item may be held up by another transaction (HTTP contract 1.11: a repeat waits for up to 2 s).
pub const HELD_UP_MAX: Duration = Duration::from_secs(2);

/// Pause between two looks at what is held up while nothing new comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The items of a lane that were set aside, in the order in which they came.
pub(super) struct Held<I, O> {
    batch: Batch<I, O>,
}

/// Items with their callers.
pub(super) struct Batch<I, O> {
    items: Vec<I>,
    callers: Vec<Caller<O>>,
}

/// Who waits for an item, and until when it may be held up.
struct Caller<O> {
    answer: oneshot::Sender<Result<O, Rejected>>,
    until: Instant,
}

impl<I, O> Batch<I, O> {
    /// A batch that is first tried at `began`.
    pub(super) fn new(items: Vec<I>, answers: Answers<O>, began: Instant) -> Self {
        let until = began + HELD_UP_MAX;
        let callers = answers.into_iter().map(|answer| Caller { answer, until });
        Self {
            items,
            callers: callers.collect(),
        }
    }

    fn empty() -> Self {
        Self {
            items: Vec::new(),
            callers: Vec::new(),
        }
    }

    fn push(&mut self, item: I, caller: Caller<O>) {
        self.items.push(item);
        self.callers.push(caller);
    }

    fn into_pairs(self) -> impl Iterator<Item = (I, Caller<O>)> {
        self.items.into_iter().zip(self.callers)
    }

    /// Answers everyone the same.
    pub(super) fn reject(self, rejected: Rejected) {
        for caller in self.callers {
            respond(caller.answer, Err(rejected));
        }
    }

    fn answer(self, outcomes: Vec<O>) {
        for (caller, outcome) in self.callers.into_iter().zip(outcomes) {
            respond(caller.answer, Ok(outcome));
        }
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Held<I, O> {
    pub(super) fn nothing() -> Self {
        Self {
            batch: Batch::empty(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.items.is_empty()
    }

    /// Takes what waits in the lane: at least one item, unless something is held up and wants to be looked at again. False
    /// when nothing can come any more.
    pub(super) async fn take(
        &self,
        lane: &mut Lane<I, O>,
        taken: &mut Vec<Waiting<I, O>>,
        items_max: usize,
    ) -> bool {
        if self.is_empty() {
            return lane.recv_many(taken, items_max).await > 0;
        }
        let new = tokio::time::timeout(LOOK_EVERY, lane.recv_many(taken, items_max)).await;
        if new == Ok(0) {
            // The lane is closed and would answer at once for ever.
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Runs what was held up, with what came since, as far as it is free now.
    pub(super) async fn look_again<E>(
        &mut self,
        executor: &E,
        limits: BatchLimits,
        items: Vec<I>,
        answers: Answers<O>,
    ) where
        E: Executor<Item = I, Outcome = O>,
    {
        let now = Instant::now();
        let aside = std::mem::replace(&mut self.batch, Batch::empty());
        let mut batch = Batch::empty();
        for (item, caller) in aside
            .into_pairs()
            .chain(Batch::new(items, answers, now).into_pairs())
        {
            if caller.until > now {
                batch.push(item, caller);
            } else {
                respond(caller.answer, Err(Rejected::HeldUp));
            }
        }
        let (free, stuck) = part(executor, batch).await;
        self.set_aside(stuck, limits);
        self.run(executor, limits, free).await;
    }

    /// A batch met a lock that did not open, or failed for a reason that may lie in one of its items: sets aside what is
    /// held up, and does the rest.
    ///
    /// Which it was is not left to the error alone: a server that speaks another language words it otherwise.
    pub(super) async fn sort_out<E>(
        &mut self,
        executor: &E,
        limits: BatchLimits,
        batch: Batch<I, O>,
        error: &DbError,
    ) where
        E: Executor<Item = I, Outcome = O>,
    {
        let (free, stuck) = part(executor, batch).await;
        let nothing_stuck = stuck.items.is_empty();
        self.set_aside(stuck, limits);
        if nothing_stuck && !matches!(error, DbError::LockTimeout(_)) {
            self.run_alone(executor, limits, free, error).await;
        } else {
            self.run(executor, limits, free).await;
        }
    }

    /// Runs a batch together, and alone what cannot be run together.
    async fn run<E>(&mut self, executor: &E, limits: BatchLimits, batch: Batch<I, O>)
    where
        E: Executor<Item = I, Outcome = O>,
    {
        if batch.items.is_empty() {
            return;
        }
        match attempt(executor, &batch.items, &mut None).await {
            Ok(outcomes) => batch.answer(outcomes),
            Err(error) => match rejection(&error) {
                Some(rejected) if !matches!(error, DbError::LockTimeout(_)) => {
                    tracing::warn!(queue = limits.name, items = batch.items.len(), error = %chain(&error), "a batch was not done");
                    batch.reject(rejected);
                }
                _ => self.run_alone(executor, limits, batch, &error).await,
            },
        }
    }

    async fn run_alone<E>(&mut self, executor: &E, limits: BatchLimits, batch: Batch<I, O>, error: &DbError)
    where
        E: Executor<Item = I, Outcome = O>,
    {
        if let [_] = batch.items.as_slice()
            && !matches!(error, DbError::LockTimeout(_))
        {
            tracing::error!(queue = limits.name, error = %chain(error), "an operation failed");
            batch.reject(rejection(error).unwrap_or(Rejected::Failed));
            return;
        }
        tracing::error!(queue = limits.name, items = batch.items.len(), error = %chain(error), "a batch failed; its items run alone");
        metrics::counter!("committer_isolations_total", "queue" => limits.name).increment(1);
        let mut stuck = Batch::empty();
        for (item, caller) in batch.into_pairs() {
            match attempt(executor, std::slice::from_ref(&item), &mut None).await {
                Ok(mut outcomes) => respond(caller.answer, outcomes.pop().ok_or(Rejected::Failed)),
                Err(DbError::LockTimeout(_)) => stuck.push(item, caller),
                Err(error) => {
                    tracing::error!(queue = limits.name, error = %chain(&error), "an operation failed");
                    respond(caller.answer, Err(rejection(&error).unwrap_or(Rejected::Failed)));
                }
            }
        }
        self.set_aside(stuck, limits);
    }

    /// Keeps items for later: as many as one batch may have.
    fn set_aside(&mut self, stuck: Batch<I, O>, limits: BatchLimits) {
        let now = Instant::now();
        for (item, caller) in stuck.into_pairs() {
            if caller.until > now && self.batch.items.len() < limits.batch_items_max {
                self.batch.push(item, caller);
            } else {
                respond(caller.answer, Err(Rejected::HeldUp));
            }
        }
        if !self.is_empty() {
            metrics::counter!("committer_held_up_total", "queue" => limits.name).increment(1);
            tracing::debug!(
                queue = limits.name,
                items = self.batch.items.len(),
                "items wait for the locks of another transaction"
            );
        }
    }
}

/// What is free, and what another transaction holds up, each in order.
async fn part<E: Executor>(
    executor: &E,
    batch: Batch<E::Item, E::Outcome>,
) -> (Batch<E::Item, E::Outcome>, Batch<E::Item, E::Outcome>) {
    let held_up = executor.held_up(&batch.items).await.unwrap_or_else(|error| {
        tracing::warn!(error = %chain(&error), "what is held up cannot be told");
        Vec::new()
    });
    let (mut free, mut stuck) = (Batch::empty(), Batch::empty());
    let told = held_up.into_iter().chain(std::iter::repeat(false));
    for ((item, caller), is_held_up) in batch.into_pairs().zip(told) {
        if is_held_up {
            stuck.push(item, caller);
        } else {
            free.push(item, caller);
        }
    }
    (free, stuck)
}

//! Items that somebody else's transaction holds up, and what becomes of those that stood beside them.
//!
//! A batch waits for its locks in the statement that takes them, for as long as the sessions of its pool allow
//! (`lock_timeout`): usually others are done in milliseconds, and the happy path pays no statement for the rest. When that
//! ends in a time-out, the work is asked which items are held up ([`Work::held_up`](super::Work::held_up)). They are set
//! aside, and everything else is done at once. From then on the lane asks before each batch, so that nothing waits behind
//! the items aside, and they keep their place before later items that need the same. What is held up for [`HELD_UP_MAX`] is
//! given up undone.
//!
//! Asking beats the alternatives: running 256 items one by one is as many commits, locking with `SKIP LOCKED` always
//! would set aside what two processes merely share, and waiting on a connection of its own would need one for each item.
//! One by one is left for what only that can tell: an item that violates a constraint, or work that cannot be asked. It
//! ends as soon as the fault is seen to lie elsewhere, and when the callers have waited long enough.

use std::time::{Duration, Instant};

use super::{
    Rejected,
    executor::{Executor, Progress, ask_held_up, rejection},
    items::{Batch, Caller},
    worker::Worker,
};
use crate::{DbError, pool::chain};

/// How long an item may be held up by another transaction (HTTP contract 1.11: a repeat waits for up to 2 s).
pub const HELD_UP_MAX: Duration = Duration::from_secs(2);

/// How many items may wait for a lock one after the other, each for as long as the sessions allow.
const LONE_WAITS_MAX: usize = 2;

/// The items of a lane that were set aside, in the order in which they came.
pub(super) struct Held<I, O> {
    batch: Batch<I, O>,
}

/// Of a batch, each in order.
struct Parts<I, O> {
    free: Batch<I, O>,
    /// Another transaction holds them up.
    stuck: Batch<I, O>,
}

impl<I: Send + Sync + 'static, O: Send + 'static> Held<I, O> {
    pub(super) fn nothing() -> Self {
        Self { batch: Batch::empty() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Runs what was held up, with what came since, as far as it is free now.
    pub(super) async fn look_again<E>(&mut self, worker: &Worker<E>, new: Batch<I, O>)
    where
        E: Executor<Item = I, Outcome = O>,
    {
        let now = Instant::now();
        let aside = std::mem::replace(&mut self.batch, Batch::empty());
        let mut batch = Batch::with_capacity(aside.len() + new.len());
        for (item, caller) in aside.into_pairs().chain(new.into_pairs()) {
            if caller.until > now {
                batch.push(item, caller);
            } else {
                caller.answer.give(Err(Rejected::HeldUp));
            }
        }
        let Parts { free, stuck } = part(worker, batch).await;
        self.set_aside(worker, stuck);
        self.run(worker, free).await;
    }

    /// A batch met a lock that did not open, or failed for a reason that may lie in one of its items: sets aside what is
    /// held up, and does the rest.
    ///
    /// Which it was is not left to the error alone: a server that speaks another language words it otherwise.
    pub(super) async fn sort_out<E>(&mut self, worker: &Worker<E>, batch: Batch<I, O>, error: &DbError)
    where
        E: Executor<Item = I, Outcome = O>,
    {
        let Parts { free, stuck } = part(worker, batch).await;
        let nothing_stuck = stuck.is_empty();
        self.set_aside(worker, stuck);
        if nothing_stuck && !matches!(error, DbError::LockTimeout(_)) {
            self.run_alone(worker, free, error).await;
        } else {
            self.run(worker, free).await;
        }
    }

    /// Runs a batch together, and alone what cannot be run together.
    async fn run<E>(&mut self, worker: &Worker<E>, mut batch: Batch<I, O>)
    where
        E: Executor<Item = I, Outcome = O>,
    {
        if batch.is_empty() {
            return;
        }
        match worker.attempt(&mut batch, &mut Progress::alone()).await {
            Ok(outcomes) => batch.answer(outcomes),
            Err(error) => {
                if let Some(batch) = worker.reject(batch, &error) {
                    self.run_alone(worker, batch, &error).await;
                }
            }
        }
    }

    /// Runs items one by one, to find the one at fault, until the fault turns out to be the database's: waiting 256 times
    /// for the same lock, disk or server would hold up everyone else, and nobody asks for it.
    async fn run_alone<E>(&mut self, worker: &Worker<E>, batch: Batch<I, O>, error: &DbError)
    where
        E: Executor<Item = I, Outcome = O>,
    {
        let locked = matches!(error, DbError::LockTimeout(_));
        if batch.len() <= 1 {
            // It ran alone already.
            return if locked {
                self.set_aside(worker, batch);
            } else if !batch.is_empty() {
                tracing::error!(queue = worker.limits.name, error = %chain(error), "an operation failed");
                batch.reject(Rejected::Failed);
            };
        }
        tracing::error!(queue = worker.limits.name, items = batch.len(), error = %chain(error), "a batch failed; its items run alone");
        worker.meters().isolations.increment(1);
        let late = if locked { Rejected::HeldUp } else { Rejected::Unavailable };
        let (mut stuck, mut waits) = (Batch::empty(), 0);
        let mut rest = batch.into_pairs();
        while let Some((item, caller)) = rest.next() {
            if caller.until <= Instant::now() {
                caller.answer.give(Err(late));
                continue;
            }
            let mut lone = Batch::of_one(item, caller);
            match worker.attempt(&mut lone, &mut Progress::alone()).await {
                Ok(outcomes) => lone.answer(outcomes),
                Err(DbError::LockTimeout(_)) => {
                    waits += 1;
                    lone.move_to(&mut stuck);
                    if waits == LONE_WAITS_MAX {
                        // The others keep their place behind it.
                        rest.by_ref().for_each(|(item, caller)| stuck.push(item, caller));
                    }
                }
                Err(error) => {
                    tracing::error!(queue = worker.limits.name, error = %chain(&error), "an operation failed");
                    lone.reject(rejection(&error).unwrap_or(Rejected::Failed));
                    if error.is_unavailable() {
                        rest.by_ref().for_each(|(_, caller)| caller.answer.give(Err(Rejected::Unavailable)));
                    }
                }
            }
        }
        self.set_aside(worker, stuck);
    }

    /// Keeps items for later: as many as one batch may have.
    fn set_aside<E>(&mut self, worker: &Worker<E>, stuck: Batch<I, O>)
    where
        E: Executor<Item = I, Outcome = O>,
    {
        if stuck.is_empty() {
            return;
        }
        let (now, limits) = (Instant::now(), worker.limits);
        let room = |held: &Batch<I, O>, caller: &Caller<O>| {
            held.has_room_for(caller, limits.batch_items_max, limits.batch_bytes_max)
        };
        for (item, caller) in stuck.into_pairs() {
            if caller.until > now && room(&self.batch, &caller) {
                self.batch.push(item, caller);
            } else {
                caller.answer.give(Err(Rejected::HeldUp));
            }
        }
        worker.meters().held_up.increment(1);
        tracing::debug!(
            queue = limits.name,
            items = self.batch.len(),
            "items wait for the locks of another transaction"
        );
    }
}

/// Parts a batch by asking which items are held up. Empty when everyone was turned away.
async fn part<E: Executor>(
    worker: &Worker<E>,
    batch: Batch<E::Item, E::Outcome>,
) -> Parts<E::Item, E::Outcome> {
    let mut parts = Parts { free: Batch::empty(), stuck: Batch::empty() };
    if batch.is_empty() {
        return parts;
    }
    match ask_held_up(&worker.executor, batch.items()).await {
        Ok(held_up) => {
            let told = held_up.into_iter().chain(std::iter::repeat(false));
            for ((item, caller), is_held_up) in batch.into_pairs().zip(told) {
                if is_held_up {
                    parts.stuck.push(item, caller);
                } else {
                    parts.free.push(item, caller);
                }
            }
        }
        // Even the question waits: for a lock on a whole table.
        Err(DbError::LockTimeout(_)) => parts.stuck = batch,
        Err(error @ DbError::NotNow(_)) => drop(worker.reject(batch, &error)),
        Err(error) => {
            tracing::warn!(queue = worker.limits.name, error = %chain(&error), "what is held up cannot be told");
            parts.free = batch;
        }
    }
    parts
}

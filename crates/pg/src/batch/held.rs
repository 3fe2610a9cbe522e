//! Items that somebody else's transaction blocks, and what becomes of those that stood beside them.
//!
//! A batch waits for its locks in the statement that takes them, for as long as the sessions of its pool allow
//! (`lock_timeout`): usually others are done in milliseconds, and the happy path pays no statement for the rest. When that
//! ends in a time-out, the work is asked which items are blocked ([`Work::blocked`](super::Work::blocked)). They are set
//! aside, and everything else is done at once. From then on the lane asks before each batch, so that nothing waits behind
//! the items aside, and they keep their place before later items that need the same. What is blocked for [`BLOCKED_MAX`](super::BLOCKED_MAX) is
//! given up undone.
//!
//! Asking beats the alternatives: running 256 items one by one is as many commits, locking with `SKIP LOCKED` always
//! would set aside what two processes merely share, and waiting on a connection of its own would need one for each item.
//! One by one is left for what only that can tell: an item that violates a constraint, or work that cannot be asked. It
//! ends as soon as the fault is seen to lie elsewhere, and when the callers have waited long enough.

use std::time::Instant;

use super::{
    answer::Rejected,
    executor::{Executor, Progress, ask_blocked, rejection},
    items::{Batch, Caller},
    runner::Runner,
};
use crate::{DbError, error::chain};

/// Number of items that may wait for a lock one after the other, each for as long as the sessions allow.
const LONE_WAITS_MAX: usize = 2;

/// Of a batch, each in order.
struct Parts<I, O> {
    free: Batch<I, O>,
    /// Another transaction holds them up.
    stuck: Batch<I, O>,
}

/// Runs what was blocked, with what came since, as far as it is free now.
pub(super) async fn look_again<E: Executor>(
    held: &mut Batch<E::Item, E::Outcome>,
    runner: &Runner<E>,
    new: Batch<E::Item, E::Outcome>,
) {
    let now = Instant::now();
    let aside = std::mem::replace(held, Batch::empty());
    let mut batch = Batch::with_capacity(aside.len() + new.len());
    for (item, caller) in aside.into_pairs().chain(new.into_pairs()) {
        if caller.until > now {
            batch.push(item, caller);
        } else {
            caller.answer.give(Err(Rejected::Blocked));
        }
    }
    let Parts { free, stuck } = part(runner, batch).await;
    set_aside(held, runner, stuck);
    run(held, runner, free).await;
}

/// A batch met a lock that did not open, or failed for a reason that may lie in one of its items: sets aside what is
/// blocked, and does the rest.
///
/// Which it was is not left to the error alone: a server that speaks another language words it otherwise.
pub(super) async fn sort_out<E: Executor>(
    held: &mut Batch<E::Item, E::Outcome>,
    runner: &Runner<E>,
    batch: Batch<E::Item, E::Outcome>,
    error: &DbError,
) {
    let Parts { free, stuck } = part(runner, batch).await;
    let nothing_stuck = stuck.is_empty();
    set_aside(held, runner, stuck);
    if nothing_stuck && !matches!(error, DbError::LockTimeout(_)) {
        run_alone(held, runner, free, error).await;
    } else {
        run(held, runner, free).await;
    }
}

/// Runs a batch together, and alone what cannot be run together.
async fn run<E: Executor>(
    held: &mut Batch<E::Item, E::Outcome>,
    runner: &Runner<E>,
    mut batch: Batch<E::Item, E::Outcome>,
) {
    if batch.is_empty() {
        return;
    }
    match runner.attempt(&mut batch, &mut Progress::alone()).await {
        Ok(outcomes) => batch.answer(outcomes),
        Err(error) => {
            if let Some(batch) = runner.reject(batch, &error) {
                run_alone(held, runner, batch, &error).await;
            }
        }
    }
}

/// Runs items one by one, to find the one at fault, until the fault turns out to be the database's: waiting 256 times
/// for the same lock, disk or server would block everyone else, and nobody asks for it.
async fn run_alone<E: Executor>(
    held: &mut Batch<E::Item, E::Outcome>,
    runner: &Runner<E>,
    batch: Batch<E::Item, E::Outcome>,
    error: &DbError,
) {
    let locked = matches!(error, DbError::LockTimeout(_));
    if batch.len() <= 1 {
        // It ran alone already.
        return if locked {
            set_aside(held, runner, batch);
        } else if !batch.is_empty() {
            tracing::error!(queue = runner.limits.name, error = %chain(error), "an operation failed");
            batch.reject(Rejected::Failed);
        };
    }
    tracing::error!(queue = runner.limits.name, items = batch.len(), error = %chain(error), "a batch failed; its items run alone");
    runner.meters().isolations.increment(1);
    let late = if locked { Rejected::Blocked } else { Rejected::Unavailable };
    let (mut stuck, mut waits) = (Batch::empty(), 0);
    let mut rest = batch.into_pairs();
    while let Some((item, caller)) = rest.next() {
        if caller.until <= Instant::now() {
            caller.answer.give(Err(late));
            continue;
        }
        let mut lone = Batch::of_one(item, caller);
        match runner.attempt(&mut lone, &mut Progress::alone()).await {
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
                tracing::error!(queue = runner.limits.name, error = %chain(&error), "an operation failed");
                lone.reject(rejection(&error).unwrap_or(Rejected::Failed));
                if error.is_unavailable() {
                    rest.by_ref().for_each(|(_, caller)| caller.answer.give(Err(Rejected::Unavailable)));
                }
            }
        }
    }
    set_aside(held, runner, stuck);
}

/// Keeps items for later: as many as one batch may have.
fn set_aside<E: Executor>(
    held: &mut Batch<E::Item, E::Outcome>,
    runner: &Runner<E>,
    stuck: Batch<E::Item, E::Outcome>,
) {
    if stuck.is_empty() {
        return;
    }
    let (now, limits) = (Instant::now(), runner.limits);
    let room = |held: &Batch<E::Item, E::Outcome>, caller: &Caller<E::Outcome>| {
        held.has_room_for(caller, limits.batch_items_max, limits.batch_bytes_max)
    };
    for (item, caller) in stuck.into_pairs() {
        if caller.until > now && room(held, &caller) {
            held.push(item, caller);
        } else {
            caller.answer.give(Err(Rejected::Blocked));
        }
    }
    runner.meters().blocked.increment(1);
    tracing::debug!(
        queue = limits.name,
        items = held.len(),
        "items wait for the locks of another transaction"
    );
}

/// Parts a batch by asking which items are blocked. Empty when everyone was turned away.
async fn part<E: Executor>(
    runner: &Runner<E>,
    batch: Batch<E::Item, E::Outcome>,
) -> Parts<E::Item, E::Outcome> {
    let mut parts = Parts { free: Batch::empty(), stuck: Batch::empty() };
    if batch.is_empty() {
        return parts;
    }
    match ask_blocked(&runner.executor, batch.items()).await {
        Ok(blocked) => {
            let told = blocked.into_iter().chain(std::iter::repeat(false));
            for ((item, caller), is_blocked) in batch.into_pairs().zip(told) {
                if is_blocked {
                    parts.stuck.push(item, caller);
                } else {
                    parts.free.push(item, caller);
                }
            }
        }
        // Even the question waits: for a lock on a whole table.
        Err(DbError::LockTimeout(_)) => parts.stuck = batch,
        Err(error @ DbError::NotNow(_)) => drop(runner.reject(batch, &error)),
        Err(error) => {
            tracing::warn!(queue = runner.limits.name, error = %chain(&error), "the blocked operations cannot be found");
            parts.free = batch;
        }
    }
    parts
}

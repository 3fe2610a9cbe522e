//! Items on their way through a lane: waiting, then in a batch.

use std::time::Instant;

use super::{
    answer::{Answer, Rejected},
    limits::BLOCKED_MAX,
};

/// An item in the queue.
pub(super) struct Waiting<I, O> {
    pub(super) item: I,
    /// Hash of its key.
    pub(super) key: u64,
    /// In bytes.
    pub(super) weight: usize,
    /// As [`Work::is_plain`](super::Work::is_plain).
    pub(super) is_plain: bool,
    pub(super) since: Instant,
    pub(super) answer: Answer<O>,
}

/// Items with their callers.
pub(super) struct Batch<I, O> {
    items: Vec<I>,
    callers: Vec<Caller<O>>,
    bytes: usize,
}

/// The caller of an item, and the time until which it may be blocked.
pub(super) struct Caller<O> {
    pub(super) answer: Answer<O>,
    pub(super) until: Instant,
    weight: usize,
}

impl<O> Caller<O> {
    /// The caller of an item that is first tried `now`.
    pub(super) fn new(answer: Answer<O>, weight: usize, now: Instant) -> Self {
        Self { answer, until: now + BLOCKED_MAX, weight }
    }
}

impl<I, O> Batch<I, O> {
    pub(super) fn empty() -> Self {
        Self::with_capacity(0)
    }

    pub(super) fn with_capacity(items: usize) -> Self {
        Self { items: Vec::with_capacity(items), callers: Vec::with_capacity(items), bytes: 0 }
    }

    pub(super) fn of_one(item: I, caller: Caller<O>) -> Self {
        let mut batch = Self::with_capacity(1);
        batch.push(item, caller);
        batch
    }

    pub(super) fn push(&mut self, item: I, caller: Caller<O>) {
        self.bytes = self.bytes.saturating_add(caller.weight);
        self.items.push(item);
        self.callers.push(caller);
    }

    pub(super) fn move_to(self, other: &mut Self) {
        self.into_pairs().for_each(|(item, caller)| other.push(item, caller));
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn items(&self) -> &[I] {
        &self.items
    }

    /// Returns true if the item of `caller` may still come to it.
    pub(super) fn has_room_for(&self, caller: &Caller<O>, items_max: usize, bytes_max: usize) -> bool {
        self.is_empty() || (self.len() < items_max && self.bytes.saturating_add(caller.weight) <= bytes_max)
    }

    pub(super) fn into_pairs(self) -> impl Iterator<Item = (I, Caller<O>)> {
        self.items.into_iter().zip(self.callers)
    }

    /// Answers everyone the same.
    pub(super) fn reject(self, rejected: Rejected) {
        for caller in self.callers {
            caller.answer.give(Err(rejected));
        }
    }

    /// Answers those that have an outcome, and keeps the others.
    pub(super) fn answer_some(self, outcomes: Vec<Option<O>>) -> Self {
        let mut others = Self::empty();
        for ((item, caller), outcome) in self.into_pairs().zip(outcomes) {
            match outcome {
                Some(outcome) => caller.answer.give(Ok(outcome)),
                None => others.push(item, caller),
            }
        }
        others
    }

    /// Answers each his own.
    pub(super) fn answer(self, outcomes: Vec<O>) {
        for (caller, outcome) in self.callers.into_iter().zip(outcomes) {
            caller.answer.give(Ok(outcome));
        }
    }

    /// The answer to the callers if the task ends without one.
    pub(super) fn unless_answered(&mut self, rejected: Rejected) {
        for caller in &mut self.callers {
            caller.answer.unless_given(rejected);
        }
    }
}

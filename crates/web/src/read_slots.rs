//! Limit of the slow reads that one user may run at a time.
//!
//! A list or a statistic may take a connection for seconds, and a client that hangs up does not end it at once. So that
//! one user cannot take all connections, the reads of each user wait for one another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of all users that read at this moment.
#[derive(Debug)]
pub struct ReadSlots {
    reads_max: usize,
    slots: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

/// A slot that is given back when this is dropped.
#[derive(Debug)]
pub struct Slot {
    user: String,
    permit: Option<OwnedSemaphorePermit>,
    slots: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

impl ReadSlots {
    /// So many reads of one user run at the same time; further ones wait.
    #[must_use]
    pub fn new(reads_max: usize) -> Self {
        Self { reads_max, slots: Arc::default() }
    }

    /// Waits for a slot of this user.
    pub async fn acquire(&self, user: &str) -> Slot {
        let semaphore = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(self.reads_max));
            Arc::clone(slots.entry(user.to_owned()).or_insert_with(new))
        };
        let mut slot = Slot { user: user.to_owned(), permit: None, slots: Arc::clone(&self.slots) };
        // A semaphore that is never closed always gives a permit in the end.
        slot.permit = semaphore.acquire_owned().await.ok();
        slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.get(&self.user).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            slots.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn the_reads_of_a_user_wait_for_one_another_and_leave_nothing_behind() {
        let slots = ReadSlots::new(2);
        let (first, _second) = (slots.acquire("a").await, slots.acquire("a").await);
        assert!(slots.acquire("a").now_or_never().is_none(), "a third one waits");
        let other = slots.acquire("b").now_or_never();
        assert!(other.is_some(), "another user does not");
        drop(first);
        let third = slots.acquire("a").now_or_never();
        assert!(third.is_some());
        drop((_second, third, other));
        assert!(slots.slots.lock().unwrap().is_empty());
    }
}

//! Health of a queue: whether its batches end, and whether the database is at fault when they fail.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::DbError;

/// State of a queue; readiness is judged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueHealth {
    /// Label of its metrics, for example `writes`.
    pub name: &'static str,
    /// Age of the oldest batch under way or, without one, how long items have waited. Zero when nothing is due.
    pub stuck_for: Duration,
    /// Attempts that failed through the database since the last one that did not.
    pub failures: u32,
    /// When the last of them failed.
    pub failed_at: Option<Instant>,
}

/// The notes behind [`QueueHealth`].
pub(super) struct Monitor {
    name: &'static str,
    notes: Mutex<Notes>,
}

struct Notes {
    /// When each batch that is under way began.
    under_way: BTreeMap<u64, Instant>,
    next: u64,
    /// When a batch began or ended, or an item came to an empty queue.
    moved: Instant,
    failures: u32,
    failed_at: Option<Instant>,
}

/// A batch that is under way, until this is dropped.
pub(super) struct Busy<'a> {
    monitor: &'a Monitor,
    number: u64,
}

impl Monitor {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            notes: Mutex::new(Notes {
                under_way: BTreeMap::new(),
                next: 0,
                moved: Instant::now(),
                failures: 0,
                failed_at: None,
            }),
        }
    }

    /// Notes the beginning of a batch.
    pub(super) fn begin(&self) -> Busy<'_> {
        let (mut notes, now) = (self.notes(), Instant::now());
        let number = notes.next;
        notes.next = number.wrapping_add(1);
        notes.under_way.insert(number, now);
        notes.moved = now;
        drop(notes);
        Busy { monitor: self, number }
    }

    /// Notes that an item came to an empty queue.
    pub(super) fn wake(&self) {
        self.notes().moved = Instant::now();
    }

    /// Notes how an attempt ended; `committing` says whether its commit had begun.
    pub(super) fn ended(&self, error: Option<&DbError>, committing: bool) {
        let mut notes = self.notes();
        match error {
            None => notes.failures = 0,
            Some(error) if is_fault_of_database(error, committing) => {
                notes.failures = notes.failures.saturating_add(1);
                notes.failed_at = Some(Instant::now());
            }
            Some(_) => {}
        }
    }

    /// State of the queue; `waiting` is true if items wait in it.
    pub(super) fn health(&self, waiting: bool) -> QueueHealth {
        let (notes, now) = (self.notes(), Instant::now());
        let oldest = notes.under_way.values().min().copied();
        let since = oldest.or(waiting.then_some(notes.moved));
        QueueHealth {
            name: self.name,
            stuck_for: since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            failures: notes.failures,
            failed_at: notes.failed_at,
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut notes = self.monitor.notes();
        notes.under_way.remove(&self.number);
        notes.moved = Instant::now();
    }
}

/// Returns true if no item can be to blame. An unknown error may lie in an item, but not when the commit raised it: what items can
/// violate there are constraints.
fn is_fault_of_database(error: &DbError, committing: bool) -> bool {
    match error {
        DbError::OutcomeUnknown(_) | DbError::Connect(_) | DbError::Lost(_) => true,
        DbError::NotNow(_) => !error.is_too_slow(),
        DbError::Statement(_) => committing,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use diesel::result::Error as DieselError;

    use super::*;

    #[test]
    fn a_queue_is_stuck_while_a_batch_is_under_way_or_items_wait_for_none() {
        let monitor = Monitor::new("test");
        assert_eq!(monitor.health(false).stuck_for, Duration::ZERO);
        let (first, second) = (monitor.begin(), monitor.begin());
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2) {}
        assert!(monitor.health(false).stuck_for >= Duration::from_millis(2));
        drop(first);
        assert!(monitor.health(false).stuck_for >= Duration::from_millis(2));
        drop(second);
        assert_eq!(monitor.health(false).stuck_for, Duration::ZERO);
        let waiting = monitor.health(true).stuck_for;
        while monitor.health(true).stuck_for <= waiting {}
    }

    #[test]
    fn failures_of_the_database_count_until_an_attempt_succeeds_and_those_of_items_do_not() {
        let monitor = Monitor::new("test");
        let failures = || monitor.health(false).failures;
        monitor.ended(Some(&DbError::Connect("gone".into())), false);
        monitor.ended(Some(&DbError::Lost(DieselError::BrokenTransactionManager)), false);
        monitor.ended(Some(&DbError::Inconsistent(String::new())), false);
        monitor.ended(Some(&DbError::Statement(DieselError::NotFound)), false);
        assert_eq!(failures(), 2);
        monitor.ended(Some(&DbError::Statement(DieselError::NotFound)), true);
        assert_eq!(failures(), 3);
        monitor.ended(None, true);
        assert_eq!(failures(), 0);
        assert!(monitor.health(false).failed_at.is_some());
    }
}

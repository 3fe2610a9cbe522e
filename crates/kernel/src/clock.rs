//! Time as a parameter. Nothing but [`SystemClock`] reads the machine's clock (I6).

use std::sync::{Arc, Mutex, PoisonError};

use time::{Duration, OffsetDateTime, UtcOffset, macros::format_description};

/// Where an operation learns what time it is.
///
/// Instants are UTC and carry whole microseconds, because that is what PostgreSQL keeps: what was answered and what is
/// read back later are the same text.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> OffsetDateTime;

    /// The instant that the database's own clock must be replaced by, for tests that stop time; `None` in production.
    ///
    /// The ledger asks PostgreSQL for the time so that all processes share one clock. A pinned clock overrules it.
    fn pinned(&self) -> Option<OffsetDateTime> {
        None
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> OffsetDateTime {
        whole_microseconds(OffsetDateTime::now_utc())
    }
}

/// A clock that stands still until it is moved. For tests; clones share the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<OffsetDateTime>>);

impl ManualClock {
    /// A clock that stands at `instant`.
    #[must_use]
    pub fn at(instant: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(whole_microseconds(instant))))
    }

    /// Moves the clock forward (or back, with a negative duration). An unrepresentable result leaves it unmoved.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).unwrap_or(*now);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pinned(&self) -> Option<OffsetDateTime> {
        Some(self.now())
    }
}

/// The text of an instant as every answer writes it: `2025-07-27T00:32:57.736450Z` (HTTP contract 1.9). Empty for an
/// instant whose date in UTC lies outside the calendar; none such is accepted anywhere.
#[must_use]
pub fn rfc3339(instant: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let utc = instant.checked_to_offset(UtcOffset::UTC);
    utc.and_then(|utc| utc.format(&format).ok()).unwrap_or_default()
}

/// The instant without parts of a microsecond: stored times have none.
#[must_use]
pub fn whole_microseconds(instant: OffsetDateTime) -> OffsetDateTime {
    let nanosecond = instant.nanosecond();
    instant.replace_nanosecond(nanosecond.saturating_sub(nanosecond % 1_000)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn instants_are_written_with_microseconds_and_z() {
        assert_eq!(rfc3339(datetime!(2025-07-27 02:32:57.736450999 +2)), "2025-07-27T00:32:57.736450Z");
        assert_eq!(rfc3339(datetime!(2025-07-27 0:00 UTC)), "2025-07-27T00:00:00.000000Z");
        assert_eq!(rfc3339(datetime!(9999-12-31 23:59:59 -23:59)), "");
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(datetime!(2025-01-01 0:00 UTC));
        let twin = clock.clone();
        clock.advance(Duration::minutes(5));
        assert_eq!(twin.now(), datetime!(2025-01-01 0:05 UTC));
        assert_eq!(twin.pinned(), Some(clock.now()));
        assert_eq!(SystemClock.now().nanosecond() % 1_000, 0);
    }
}

//! The rule of a bucket, the generic cell rate algorithm: a bucket is kept as the one instant at which it will be full again.
//!
//! Instants and times are whole microseconds, which the script for Redis counts exactly, too.

use time::OffsetDateTime;

/// Microseconds of a minute.
const MINUTE_US: u128 = 60_000_000;
/// Longest time in which a bucket becomes full: sums with it stay below 2^53, the exact integers of the script.
const WINDOW_MAX_US: i64 = 100 * 366 * 86_400 * 1_000_000;
/// Least step back of a clock that was set back. A smaller one is the disorder of threads that read it at about the same time.
pub(super) const SET_BACK_MIN_US: i64 = 1_000_000;

/// Rights of a class of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Name of the class, as metrics and headers show it.
    pub class: &'static str,
    /// Size of a full bucket: the most that may be taken at once.
    pub burst: u64,
    /// Inflow of a bucket in a minute.
    pub per_minute: u64,
}

/// An amount to take, as time of inflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charge {
    /// Time in which the amount flows in.
    pub(super) needed_us: i64,
    /// Time in which an empty bucket becomes full.
    pub(super) window_us: i64,
}

/// Purpose of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// The amount is taken if the bucket holds it.
    Take,
    /// The bucket stays as it is.
    Check,
}

/// A bucket after a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChargeOutcome {
    /// True if the bucket held enough.
    pub(super) is_taken: bool,
    /// The instant at which the bucket is full.
    pub(super) full_at_us: i64,
    /// The instant of the charge.
    pub(super) now_us: i64,
}

impl Policy {
    /// So many requests a second, and a burst.
    #[must_use]
    pub fn per_second(class: &'static str, per_second: u64, burst: u64) -> Self {
        Self { class, burst, per_minute: per_second.saturating_mul(60) }
    }

    /// So many requests a minute, which may come at once.
    #[must_use]
    pub fn per_minute(class: &'static str, per_minute: u64) -> Self {
        Self { class, burst: per_minute, per_minute }
    }

    /// Time in which an empty bucket becomes full, in microseconds. Rounded up, and charges down, so that a burst is whole.
    pub(super) fn window_us(&self) -> i64 {
        let per_minute = u128::from(self.per_minute.max(1));
        bounded(u128::from(self.burst).saturating_mul(MINUTE_US).div_ceil(per_minute))
    }

    /// The charge for an amount. What is more than a bucket can hold needs a full one, and something is never free.
    pub(super) fn charge(&self, amount: u64) -> Charge {
        let amount = amount.min(self.burst);
        let per_minute = u128::from(self.per_minute.max(1));
        let time_us = u128::from(amount).saturating_mul(MINUTE_US).checked_div(per_minute).unwrap_or(0);
        Charge { needed_us: bounded(time_us.max(u128::from(amount.min(1)))), window_us: self.window_us() }
    }

    /// Inflow within a time, rounded down.
    pub(super) fn amount_in(&self, time_us: i64) -> u64 {
        let time_us = u128::try_from(time_us).unwrap_or(0);
        let amount = time_us.saturating_mul(u128::from(self.per_minute)).checked_div(MINUTE_US).unwrap_or(0);
        u64::try_from(amount).unwrap_or(u64::MAX).min(self.burst)
    }
}

/// Takes a charge from a bucket. The second result is the instant to store, if it is another one than before.
pub(super) fn take(full_at_us: Option<i64>, now_us: i64, charge: Charge) -> (ChargeOutcome, Option<i64>) {
    let latest = now_us.saturating_add(charge.window_us);
    let is_set_back = |full_at: &i64| *full_at > latest.saturating_add(SET_BACK_MIN_US);
    // A clock that was set back must not lock callers out for longer than the window.
    let known = full_at_us.map(|full_at| if is_set_back(&full_at) { latest } else { full_at });
    let before = known.unwrap_or(now_us).max(now_us);
    let is_taken = before.min(latest).saturating_add(charge.needed_us) <= latest;
    let after = if is_taken { before.saturating_add(charge.needed_us) } else { before };
    let stored = (after > now_us && full_at_us != Some(after)).then_some(after);
    (ChargeOutcome { is_taken, full_at_us: after, now_us }, stored)
}

fn bounded(time_us: u128) -> i64 {
    i64::try_from(time_us).unwrap_or(WINDOW_MAX_US).min(WINDOW_MAX_US)
}

/// An instant as the rule counts it.
pub(super) fn microseconds(instant: OffsetDateTime) -> i64 {
    let microseconds = instant.unix_timestamp_nanos().checked_div(1_000).unwrap_or(0);
    i64::try_from(microseconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the rate, a full bucket gives its burst one by one and not one more.
        #[test]
        fn a_full_bucket_gives_its_whole_burst(burst in 1_u64..300, per_minute in 1_u64..100_000) {
            let policy = Policy { class: "x", burst, per_minute };
            let (mut full_at, mut given) = (None, 0);
            while given <= burst {
                let (outcome, stored) = take(full_at, 0, policy.charge(1));
                full_at = stored.or(full_at);
                if !outcome.is_taken {
                    break;
                }
                given += 1;
                let left = policy.amount_in(policy.window_us() - outcome.full_at_us);
                prop_assert!(left >= burst - given, "{left} of {burst} after {given}");
            }
            prop_assert_eq!(given, burst);
        }
    }
}

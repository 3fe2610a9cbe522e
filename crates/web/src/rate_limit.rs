//! Token buckets of this process, one for each caller and class (HTTP contract 1.12).
//!
//! A bucket is kept as the one instant at which it will be full again (the generic cell rate algorithm). A full bucket needs no
//! memory, so what is kept is bounded by the callers that used theirs lately.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use actix_web::http::header::{self, HeaderName, HeaderValue};
use kernel::Detail;
use time::{Duration, OffsetDateTime};

use super::{catalogue, error::ApiError};

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Most callers whose bucket is kept. Beyond it, the buckets that are nearest to full are forgotten.
const BUCKETS_MAX: usize = 100_000;
/// Least step back of a clock that was set back. A smaller one is the disorder of threads that read it at about the same time.
const SET_BACK_MIN: Duration = Duration::seconds(60);
/// Fewest buckets for which it is worth looking for full ones.
const SWEEP_MIN: usize = 1_024;

/// The limits of all classes; a class without a limit is `None`.
#[derive(Debug)]
pub struct RateLimits {
    /// Bytes of JSON bodies, by user.
    pub bytes: Option<Buckets>,
}

/// Rights of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Name of the class, as metrics and headers show it.
    pub class: &'static str,
    /// Size of a full bucket: the most that may be taken at once.
    pub burst: u64,
    /// Inflow of a bucket in a minute.
    pub per_minute: u64,
}

/// The buckets of a class.
#[derive(Debug)]
pub struct Buckets {
    policy: Policy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the bucket of a caller will be full.
    full_at: HashMap<String, OffsetDateTime>,
    /// At how many buckets full ones are looked for.
    sweep_at: usize,
    /// The newest instant at which something was taken.
    newest: Option<OffsetDateTime>,
}

/// Rest of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    policy: Policy,
    /// Amount that may be taken now.
    pub remaining: u64,
    /// Whole seconds until the bucket is full, rounded up.
    pub full_in_seconds: u64,
}

/// A bucket that does not hold enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The rest; nothing was taken.
    pub level: Level,
    /// Whole seconds until it will hold enough, at least 1.
    pub retry_after_seconds: u64,
}

impl RateLimits {
    /// Limits with this policy for bytes.
    #[must_use]
    pub fn new(bytes: Option<Policy>) -> Self {
        Self { bytes: bytes.map(Buckets::new) }
    }
}

impl Policy {
    /// Time in which an empty bucket becomes full.
    fn window(&self) -> Duration {
        self.time_for(self.burst)
    }

    /// Time until so much has flowed in.
    fn time_for(&self, amount: u64) -> Duration {
        let nanoseconds =
            u128::from(amount).saturating_mul(60_000_000_000).div_ceil(u128::from(self.per_minute.max(1)));
        Duration::nanoseconds(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
    }

    /// Inflow within a time, rounded down.
    fn amount_in(&self, time: Duration) -> u64 {
        let nanoseconds = u128::try_from(time.whole_nanoseconds()).unwrap_or(0);
        let amount = nanoseconds.saturating_mul(u128::from(self.per_minute)).checked_div(60_000_000_000);
        amount.and_then(|amount| u64::try_from(amount).ok()).unwrap_or(0)
    }
}

impl Buckets {
    /// Buckets that are all full.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, state: Mutex::default() }
    }

    /// Takes an amount from the bucket of a caller. What is more than a bucket can hold needs a full one.
    ///
    /// # Errors
    /// [`Exhausted`]: it holds less, and nothing was taken.
    pub fn take(&self, caller: &str, amount: u64, now: OffsetDateTime) -> Result<Level, Exhausted> {
        let mut state = self.lock();
        let now = state.advance(now, self.policy.window());
        let full_at = state.full_at.get(caller).copied();
        let after = self.after(full_at, amount, now)?;
        match state.full_at.get_mut(caller) {
            Some(full_at) => *full_at = after,
            None => {
                state.full_at.insert(caller.to_owned(), after);
                state.sweep(now, self.policy.window());
            }
        }
        drop(state);
        Ok(self.level(after, now))
    }

    /// Returns true if an amount could be taken; takes nothing.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn check(&self, caller: &str, amount: u64, now: OffsetDateTime) -> Result<(), Exhausted> {
        let state = self.lock();
        let (now, full_at) = (state.at(now), state.full_at.get(caller).copied());
        drop(state);
        self.after(full_at, amount, now).map(|_| ())
    }

    /// When a bucket is full after an amount was taken.
    fn after(
        &self,
        full_at: Option<OffsetDateTime>,
        amount: u64,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, Exhausted> {
        let policy = self.policy;
        let latest = now.checked_add(policy.window()).unwrap_or(now);
        let full_at = full_at.unwrap_or(now).clamp(now, latest);
        let needed = policy.time_for(amount.min(policy.burst));
        let after = full_at.checked_add(needed).unwrap_or(latest);
        if after <= latest {
            return Ok(after);
        }
        metrics::counter!("rate_limited_total", "class" => policy.class).increment(1);
        Err(Exhausted {
            level: self.level(full_at, now),
            retry_after_seconds: whole_seconds(between(latest, after)).max(1),
        })
    }

    fn level(&self, full_at: OffsetDateTime, now: OffsetDateTime) -> Level {
        let missing = between(now, full_at);
        Level {
            policy: self.policy,
            remaining: self.policy.amount_in(self.policy.window().saturating_sub(missing)),
            full_in_seconds: whole_seconds(missing),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The instant to count with. Time stands still where a thread comes late, or that thread would be given what was taken
    /// meanwhile.
    fn at(&self, now: OffsetDateTime) -> OffsetDateTime {
        match self.newest {
            Some(newest) if newest > now && between(now, newest) < SET_BACK_MIN => newest,
            _ => now,
        }
    }

    /// The instant to count with, from now on.
    fn advance(&mut self, now: OffsetDateTime, window: Duration) -> OffsetDateTime {
        let now = self.at(now);
        if self.newest.is_some_and(|newest| newest > now) {
            // A clock that was set back must not lock callers out for longer than the window.
            let latest = now.saturating_add(window);
            for full_at in self.full_at.values_mut() {
                *full_at = latest.min(*full_at);
            }
        }
        self.newest = Some(now);
        now
    }

    fn sweep(&mut self, now: OffsetDateTime, window: Duration) {
        if self.full_at.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() >= BUCKETS_MAX {
            let half = now.saturating_add(window.checked_div(2).unwrap_or(window));
            self.full_at.retain(|_, full_at| *full_at > half);
        }
        if self.full_at.len() >= BUCKETS_MAX {
            self.full_at.clear();
        }
        self.sweep_at = self.full_at.len().saturating_mul(2).min(BUCKETS_MAX);
    }
}

impl Level {
    /// The headers of a counted answer.
    #[must_use]
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        let Policy { class, burst, .. } = self.policy;
        let window = whole_seconds(self.policy.window());
        let (remaining, full_in) = (self.remaining, self.full_in_seconds);
        let value = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
        [
            (RATE_LIMIT_POLICY, value(format!("\"{class}\";q={burst};w={window}"))),
            (RATE_LIMIT, value(format!("\"{class}\";r={remaining};t={full_in}"))),
        ]
    }
}

impl From<Exhausted> for ApiError {
    fn from(exhausted: Exhausted) -> Self {
        let policy = exhausted.level.policy;
        let error = rate_limited(policy.burst, whole_seconds(policy.window()), exhausted.retry_after_seconds);
        let headers = exhausted.level.headers().into_iter();
        headers.fold(error, |error, (name, value)| error.header(name, value))
    }
}

/// 429: a caller asks for more than `limit` in a window.
#[must_use]
pub fn rate_limited(limit: u64, window_seconds: u64, retry_after_seconds: u64) -> ApiError {
    let number = |number: u64| Detail::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    ApiError::new(&catalogue::RATE_LIMIT_EXCEEDED)
        .detail("limit", number(limit))
        .detail("window_seconds", number(window_seconds))
        .detail("retry_after", number(retry_after_seconds))
        .header(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds))
}

/// The time from an instant to a later one.
fn between(from: OffsetDateTime, to: OffsetDateTime) -> Duration {
    let nanoseconds = to.unix_timestamp_nanos().saturating_sub(from.unix_timestamp_nanos());
    Duration::nanoseconds(i64::try_from(nanoseconds.max(0)).unwrap_or(i64::MAX))
}

fn whole_seconds(time: Duration) -> u64 {
    let rounded_up = time.saturating_add(Duration::nanoseconds(999_999_999));
    u64::try_from(rounded_up.whole_seconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { class: "bytes", burst: 600, per_minute: 60 };

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_flows_in() {
        let buckets = Buckets::new(POLICY);
        assert_eq!(buckets.take("a", 500, at(0)).unwrap().remaining, 100);
        let refused = buckets.take("a", 110, at(0)).unwrap_err();
        assert_eq!((refused.level.remaining, refused.retry_after_seconds), (100, 10));
        assert_eq!(refused.level.full_in_seconds, 500);
        assert_eq!(buckets.take("b", 600, at(0)).unwrap().remaining, 0, "another caller");
        assert!(buckets.take("a", 110, at(9)).is_err());
        assert_eq!(buckets.take("a", 110, at(10)).unwrap().remaining, 0);
        assert_eq!(buckets.take("a", 0, at(10_000)).unwrap().remaining, 600, "full again");
    }

    #[test]
    fn more_than_a_bucket_holds_needs_a_full_one() {
        let buckets = Buckets::new(POLICY);
        assert!(buckets.take("a", 1, at(0)).is_ok());
        assert!(buckets.take("a", 9_000, at(0)).is_err());
        assert_eq!(buckets.take("a", 9_000, at(1)).unwrap().remaining, 0);
    }

    #[test]
    fn a_clock_that_is_set_back_by_a_minute_or_more_locks_nobody_out() {
        let buckets = Buckets::new(POLICY);
        assert!(buckets.take("a", 600, at(100_000)).is_ok());
        assert!(buckets.take("b", 300, at(100_000)).is_ok());
        assert_eq!(buckets.take("a", 1, at(0)).unwrap_err().retry_after_seconds, 1);
        assert_eq!(buckets.lock().full_at["a"], at(600), "as if it had been emptied now");
        assert!(buckets.take("a", 600, at(600)).is_ok());
        assert!(buckets.take("b", 600, at(600)).is_ok(), "every caller");
        assert!(buckets.take("a", 600, at(540)).is_err());
        assert_eq!(buckets.lock().full_at["a"], at(540 + 600), "a minute is a jump");
    }

    #[test]
    fn a_request_that_comes_late_gives_nothing_back() {
        let buckets = Buckets::new(POLICY);
        assert!(buckets.take("a", 600, at(100)).is_ok());
        for late in [99, 78, 50] {
            let refused = buckets.take("a", 10, at(late)).unwrap_err();
            assert_eq!((refused.level.remaining, refused.retry_after_seconds), (0, 10));
            assert!(buckets.check("a", 1, at(late)).is_err());
        }
        assert!(buckets.take("a", 1, at(100)).is_err(), "nothing came back");
        assert_eq!(buckets.take("a", 5, at(105)).unwrap().remaining, 0);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let buckets = Buckets::new(POLICY);
        for caller in 0..SWEEP_MIN - 1 {
            assert!(buckets.take(&caller.to_string(), 60, at(0)).is_ok());
        }
        assert_eq!(buckets.lock().full_at.len(), SWEEP_MIN - 1);
        assert!(buckets.take("late", 60, at(60)).is_ok());
        assert_eq!(buckets.lock().full_at.len(), 1);
        for caller in 0..BUCKETS_MAX + 10 {
            assert!(buckets.take(&format!("many {caller}"), 1, at(60)).is_ok());
        }
        assert!(buckets.lock().full_at.len() <= BUCKETS_MAX);
    }

    #[test]
    fn the_headers_say_policy_and_level() {
        let level = Buckets::new(POLICY).take("a", 90, at(0)).unwrap();
        let text = level.headers().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        assert_eq!(text, [r#"ratelimit-policy: "bytes";q=600;w=600"#, r#"ratelimit: "bytes";r=510;t=90"#]);
    }
}

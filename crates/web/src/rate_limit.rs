//! Rate limits: a token bucket for each caller and class (HTTP contract 1.12).

mod bucket;
mod memory;
mod shared;

use std::{fmt::Display, net::IpAddr, num::NonZeroU32, sync::Arc};

use actix_web::http::header::{self, HeaderName, HeaderValue};
use kernel::{Clock, Detail, UserId};
use sha2::{Digest as _, Sha256};

pub use bucket::Policy;
pub use shared::RedisUrl;

use super::{catalogue, client_address::counted, error::ApiError};
use bucket::{Charge, Outcome, microseconds};
use memory::Memory;
use shared::{Call, PATIENCE, Shared};

pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Most charges of one account by one address in a minute: a stranger's address cannot use up the owner's logins.
const ACCOUNT_BY_ADDRESS_PER_MINUTE: u64 = 2;

/// The limit of a route's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouteLimit {
    /// None: for probes and readers of metrics.
    Unlimited,
    /// Class `user` or `service` by the caller; `anonymous` by the address, without a valid credential.
    #[default]
    General,
    /// Class `login` by the address; a handler charges the account that the request names ([`crate::Call::charge_account`]).
    Login,
}

/// The rates of the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policies {
    /// Requests of a user.
    pub user: Policy,
    /// Requests of an address without a valid credential.
    pub anonymous: Policy,
    /// Logins of an address, and of an account.
    pub login: Policy,
    /// Bytes of JSON bodies of a user.
    pub bytes: Policy,
}

/// The caller that a request is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted<'a> {
    /// Class `user`.
    User(&'a UserId),
    /// Class `service`: a key with a limit of its own, in requests a second. Its burst is twice the rate (HTTP contract 3.6).
    Key(&'a str, NonZeroU32),
    /// Class `anonymous`.
    Anonymous(IpAddr),
    /// Class `login`.
    Login(IpAddr),
}

/// The buckets of all classes.
#[derive(Debug)]
pub struct RateLimits(Option<Classes>);

#[derive(Debug)]
struct Classes {
    user: Buckets,
    anonymous: Buckets,
    login: Buckets,
    account: Buckets,
    account_by_address: Buckets,
    service: Buckets,
    bytes: Buckets,
}

/// The buckets of a class.
#[derive(Debug)]
struct Buckets {
    /// Begins their keys in Redis.
    name: &'static str,
    policy: Policy,
    /// Counts while there is no Redis.
    memory: Memory,
    shared: Option<Arc<Shared>>,
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
    /// No limits.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Limits of these rates. Processes with one `redis` share their buckets; it needs a tokio runtime, and to be there only by
    /// and by. Without it all buckets are full.
    #[must_use]
    pub fn new(policies: Policies, redis: Option<&RedisUrl>) -> Self {
        Self::counted_by(policies, redis.map(|url| Arc::new(Shared::start(url, PATIENCE))))
    }

    fn counted_by(policies: Policies, shared: Option<Arc<Shared>>) -> Self {
        let Policies { user, anonymous, login, bytes } = policies;
        let by_address = Policy::per_minute(login.class, ACCOUNT_BY_ADDRESS_PER_MINUTE.min(login.burst));
        let buckets = |name, policy| Buckets { name, policy, memory: Memory::new(), shared: shared.clone() };
        Self(Some(Classes {
            user: buckets("user", user),
            anonymous: buckets("anonymous", anonymous),
            login: buckets("login", login),
            account: buckets("account", login),
            account_by_address: buckets("account_by_address", by_address),
            // Each key has a rate of its own.
            service: buckets("service", Policy::per_second("service", 0, 0)),
            bytes: buckets("bytes", bytes),
        }))
    }

    /// Takes requests from the bucket of a caller; returns the rest, or `None` without limits.
    ///
    /// # Errors
    /// [`Exhausted`]: it holds less, and nothing was taken.
    pub async fn take(
        &self,
        caller: Counted<'_>,
        requests: u64,
        clock: &dyn Clock,
    ) -> Result<Option<Level>, Exhausted> {
        let Some(classes) = &self.0 else {
            return Ok(None);
        };
        let level = match caller {
            Counted::User(user) => classes.user.take(user.as_str(), requests, clock).await,
            Counted::Anonymous(address) => classes.anonymous.take_of(counted(address), requests, clock).await,
            Counted::Login(address) => classes.login.take_of(counted(address), requests, clock).await,
            Counted::Key(key, per_second) => {
                let per_second = u64::from(per_second.get());
                let policy = Policy::per_second("service", per_second, per_second.saturating_mul(2));
                classes.service.take_at(policy, key, requests, clock).await
            }
        };
        level.map(Some).inspect_err(Exhausted::count)
    }

    /// Charges an account that a login names, whether it exists or not. One address charges an account twice a minute at most;
    /// its further logins are judged by what others left.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub async fn take_account(
        &self,
        account: &str,
        address: IpAddr,
        clock: &dyn Clock,
    ) -> Result<(), Exhausted> {
        let Some(classes) = &self.0 else {
            return Ok(());
        };
        // Neither this process nor a shared store keeps a list of addresses of users.
        let account = hex::encode(Sha256::digest(account));
        let pair = format!("{} {account}", counted(address));
        let judged = if classes.account_by_address.take(&pair, 1, clock).await.is_ok() {
            classes.account.take(&account, 1, clock).await.map(drop)
        } else {
            classes.account.check(&account, 1, clock).await
        };
        judged.inspect_err(Exhausted::count)
    }

    /// Takes bytes of a body from the bucket of a user; returns the rest, or `None` without limits.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub async fn take_bytes(
        &self,
        user: &UserId,
        bytes: u64,
        clock: &dyn Clock,
    ) -> Result<Option<Level>, Exhausted> {
        match &self.0 {
            Some(classes) => {
                let level = classes.bytes.take(user.as_str(), bytes, clock).await;
                level.map(Some).inspect_err(Exhausted::count)
            }
            None => Ok(None),
        }
    }

    /// Checks that so many bytes could be taken; takes none.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub async fn check_bytes(&self, user: &UserId, bytes: u64, clock: &dyn Clock) -> Result<(), Exhausted> {
        match &self.0 {
            Some(classes) => {
                classes.bytes.check(user.as_str(), bytes, clock).await.inspect_err(Exhausted::count)
            }
            None => Ok(()),
        }
    }
}

impl Buckets {
    async fn take(&self, caller: &str, amount: u64, clock: &dyn Clock) -> Result<Level, Exhausted> {
        self.take_at(self.policy, caller, amount, clock).await
    }

    async fn take_of(
        &self,
        caller: impl Display,
        amount: u64,
        clock: &dyn Clock,
    ) -> Result<Level, Exhausted> {
        self.take(&caller.to_string(), amount, clock).await
    }

    async fn take_at(
        &self,
        policy: Policy,
        caller: &str,
        amount: u64,
        clock: &dyn Clock,
    ) -> Result<Level, Exhausted> {
        judged(policy, amount, self.charge(Call::Take, caller, policy.charge(amount), clock).await)
    }

    async fn check(&self, caller: &str, amount: u64, clock: &dyn Clock) -> Result<(), Exhausted> {
        let outcome = self.charge(Call::Check, caller, self.policy.charge(amount), clock).await;
        judged(self.policy, amount, outcome).map(drop)
    }

    async fn charge(&self, call: Call, caller: &str, charge: Charge, clock: &dyn Clock) -> Outcome {
        if let Some(shared) = &self.shared {
            let key = format!("rate_limit:{}:{caller}", self.name);
            if let Some(outcome) = shared.charge(&key, charge, call, clock.pinned().map(microseconds)).await {
                return outcome;
            }
        }
        let now_us = microseconds(clock.now());
        match call {
            Call::Take => self.memory.take(caller, charge, now_us),
            Call::Check => self.memory.check(caller, charge, now_us),
        }
    }
}

fn judged(policy: Policy, amount: u64, outcome: Outcome) -> Result<Level, Exhausted> {
    let missing_us = outcome.full_at_us.saturating_sub(outcome.now_us);
    let window_us = policy.window_us();
    let level = Level {
        policy,
        remaining: policy.amount_in(window_us.saturating_sub(missing_us)),
        full_in_seconds: whole_seconds(missing_us),
    };
    if outcome.is_taken {
        return Ok(level);
    }
    let lacking_us = missing_us.saturating_add(policy.charge(amount).needed_us).saturating_sub(window_us);
    Err(Exhausted { level, retry_after_seconds: whole_seconds(lacking_us).max(1) })
}

impl Exhausted {
    fn count(&self) {
        metrics::counter!("rate_limited_total", "class" => self.level.policy.class).increment(1);
    }
}

impl Level {
    /// The values of `RateLimit-Policy` and `RateLimit` for this bucket.
    #[must_use]
    pub fn values(&self) -> [String; 2] {
        let Policy { class, burst, .. } = self.policy;
        let (window, remaining) = (whole_seconds(self.policy.window_us()), self.remaining);
        let full_in = self.full_in_seconds;
        [format!("\"{class}\";q={burst};w={window}"), format!("\"{class}\";r={remaining};t={full_in}")]
    }
}

/// The headers of an answer that was counted by these buckets.
pub(super) fn headers(levels: &[Level]) -> Option<[(HeaderName, HeaderValue); 2]> {
    let [first, others @ ..] = levels else {
        return None;
    };
    let append = |[policies, rests]: [String; 2], level: &Level| {
        let [policy, rest] = level.values();
        [format!("{policies}, {policy}"), format!("{rests}, {rest}")]
    };
    let [policies, rests] = others.iter().fold(first.values(), append);
    let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
    Some([(RATE_LIMIT_POLICY, value(policies)), (RATE_LIMIT, value(rests))])
}

impl From<Exhausted> for ApiError {
    fn from(exhausted: Exhausted) -> Self {
        let policy = exhausted.level.policy;
        let window_seconds = whole_seconds(policy.window_us());
        let error = rate_limited(policy.burst, window_seconds, exhausted.retry_after_seconds);
        let headers = headers(&[exhausted.level]).into_iter().flatten();
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

/// Microseconds in whole seconds, rounded up.
fn whole_seconds(time_us: i64) -> u64 {
    u64::try_from(time_us.max(0)).unwrap_or(0).div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use kernel::ManualClock;
    use time::{Duration, OffsetDateTime};

    use super::*;

    const BYTES: Policy = Policy { class: "bytes", burst: 600, per_minute: 60 };

    fn limits() -> RateLimits {
        let policies = Policies {
            user: Policy::per_second("user", 100, 200),
            anonymous: Policy::per_second("anonymous", 20, 40),
            login: Policy::per_minute("login", 10),
            bytes: BYTES,
        };
        RateLimits::new(policies, None)
    }

    fn at(seconds: i64) -> ManualClock {
        ManualClock::at(OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds))
    }

    fn user(id: &str) -> UserId {
        id.parse().unwrap()
    }

    fn take(limits: &RateLimits, id: &str, bytes: u64, seconds: i64) -> Result<Level, Exhausted> {
        let taken = limits.take_bytes(&user(id), bytes, &at(seconds)).now_or_never().unwrap();
        taken.map(Option::unwrap)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_what_flows_in() {
        let limits = limits();
        assert_eq!(take(&limits, "a", 500, 0).unwrap().remaining, 100);
        let refused = take(&limits, "a", 110, 0).unwrap_err();
        assert_eq!((refused.level.remaining, refused.retry_after_seconds), (100, 10));
        assert_eq!(refused.level.full_in_seconds, 500);
        assert_eq!(take(&limits, "b", 600, 0).unwrap().remaining, 0, "another caller");
        assert!(take(&limits, "a", 110, 9).is_err());
        assert_eq!(take(&limits, "a", 110, 10).unwrap().remaining, 0);
        assert_eq!(take(&limits, "a", 0, 10_000).unwrap().remaining, 600, "full again");
    }

    #[test]
    fn more_than_a_bucket_holds_needs_a_full_one() {
        let limits = limits();
        assert!(take(&limits, "a", 1, 0).is_ok());
        assert!(take(&limits, "a", 9_000, 0).is_err());
        assert_eq!(take(&limits, "a", 9_000, 1).unwrap().remaining, 0);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let limits = limits();
        assert!(take(&limits, "a", 600, 100_000).is_ok());
        assert_eq!(take(&limits, "a", 1, 0).unwrap_err().retry_after_seconds, 1);
        assert!(take(&limits, "a", 600, 599).is_err(), "as if it had been emptied at the first look");
        assert!(take(&limits, "a", 600, 600).is_ok());
        assert!(take(&limits, "a", 1, 590).is_err());
        assert!(take(&limits, "a", 600, 1_190).is_ok());
    }

    #[test]
    fn a_request_that_comes_late_gives_nothing_back() {
        let limits = limits();
        assert!(take(&limits, "a", 600, 100).is_ok());
        let refused = take(&limits, "a", 10, 99).unwrap_err();
        assert_eq!((refused.level.remaining, refused.retry_after_seconds), (0, 11));
        assert!(limits.check_bytes(&user("a"), 1, &at(99)).now_or_never().unwrap().is_err());
        assert!(take(&limits, "a", 1, 100).is_err(), "nothing came back");
        assert_eq!(take(&limits, "a", 5, 105).unwrap().remaining, 0);
    }

    #[test]
    fn the_headers_say_policy_and_level() {
        let limits = limits();
        let bytes = take(&limits, "a", 90, 0).unwrap();
        let requests = limits.take(Counted::User(&user("a")), 43, &at(0)).now_or_never().unwrap();
        let text = |levels: &[Level]| {
            headers(levels).unwrap().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        };
        assert_eq!(
            text(&[bytes]),
            [r#"ratelimit-policy: "bytes";q=600;w=600"#, r#"ratelimit: "bytes";r=510;t=90"#]
        );
        assert_eq!(
            text(&[requests.unwrap().unwrap(), bytes]),
            [
                r#"ratelimit-policy: "user";q=200;w=2, "bytes";q=600;w=600"#,
                r#"ratelimit: "user";r=157;t=1, "bytes";r=510;t=90"#
            ]
        );
        assert!(headers(&[]).is_none());
    }

    #[test]
    fn a_key_has_a_burst_of_twice_its_rate() {
        let limits = limits();
        let rate = NonZeroU32::new(3).unwrap();
        let take = |key| limits.take(Counted::Key(key, rate), 1, &at(0)).now_or_never().unwrap();
        for left in (0..6).rev() {
            assert_eq!(take("a").unwrap().unwrap().remaining, left);
        }
        assert!(take("a").is_err());
        assert!(take("b").is_ok());
    }

    /// Two charges by one address, then its logins cost the account nothing; ten addresses use it up for all.
    #[test]
    fn an_account_is_charged_twice_a_minute_by_one_address() {
        let limits = limits();
        let login = |address: &str, seconds| {
            let address = address.parse().unwrap();
            limits.take_account("a@example.com", address, &at(seconds)).now_or_never().unwrap()
        };
        for _ in 0..50 {
            assert!(login("192.0.2.1", 0).is_ok());
        }
        for address in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
            assert!(login(address, 0).is_ok() && login(address, 0).is_ok(), "{address}");
        }
        assert!(login("2001:db8::1", 0).is_ok() && login("2001:db8::2", 0).is_ok(), "ten in all");
        assert_eq!(login("192.0.2.5", 0).unwrap_err().retry_after_seconds, 6);
        assert!(login("192.0.2.1", 0).is_err(), "also for an address that charges no more");
        let now = at(0);
        let other = limits.take_account("b@example.com", "192.0.2.1".parse().unwrap(), &now);
        assert!(other.now_or_never().unwrap().is_ok());
        assert!(login("192.0.2.5", 6).is_ok());
        assert!(login("192.0.2.6", 6).is_err());
    }
}

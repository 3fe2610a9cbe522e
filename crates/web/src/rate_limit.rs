//! Rate limits: a token bucket for each caller and class (HTTP contract 1.12).

mod bucket;
mod memory;
mod shared;

use std::{borrow::Cow, net::IpAddr, num::NonZeroU32};

use actix_web::http::header::{self, HeaderName, HeaderValue};
use kernel::{Clock, Detail, UserId};
use sha2::{Digest as _, Sha256};

pub use bucket::Policy;
pub use shared::RedisUrl;

use super::{catalogue, client_address::counted, error::ApiError};
use bucket::{Call, ChargeOutcome, microseconds};
use memory::Memory;
use shared::{KeyedCharge, PATIENCE, Shared};

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

/// Bytes of a request's body, as far as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyBytes {
    /// There are none, or nobody counts them.
    None,
    /// They are taken.
    Taken(u64),
    /// So many must be left; they are taken later or not at all.
    Checked(u64),
}

/// Rest of the buckets of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// Of its requests; `None` without limits.
    pub requests: Option<Level>,
    /// Of its bytes, if they were taken.
    pub bytes: Option<Level>,
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
    shared: Option<Shared>,
}

/// The buckets of a class.
#[derive(Debug)]
struct Buckets {
    /// Begins their keys in Redis.
    name: &'static str,
    policy: Policy,
    /// Counts while there is no Redis.
    memory: Memory,
}

/// An amount of one bucket.
struct Draw<'a> {
    buckets: &'a Buckets,
    policy: Policy,
    caller: Cow<'a, str>,
    amount: u64,
    call: Call,
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
        Self::counted_by(policies, redis.map(|url| Shared::start(url, PATIENCE)))
    }

    fn counted_by(policies: Policies, shared: Option<Shared>) -> Self {
        let Policies { user, anonymous, login, bytes } = policies;
        let by_address = Policy::per_minute(login.class, ACCOUNT_BY_ADDRESS_PER_MINUTE.min(login.burst));
        let buckets = |name, policy| Buckets { name, policy, memory: Memory::new() };
        Self(Some(Classes {
            user: buckets("user", user),
            anonymous: buckets("anonymous", anonymous),
            login: buckets("login", login),
            account: buckets("account", login),
            account_by_address: buckets("account_by_address", by_address),
            // Each key has a rate of its own.
            service: buckets("service", Policy::per_second("service", 0, 0)),
            bytes: buckets("bytes", bytes),
            shared,
        }))
    }

    /// Takes requests from the bucket of a caller, and the bytes of a body from that of a user, in one round trip; returns the
    /// rest.
    ///
    /// # Errors
    /// [`Exhausted`]: one of them holds less. Of the bytes nothing was taken then; the requests are, if they were left.
    pub async fn take(
        &self,
        caller: Counted<'_>,
        requests: u64,
        body: BodyBytes,
        clock: &dyn Clock,
    ) -> Result<Levels, Exhausted> {
        let Some(classes) = &self.0 else {
            return Ok(Levels::default());
        };
        let requests = classes.draw(caller, requests, Call::Take);
        let (bytes, call) = match (caller, body) {
            (Counted::User(_), BodyBytes::Taken(bytes)) => (bytes, Call::Take),
            (Counted::User(_), BodyBytes::Checked(bytes)) => (bytes, Call::Check),
            _ => {
                let [level] = classes.judge([requests], clock).await;
                return Ok(Levels { requests: Some(level.inspect_err(Exhausted::count)?), bytes: None });
            }
        };
        let bytes = classes.bytes.draw(requests.caller.clone(), bytes, call);
        let [requests, bytes] = classes.judge([requests, bytes], clock).await;
        let requests = requests.inspect_err(Exhausted::count)?;
        let bytes = bytes.inspect_err(Exhausted::count)?;
        Ok(Levels { requests: Some(requests), bytes: Some(bytes).filter(|_| call == Call::Take) })
    }

    /// Checks that a request could be taken from the bucket of a caller; takes none.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub async fn check(&self, caller: Counted<'_>, clock: &dyn Clock) -> Result<(), Exhausted> {
        let Some(classes) = &self.0 else {
            return Ok(());
        };
        let [level] = classes.judge([classes.draw(caller, 1, Call::Check)], clock).await;
        level.map(drop).inspect_err(Exhausted::count)
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
        let pair = classes.account_by_address.draw(pair.into(), 1, Call::Take);
        let account = classes.account.draw(account.into(), 1, Call::Take);
        // Without rest of the pair the account is looked at only.
        let [_, account] = classes.judge([pair, account], clock).await;
        account.map(drop).inspect_err(Exhausted::count)
    }

    /// Takes bytes of a body, as they come, from the bucket of a user; returns the rest, or `None` without limits.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub async fn take_bytes(
        &self,
        user: &UserId,
        bytes: u64,
        clock: &dyn Clock,
    ) -> Result<Option<Level>, Exhausted> {
        let Some(classes) = &self.0 else {
            return Ok(None);
        };
        let bytes = classes.bytes.draw(user.as_str().into(), bytes, Call::Take);
        let [level] = classes.judge([bytes], clock).await;
        level.map(Some).inspect_err(Exhausted::count)
    }
}

impl Classes {
    /// Requests of a caller.
    fn draw<'a>(&'a self, caller: Counted<'a>, requests: u64, call: Call) -> Draw<'a> {
        let of_address = |address| counted(address).to_string().into();
        match caller {
            Counted::User(user) => self.user.draw(user.as_str().into(), requests, call),
            Counted::Anonymous(address) => self.anonymous.draw(of_address(address), requests, call),
            Counted::Login(address) => self.login.draw(of_address(address), requests, call),
            Counted::Key(key, per_second) => {
                let per_second = u64::from(per_second.get());
                let policy = Policy::per_second("service", per_second, per_second.saturating_mul(2));
                Draw { policy, ..self.service.draw(key.into(), requests, call) }
            }
        }
    }

    /// Charges buckets in order; once one holds too little, those after it are looked at only.
    async fn judge<const N: usize>(
        &self,
        draws: [Draw<'_>; N],
        clock: &dyn Clock,
    ) -> [Result<Level, Exhausted>; N] {
        let by_redis = match &self.shared {
            Some(shared) => {
                let charges = draws.each_ref().map(Draw::keyed);
                shared.charge(&charges, clock.pinned().map(microseconds)).await
            }
            None => None,
        };
        let mut by_redis = by_redis.into_iter().flatten();
        let (now_us, mut is_refused) = (microseconds(clock.now()), false);
        draws.map(|draw| {
            let outcome = by_redis.next().unwrap_or_else(|| draw.charge_memory(is_refused, now_us));
            is_refused |= !outcome.is_taken;
            draw.judged(outcome)
        })
    }
}

impl Buckets {
    fn draw<'a>(&'a self, caller: Cow<'a, str>, amount: u64, call: Call) -> Draw<'a> {
        Draw { buckets: self, policy: self.policy, caller, amount, call }
    }
}

impl Draw<'_> {
    fn keyed(&self) -> KeyedCharge {
        KeyedCharge {
            key: format!("rate_limit:{}:{}", self.buckets.name, self.caller),
            charge: self.policy.charge(self.amount),
            call: self.call,
        }
    }

    /// The charge in the memory of this process, after one that was refused or not.
    fn charge_memory(&self, is_refused: bool, now_us: i64) -> ChargeOutcome {
        let (memory, charge) = (&self.buckets.memory, self.policy.charge(self.amount));
        match self.call {
            Call::Take if !is_refused => memory.take(&self.caller, charge, now_us),
            Call::Take | Call::Check => memory.check(&self.caller, charge, now_us),
        }
    }

    fn judged(&self, outcome: ChargeOutcome) -> Result<Level, Exhausted> {
        let policy = self.policy;
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
        let needed_us = policy.charge(self.amount).needed_us;
        let lacking_us = missing_us.saturating_add(needed_us).saturating_sub(window_us);
        Err(Exhausted { level, retry_after_seconds: whole_seconds(lacking_us).max(1) })
    }
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
mod tests;

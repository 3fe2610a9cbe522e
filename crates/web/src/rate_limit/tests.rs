//! Requests, bytes and logins, counted in the memory of a process.

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
    let (caller, checked) = (user("a"), BodyBytes::Checked(1));
    let late = limits.take(Counted::User(&caller), 1, checked, &at(99)).now_or_never().unwrap();
    assert_eq!(late.unwrap_err().level.policy, BYTES);
    assert!(take(&limits, "a", 1, 100).is_err(), "nothing came back");
    assert_eq!(take(&limits, "a", 5, 105).unwrap().remaining, 0);
}

#[test]
fn the_headers_say_policy_and_level() {
    let limits = limits();
    let bytes = take(&limits, "a", 90, 0).unwrap();
    let requests =
        limits.take(Counted::User(&user("a")), 43, BodyBytes::None, &at(0)).now_or_never().unwrap();
    let text = |levels: &[Level]| {
        headers(levels).unwrap().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
    };
    assert_eq!(
        text(&[bytes]),
        [r#"ratelimit-policy: "bytes";q=600;w=600"#, r#"ratelimit: "bytes";r=510;t=90"#]
    );
    assert_eq!(
        text(&[requests.unwrap().requests.unwrap(), bytes]),
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
    let take = |key| {
        limits.take(Counted::Key(key, rate), 1, BodyBytes::Taken(9_000), &at(0)).now_or_never().unwrap()
    };
    for left in (0..6).rev() {
        let levels = take("a").unwrap();
        assert_eq!((levels.requests.unwrap().remaining, levels.bytes), (left, None));
    }
    assert!(take("a").is_err());
    assert!(take("b").is_ok());
}

/// A request that is refused takes no bytes, and bytes that are refused leave their request counted.
#[test]
fn requests_and_bytes_are_judged_in_this_order() {
    let limits = limits();
    let caller = user("a");
    let take = |requests, body, seconds| {
        limits.take(Counted::User(&caller), requests, body, &at(seconds)).now_or_never().unwrap()
    };
    let left =
        |levels: Levels| (levels.requests.unwrap().remaining, levels.bytes.map(|bytes| bytes.remaining));
    assert_eq!(left(take(1, BodyBytes::Taken(100), 0).unwrap()), (199, Some(500)));
    assert_eq!(left(take(1, BodyBytes::Checked(500), 0).unwrap()), (198, None));
    assert_eq!(left(take(1, BodyBytes::None, 0).unwrap()), (197, None));
    assert_eq!(take(1, BodyBytes::Checked(501), 0).unwrap_err().level.policy, BYTES);
    assert_eq!(take(1, BodyBytes::Taken(501), 0).unwrap_err().level.policy, BYTES);
    assert_eq!(left(take(195, BodyBytes::Taken(1), 0).unwrap()), (0, Some(499)), "two were refused");
    assert_eq!(take(1, BodyBytes::Taken(499), 0).unwrap_err().level.policy.class, "user");
    assert_eq!(left(take(1, BodyBytes::Taken(499), 1).unwrap()), (99, Some(1)));
}

/// A check takes nothing, and is refused exactly when the taking would be.
#[test]
fn a_check_leaves_a_bucket_as_it_is() {
    let limits = limits();
    let caller = Counted::Anonymous("192.0.2.1".parse().unwrap());
    for _ in 0..100 {
        assert!(limits.check(caller, &at(0)).now_or_never().unwrap().is_ok());
    }
    let taken = limits.take(caller, 40, BodyBytes::None, &at(0)).now_or_never().unwrap();
    assert_eq!(taken.unwrap().requests.unwrap().remaining, 0);
    assert!(limits.check(caller, &at(0)).now_or_never().unwrap().is_err());
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

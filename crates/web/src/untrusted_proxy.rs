//! Notices a proxy that the settings do not name, so that a forgotten one is found.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use ipnet::IpNet;
use kernel::Clock;
use time::OffsetDateTime;

use super::client_address::is_among;

/// Least time between two log lines of a process, in seconds.
const PAUSE_SECONDS: u64 = 600;

/// Requests with `X-Forwarded-For` from peers that are no trusted proxies. Each is counted, and a log line is written now and then.
///
/// Its peer is the client then (HTTP contract 1.12): behind a forgotten proxy all clients are one. A client may send the header
/// itself, so the line is only a hint.
#[derive(Debug, Default)]
pub(super) struct UntrustedProxies {
    /// In seconds since 1970.
    logged_at: Mutex<Option<i64>>,
}

impl UntrustedProxies {
    /// Notices a request with the header; returns true if that was logged.
    pub(super) fn notice(&self, peer: Option<SocketAddr>, trusted: &[IpNet], clock: &dyn Clock) -> bool {
        let Some(peer) = peer.map(|peer| peer.ip().to_canonical()) else {
            return false;
        };
        if is_among(trusted, &peer) {
            return false;
        }
        metrics::counter!("forwarded_addresses_ignored_total").increment(1);
        let is_due = self.is_due(clock.now());
        if is_due {
            log(peer);
        }
        is_due
    }

    fn is_due(&self, now: OffsetDateTime) -> bool {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        // The absolute distance: a clock that was set back must not silence it until it catches up.
        let seconds = now.unix_timestamp();
        let is_due = logged_at.is_none_or(|logged_at| seconds.abs_diff(logged_at) >= PAUSE_SECONDS);
        if is_due {
            *logged_at = Some(seconds);
        }
        is_due
    }
}

fn log(peer: IpAddr) {
    tracing::warn!(
        peer = %peer,
        "X-Forwarded-For of a peer that is not in TRUSTED_PROXIES is ignored: if it is your proxy, set TRUSTED_PROXIES to its \
         address or network, or all its clients share the limits of one address"
    );
}

#[cfg(test)]
mod tests {
    use kernel::ManualClock;
    use time::Duration;

    use super::*;

    const PAUSE: Duration = Duration::minutes(10);

    #[test]
    fn a_line_is_written_once_in_ten_minutes_and_never_for_a_trusted_proxy() {
        let (seen, trusted) = (UntrustedProxies::default(), ["10.0.0.0/8".parse().unwrap()]);
        let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
        let notice = |peer: &str| seen.notice(Some(peer.parse().unwrap()), &trusted, &clock);
        assert!(!notice("10.1.2.3:4000") && !notice("[::ffff:10.1.2.3]:4000"));
        assert!(notice("192.0.2.1:4000"));
        assert!(!notice("192.0.2.1:4000") && !notice("192.0.2.2:4000"));
        clock.advance(PAUSE - Duration::microseconds(1));
        assert!(!notice("192.0.2.2:4000"));
        clock.advance(Duration::microseconds(1));
        assert!(notice("192.0.2.2:4000") && !notice("192.0.2.2:4000"));
        clock.advance(-2 * PAUSE);
        assert!(notice("192.0.2.2:4000"), "a clock that was set back");
        assert!(!seen.notice(None, &trusted, &clock));
    }
}

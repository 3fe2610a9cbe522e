//! The keys at hand, and the task that keeps them fresh.

use std::{sync::Arc, time::Duration};

use kernel::Clock;
use time::OffsetDateTime;
use tokio::{runtime::Handle, sync::watch, task::AbortHandle, time::timeout};

use super::{fetch::FetchError, key_set::KeySet, source::Source};
use crate::token::{Issuer, Provider};

/// When key sets are fetched, and how long anyone waits for that.
#[derive(Debug, Clone, Copy)]
pub struct JwksTiming {
    /// From a fetch that succeeded to the next.
    pub refresh_every: Duration,
    /// From the first failed fetch to the next, while there are old keys; doubles each time, up to
    /// [`JwksTiming::refresh_every`].
    pub refresh_retry_first: Duration,
    /// From the first failed fetch to the next, while there are no keys that count; doubles each time.
    pub retry_first: Duration,
    /// Upper limit of the doubling.
    pub retry_max: Duration,
    /// Time that one fetch may take.
    pub fetch_timeout: Duration,
    /// Time that a request waits for the fetch under way.
    pub wait_max: Duration,
    /// Least time between two fetches for an unknown `kid`, by the [`kernel::Clock`].
    pub unknown_key_pause: Duration,
    /// Validity of a key set after it was fetched, by the [`kernel::Clock`]: a key that was withdrawn while fetching
    /// fails is not accepted for longer.
    pub keys_count_for: Duration,
}

impl Default for JwksTiming {
    /// Every 10 minutes; retries after 10 s and more, without any keys after 1 s to 30 s; 5 s a fetch; requests wait 2 s;
    /// unknown keys once a minute; keys count for 24 hours.
    fn default() -> Self {
        Self {
            refresh_every: Duration::from_mins(10),
            refresh_retry_first: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            fetch_timeout: Duration::from_secs(5),
            wait_max: Duration::from_secs(2),
            unknown_key_pause: Duration::from_mins(1),
            keys_count_for: Duration::from_hours(24),
        }
    }
}

impl JwksTiming {
    /// Of the keys in the own database. An unknown key is always worth a look there: reads keep a pause by themselves.
    pub(crate) fn own() -> Self {
        Self {
            refresh_every: Duration::from_mins(1),
            refresh_retry_first: Duration::from_secs(1),
            wait_max: Duration::from_secs(3),
            unknown_key_pause: Duration::ZERO,
            ..Self::default()
        }
    }

    /// Pause after this many failed fetches in a row.
    fn pause(&self, failures: u32, keys: Option<&Arc<KeySet>>) -> Duration {
        let (first, most) = match keys {
            Some(_) => (self.refresh_retry_first, self.refresh_every),
            None => (self.retry_first, self.retry_max),
        };
        match failures.checked_sub(1) {
            None => self.refresh_every,
            Some(doublings) => first.saturating_mul(2_u32.saturating_pow(doublings)).min(most),
        }
    }
}

/// The key set of one issuer. Fetched by one task, hence never twice at a time.
pub(crate) struct Jwks {
    state: watch::Sender<State>,
    timing: JwksTiming,
    clock: Arc<dyn Clock>,
    task: AbortHandle,
}

/// Outcome of a request for fresh keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// There is nothing to wait for: keys were asked for a short time ago.
    NotAsked,
    /// The fetch failed, or takes longer than callers wait.
    Failed,
    /// Keys were fetched.
    Fetched,
}

/// Everything that fetching and asking must agree on, changed under one lock.
struct State {
    /// The last set that could be fetched.
    fetched: Option<Fetched>,
    /// Number of fetches have ended, one way or the other.
    fetches: u64,
    /// The last fetch failed.
    has_failed: bool,
    /// A fetch is wanted or under way.
    is_fetching: bool,
    /// When an unknown key last caused a fetch.
    asked_at: Option<OffsetDateTime>,
}

/// A key set and when it was fetched.
struct Fetched {
    keys: Arc<KeySet>,
    at: OffsetDateTime,
    /// Number of the first fetch that brought the same set.
    edition: u64,
}

impl State {
    /// The keys that count: old ones serve while fetching fails, but not for ever.
    fn current(&self, timing: &JwksTiming, now: OffsetDateTime) -> Option<&Fetched> {
        // The absolute distance: after a clock was set back, the age of a set is not known.
        self.fetched.as_ref().filter(|fetched| (now - fetched.at).unsigned_abs() <= timing.keys_count_for)
    }
}

impl Jwks {
    /// Begins to fetch on `runtime`; ends when this is dropped.
    pub(crate) fn start(
        issuer: &Issuer,
        source: Source,
        timing: JwksTiming,
        clock: Arc<dyn Clock>,
        runtime: &Handle,
    ) -> Self {
        let (fetched, fetches, has_failed, is_fetching, asked_at) = (None, 0, false, true, None);
        let state = watch::Sender::new(State { fetched, fetches, has_failed, is_fetching, asked_at });
        let task = runtime
            .spawn(keep_fresh(
                (issuer.provider, issuer.iss.clone()),
                source,
                state.clone(),
                timing,
                Arc::clone(&clock),
            ))
            .abort_handle();
        Self { state, timing, clock, task }
    }

    /// The keys at hand, and the number of the fetch that brought them: another one for each set. `None` while no fetch ever
    /// succeeded, and when the last success is too long ago. Costs a read lock and a reference count.
    pub(crate) fn current(&self) -> Option<(Arc<KeySet>, u64)> {
        let state = self.state.borrow();
        let fetched = state.current(&self.timing, self.clock.now())?;
        Some((Arc::clone(&fetched.keys), fetched.edition))
    }

    /// Waits for the fetch under way, or for one that this call is allowed to cause.
    pub(crate) async fn refresh(&self, kid: Option<&str>) -> Refreshed {
        let Some(seen) = self.join_or_ask(kid, self.clock.now()) else {
            return Refreshed::NotAsked;
        };
        let mut state = self.state.subscribe();
        let ended = timeout(self.timing.wait_max, state.wait_for(|state| state.fetches > seen)).await;
        match ended {
            Ok(Ok(state)) if !state.has_failed => Refreshed::Fetched,
            _ => Refreshed::Failed,
        }
    }

    /// The number of fetches before the one to wait for; `None` when there is nothing to wait for.
    fn join_or_ask(&self, kid: Option<&str>, now: OffsetDateTime) -> Option<u64> {
        let mut seen = None;
        self.state.send_if_modified(|state| {
            let asks = !state.is_fetching && self.may_ask(state, kid, now);
            if asks {
                state.asked_at = Some(now);
                state.is_fetching = true;
            }
            seen = state.is_fetching.then_some(state.fetches);
            asks
        });
        seen
    }

    /// Only a named key is worth a fetch. Until the first keys are there, the task's own retries are enough.
    fn may_ask(&self, state: &State, kid: Option<&str>, now: OffsetDateTime) -> bool {
        // A clock that was set back must not lock the door until it catches up, hence the absolute distance.
        let has_paused = state
            .asked_at
            .is_none_or(|asked_at| (now - asked_at).unsigned_abs() >= self.timing.unknown_key_pause);
        kid.is_some() && state.fetched.is_some() && has_paused
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Fetches, publishes, pauses until it is time or somebody asks; for ever.
async fn keep_fresh(
    (provider, issuer): (Provider, String),
    mut source: Source,
    state: watch::Sender<State>,
    timing: JwksTiming,
    clock: Arc<dyn Clock>,
) {
    let mut asked = state.subscribe();
    let mut failures = 0_u32;
    loop {
        // Before the request: the set is what was published at this instant or later.
        let asked_at = clock.now();
        let fetched = source.fetch().await;
        report(provider, &issuer, &fetched);
        failures = if fetched.is_ok() { 0 } else { failures.saturating_add(1) };
        state.send_modify(|state| {
            state.has_failed = fetched.is_err();
            if let Ok(keys) = fetched {
                // Tokens that the same keys verified stay remembered.
                let same = state.fetched.as_ref().filter(|known| known.keys.is_same_as(&keys));
                let edition = same.map_or(state.fetches, |known| known.edition);
                state.fetched = Some(Fetched { keys: Arc::new(keys), at: asked_at, edition });
            }
            state.fetches = state.fetches.wrapping_add(1);
            state.is_fetching = false;
        });
        let pause = {
            let state = state.borrow();
            let keys = state.current(&timing, clock.now()).map(|fetched| &fetched.keys);
            if keys.is_none() && state.fetched.is_some() {
                tracing::error!(
                    provider = provider.as_str(),
                    issuer,
                    "signing keys could not be fetched for too long; no token of this issuer is accepted until they are"
                );
            }
            timing.pause(failures, keys)
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = asked.wait_for(|state| state.is_fetching) => {}
        }
        state.send_modify(|state| state.is_fetching = true);
    }
}

fn report(provider: Provider, issuer: &str, fetched: &Result<KeySet, FetchError>) {
    let provider = provider.as_str();
    let result = if fetched.is_ok() { "ok" } else { "error" };
    metrics::counter!("jwks_fetches_total", "provider" => provider, "result" => result).increment(1);
    match fetched {
        Ok(keys) => tracing::debug!(provider, issuer, keys = keys.len(), "signing keys were fetched"),
        Err(error) => {
            tracing::warn!(provider, issuer, error = %pg::pool::chain(error), "signing keys could not be fetched");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_ever_more_slowly_and_success_sets_back() {
        let timing = JwksTiming::default();
        let seconds = |failures: &[u32], keys: Option<&Arc<KeySet>>| -> Vec<u64> {
            failures.iter().map(|count| timing.pause(*count, keys).as_secs()).collect()
        };
        let key = br#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#;
        let keys = Arc::new(KeySet::parse(key, &[crate::Algorithm::Rs256]).unwrap());
        assert_eq!(
            seconds(&[0, 1, 2, 3, 6, 7, 8, 40, u32::MAX, 0], Some(&keys)),
            [600, 10, 20, 40, 320, 600, 600, 600, 600, 600]
        );
        assert_eq!(seconds(&[1, 2, 3, 5, 6, 40], None), [1, 2, 4, 16, 30, 30]);
    }
}

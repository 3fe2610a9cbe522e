//! The hour of the last use of API keys, and of the last request of users: noted in memory, and written once an hour each.
//!
//! Guarantees that a request neither writes nor waits for it. Notes of the last minute are lost with the process.
//! Touches identity, one commit a round.

use std::{
    collections::{BTreeMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kernel::UserId;
use pg::{DbError, Pool, Tx};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::jobs::{Job, Next};

/// Pause between two rounds.
const EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// Most keys and users of one round: a commit of some milliseconds.
const ROUND_MAX: usize = 1_000;
/// Most keys or users that are remembered for an hour. Beyond it some are written again, which changes nothing.
const SEEN_MAX: usize = 100_000;

/// Uses that are still to be written. Shared by all threads.
#[derive(Debug, Default)]
pub struct Uses {
    /// API keys.
    pub keys: Hourly<Uuid>,
    /// Users.
    pub users: Hourly<UserId>,
}

/// Things that were used, by the hour.
#[derive(Debug)]
pub struct Hourly<K>(Mutex<State<K>>);

#[derive(Debug)]
struct State<K> {
    hour: OffsetDateTime,
    /// Those of the hour.
    seen: HashSet<K>,
    /// Those that are not written, by their hour.
    waiting: BTreeMap<OffsetDateTime, Vec<K>>,
}

impl<K> Default for Hourly<K> {
    fn default() -> Self {
        let (hour, seen, waiting) = (OffsetDateTime::UNIX_EPOCH, HashSet::new(), BTreeMap::new());
        Self(Mutex::new(State { hour, seen, waiting }))
    }
}

impl<K: Eq + Hash + Clone> Hourly<K> {
    /// Notes a use.
    pub fn note(&self, now: OffsetDateTime, thing: &K) {
        let mut state = self.lock();
        // In UTC hours have 60 minutes.
        if now < state.hour || now - state.hour >= time::Duration::HOUR {
            state.hour = now.truncate_to_hour();
            state.seen.clear();
        }
        if state.seen.contains(thing) {
            return;
        }
        if state.seen.len() >= SEEN_MAX {
            state.seen.clear();
        }
        state.seen.insert(thing.clone());
        let hour = state.hour;
        let waiting = state.waiting.entry(hour).or_default();
        if waiting.len() < SEEN_MAX {
            waiting.push(thing.clone());
        }
    }

    /// Takes at most [`ROUND_MAX`] of the oldest hour that waits.
    fn take(&self) -> Option<(OffsetDateTime, Vec<K>)> {
        let mut state = self.lock();
        let mut oldest = state.waiting.first_entry()?;
        let hour = *oldest.key();
        let rest = oldest.get().len().saturating_sub(ROUND_MAX);
        let taken = oldest.get_mut().split_off(rest);
        if rest == 0 {
            oldest.remove();
        }
        Some((hour, taken))
    }

    /// Takes back what could not be written.
    fn put_back(&self, hour: OffsetDateTime, things: Vec<K>) {
        let mut state = self.lock();
        let waiting = state.waiting.entry(hour).or_default();
        let room = SEEN_MAX.saturating_sub(waiting.len());
        waiting.extend(things.into_iter().take(room));
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job that writes what was noted.
#[must_use]
pub fn job(pool: &Pool, uses: &Arc<Uses>) -> Job {
    Job::new("note_last_use", EVERY, (pool.clone(), Arc::clone(uses)), |(pool, uses)| {
        Box::pin(async {
            let wrote = run(pool, uses).await?;
            Ok(if wrote { Next::AtOnce } else { Next::Later })
        })
    })
}

/// One round; returns whether there was something to write.
///
/// # Errors
/// [`DbError`]; then it is written by a later round.
pub async fn run(pool: &Pool, uses: &Uses) -> Result<bool, DbError> {
    let keys = uses.keys.take();
    if let Some((hour, keys)) = &keys {
        let written =
            Tx::run(pool, async |tx| identity::api_keys::note_use(tx.conn(), *hour, keys).await).await;
        if let Err(error) = written {
            uses.keys.put_back(*hour, keys.clone());
            return Err(error);
        }
    }
    let users = uses.users.take();
    if let Some((hour, users)) = &users {
        let written =
            Tx::run(pool, async |tx| identity::users::note_seen(tx.conn(), *hour, users).await).await;
        if let Err(error) = written {
            uses.users.put_back(*hour, users.clone());
            return Err(error);
        }
    }
    Ok(keys.is_some() || users.is_some())
}

#[cfg(test)]
mod tests {
    use time::{Duration, macros::datetime};

    use super::*;

    #[test]
    fn a_thing_waits_once_an_hour() {
        let (hourly, at) = (Hourly::default(), datetime!(2026-01-15 12:34:56 UTC));
        for minutes in 0..25 {
            hourly.note(at + Duration::minutes(minutes), &"a");
            hourly.note(at + Duration::minutes(minutes), &"b");
        }
        hourly.note(at + Duration::minutes(26), &"a");
        assert_eq!(hourly.take(), Some((datetime!(2026-01-15 12:00 UTC), vec!["a", "b"])));
        assert_eq!(hourly.take(), Some((datetime!(2026-01-15 13:00 UTC), vec!["a"])));
        assert_eq!(hourly.take(), None);
        // A clock that was put back.
        hourly.note(at, &"b");
        assert_eq!(hourly.take(), Some((datetime!(2026-01-15 12:00 UTC), vec!["b"])));
    }

    #[test]
    fn rounds_and_memory_are_bounded_and_what_failed_comes_again() {
        let (hourly, at) = (Hourly::default(), datetime!(2026-01-15 12:34:56 UTC));
        for number in 0..SEEN_MAX + 2_500 {
            hourly.note(at, &number);
        }
        let (hour, first) = hourly.take().unwrap();
        assert_eq!(first.len(), ROUND_MAX);
        hourly.put_back(hour, first.clone());
        let mut taken = Vec::new();
        while let Some((_, more)) = hourly.take() {
            assert!(more.len() <= ROUND_MAX);
            taken.extend(more);
        }
        assert_eq!(taken.len(), SEEN_MAX);
        assert!(first.iter().all(|number| taken.contains(number)));
    }
}

//! The buckets of a class in the memory of this process.
//!
//! A full bucket needs no memory, so what is kept is bounded by the callers that used theirs lately.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::bucket::{Charge, ChargeOutcome, SET_BACK_MIN_US, take};

/// Parts with a lock of their own, so that threads rarely wait for each other.
const SHARDS: usize = 64;
/// Most callers of a shard whose bucket is kept. Beyond it, the buckets that are nearest to full are forgotten.
const BUCKETS_MAX: usize = 100_000 / SHARDS;
/// Fewest buckets of a shard for which it is worth looking for full ones.
const SWEEP_MIN: usize = 64;

/// The buckets that are not full.
#[derive(Debug)]
pub(super) struct Memory {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    /// When the bucket of a caller will be full, in microseconds since 1970.
    full_at: HashMap<Box<str>, i64>,
    /// At how many buckets full ones are looked for.
    sweep_at: usize,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Takes a charge from the bucket of a caller.
    pub(super) fn take(&self, caller: &str, charge: Charge, now_us: i64) -> ChargeOutcome {
        let mut shard = self.shard(caller);
        let known = shard.full_at.get_mut(caller);
        let (outcome, stored) = take(known.as_deref().copied(), now_us, charge);
        match (known, stored) {
            (_, None) => {}
            (Some(full_at), Some(stored)) => *full_at = stored,
            (None, Some(stored)) => {
                shard.full_at.insert(caller.into(), stored);
                shard.sweep(now_us, charge.window_us);
            }
        }
        outcome
    }

    /// The outcome of a charge, which is not taken.
    pub(super) fn check(&self, caller: &str, charge: Charge, now_us: i64) -> ChargeOutcome {
        let full_at = self.shard(caller).full_at.get(caller).copied();
        take(full_at, now_us, charge).0
    }

    fn shard(&self, caller: &str) -> MutexGuard<'_, Shard> {
        let hash = usize::try_from(self.hasher.hash_one(caller) >> 32).unwrap_or(0);
        let [first, ..] = &self.shards;
        let shard = hash.checked_rem(SHARDS).and_then(|number| self.shards.get(number));
        shard.unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn sweep(&mut self, now_us: i64, window_us: i64) {
        if self.full_at.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        let latest = now_us.saturating_add(window_us);
        // Later instants are from before the clock was set back.
        let latest_known = latest.saturating_add(SET_BACK_MIN_US);
        self.full_at.retain(|_, full_at| *full_at > now_us && *full_at <= latest_known);
        if self.full_at.len() >= BUCKETS_MAX {
            let half = now_us.saturating_add(window_us / 2);
            self.full_at.retain(|_, full_at| *full_at > half);
        }
        if self.full_at.len() >= BUCKETS_MAX {
            self.full_at.clear();
        }
        self.sweep_at = self.full_at.len().saturating_mul(2).min(BUCKETS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARGE: Charge = Charge { needed_us: 60_000_000, window_us: 600_000_000 };

    fn held(memory: &Memory) -> usize {
        memory.shards.iter().map(|shard| shard.lock().unwrap().full_at.len()).sum()
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let memory = Memory::new();
        let many = SHARDS * SWEEP_MIN / 2;
        for caller in 0..many {
            assert!(memory.take(&caller.to_string(), CHARGE, 0).is_taken);
        }
        assert_eq!(held(&memory), many);
        for caller in 0..many * 4 {
            assert!(memory.take(&format!("late {caller}"), CHARGE, 60_000_000).is_taken);
        }
        let early = |shard: &Mutex<Shard>| {
            shard.lock().unwrap().full_at.keys().filter(|caller| !caller.starts_with("late")).count()
        };
        assert_eq!(memory.shards.iter().map(early).sum::<usize>(), 0);
        for caller in 0..BUCKETS_MAX * SHARDS * 2 {
            assert!(memory.take(&format!("many {caller}"), CHARGE, 60_000_000).is_taken);
        }
        assert!(held(&memory) <= BUCKETS_MAX * SHARDS);
    }

    #[test]
    fn threads_that_take_at_the_same_time_share_a_bucket() {
        let memory = Memory::new();
        let taken = || (0..100).filter(|_| memory.take("a", CHARGE, 0).is_taken).count();
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(taken)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 10);
    }
}

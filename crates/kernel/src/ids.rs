//! Randomness as a parameter. Nothing but [`RandomIds`] draws ids (I6).

use std::sync::{Mutex, PoisonError};

use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// Where ids come from.
pub trait Ids: Send + Sync + 'static {
    /// A new UUID, unique for all practical purposes.
    fn uuid(&self) -> Uuid;
}

/// Random version 4 UUIDs.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws random ids")]
    fn uuid(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// Reproducible UUIDs from a seed. For tests.
#[derive(Debug)]
pub struct SeededIds(Mutex<StdRng>);

impl SeededIds {
    /// The sequence of ids that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Ids for SeededIds {
    fn uuid(&self) -> Uuid {
        let mut bytes = [0_u8; 16];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_ids_and_others_differ() {
        let (one, same, other) = (SeededIds::new(1), SeededIds::new(1), SeededIds::new(2));
        let first = one.uuid();
        assert_eq!(first, same.uuid());
        assert_ne!(first, one.uuid());
        assert_ne!(first, other.uuid());
        assert_eq!(first.get_version_num(), 4);
        assert_ne!(RandomIds.uuid(), RandomIds.uuid());
    }
}

//! Random choices that follow from a seed.

use kernel::{Ids as _, RandomIds, SeededIds};

/// Kills of a test unless `CRASH_KILLS` says otherwise.
const KILLS: u64 = 3;

/// A sequence of choices.
pub struct Choices(SeededIds);

impl Choices {
    pub fn new(seed: u64) -> Self {
        Self(SeededIds::new(seed))
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        let low = self.0.uuid().as_u64_pair().1;
        // Its first two bits say that it is a UUID.
        (low << 2 >> 2) % bound
    }
}

/// The seed of this run: a new one, unless one is to be repeated.
pub fn seed() -> u64 {
    variable("CRASH_SEED")
        .unwrap_or_else(|| Choices(SeededIds::new(RandomIds.uuid().as_u64_pair().1)).below(1 << 32))
}

/// How many kills are wanted.
pub fn kills() -> u64 {
    variable("CRASH_KILLS").unwrap_or(KILLS)
}

#[expect(clippy::disallowed_methods, reason = "a recipe has no other way to set how long a test goes on")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

//! Values that are the same in every run: a clock that stands still, ids from a seed, users by name.

use kernel::{ManualClock, SeededIds, UserId};
use time::{OffsetDateTime, macros::datetime};

/// The instant at which [`clock`] stands: a Thursday noon, far from the edges of day, month and year.
#[must_use]
pub fn instant() -> OffsetDateTime {
    datetime!(2026-01-15 12:00 UTC)
}

/// A clock that stands at [`instant`] until the test moves it.
#[must_use]
pub fn clock() -> ManualClock {
    ManualClock::at(instant())
}

/// Ids that are the same in every run. Two calls begin the same sequence: share one within a test.
#[must_use]
pub fn ids() -> SeededIds {
    SeededIds::new(1)
}

/// The user whose id is `name`.
///
/// # Panics
/// When `name` cannot be a user id.
#[must_use]
pub fn user(name: &str) -> UserId {
    match name.parse() {
        Ok(user) => user,
        Err(error) => panic!("{name:?} cannot be a user id: {error}"),
    }
}

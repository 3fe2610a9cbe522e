//! Why a key cannot be used.

use kernel::{Detail, Failure, Kind};
use time::OffsetDateTime;

/// The idempotency key was used before with another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the idempotency key was used for another request at {first_used_at}")]
pub struct KeyConflict {
    /// Time of the first use.
    pub first_used_at: OffsetDateTime,
}

impl Failure for KeyConflict {
    fn code(&self) -> &'static str {
        "IdempotencyConflictException"
    }

    fn kind(&self) -> Kind {
        Kind::Invalid
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        vec![("first_used_at", Detail::Time(self.first_used_at))]
    }
}

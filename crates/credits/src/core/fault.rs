//! Refusals and faults that end a command early, and arithmetic that never wraps.

use kernel::Credits;

use crate::error::Refusal;

/// The state breaks the rules of the ledger: damage, or a bug. Nothing may be saved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger broke its rules: {0}")]
pub struct Fault(pub(crate) String);

/// Why a command was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// A decided no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something that cannot be.
    #[error(transparent)]
    Broken(#[from] Fault),
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// The sum, which always fits while the rules hold.
pub(crate) fn plus(a: Credits, b: Credits) -> Result<Credits, Fault> {
    a.checked_add(b).ok_or_else(|| Fault::new("a sum does not fit"))
}

/// The difference, which always fits while the rules hold.
pub(crate) fn minus(a: Credits, b: Credits) -> Result<Credits, Fault> {
    a.checked_sub(b).ok_or_else(|| Fault::new("a difference does not fit"))
}

/// The same amount the other way.
pub(crate) fn negative(a: Credits) -> Result<Credits, Fault> {
    minus(Credits::ZERO, a)
}

/// The next number of a count.
pub(crate) fn next(count: i64) -> Result<i64, Fault> {
    count.checked_add(1).ok_or_else(|| Fault::new("a counter is full"))
}

/// The exact sum of any number of amounts: an i128 holds more i64 than memory does.
pub(crate) fn total(amounts: impl IntoIterator<Item = Credits>) -> i128 {
    amounts.into_iter().fold(0_i128, |sum, amount| sum.saturating_add(i128::from(amount.micro())))
}

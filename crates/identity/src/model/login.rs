//! Logins with tokens of this service.

use uuid::Uuid;

/// Logins of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSelection {
    /// This one.
    One(Uuid),
    /// All but this one.
    Others(Uuid),
    /// All.
    All,
}

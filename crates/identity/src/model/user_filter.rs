//! Filter of the list of users.

use time::OffsetDateTime;

use super::{Plan, Role};

/// Filter of the users; all of them by default (HTTP contract 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserFilter {
    /// Only those whose id or address begins with this text, or whose name contains it, without case (of Latin, Greek, Cyrillic and
    /// Armenian letters; a sharp s is two s, and a dotless i is an i).
    pub text: Option<String>,
    /// Only those with this role.
    pub role: Option<Role>,
    /// Only those with this plan.
    pub plan: Option<Plan>,
    /// Only those who may use the service, or who may not.
    pub is_active: Option<bool>,
    /// Only those made at this instant or later.
    pub from: Option<OffsetDateTime>,
    /// Only those made at this instant or earlier.
    pub to: Option<OffsetDateTime>,
}

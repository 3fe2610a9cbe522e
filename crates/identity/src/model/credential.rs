//! The password of an own account.

use std::fmt;

use kernel::UserId;

/// The password of an own account, and what is known of its user.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user.
    pub user_id: UserId,
    /// Hash of the password.
    pub password_hash: String,
    /// The address of the user.
    pub email: Option<String>,
    /// True if the user holds the address.
    pub email_vouched: bool,
    /// True if the user may use the service at all.
    pub is_active: bool,
}

impl Credential {
    /// The address of the user, if they hold it.
    #[must_use]
    pub fn held_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_vouched)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

//! A user, and what is said about one.

use kernel::UserId;
use time::OffsetDateTime;

use super::{EmailVoucher, Plan, Role, fold};

/// A user as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The integer that documented answers carry next to the external id (HTTP contract 1.2); positive.
    pub id: i64,
    /// The id the identity provider gave.
    pub user_id: UserId,
    /// As it was given; `None` for users without one.
    pub email: Option<String>,
    /// True if the user holds the address, alone; a contact that nobody vouched for is no proof of anything.
    pub email_vouched: bool,
    /// Display name.
    pub name: Option<String>,
    /// Role of the user.
    pub role: Role,
    /// The plan in force.
    pub plan: Plan,
    /// True if the user may use the service at all.
    pub is_active: bool,
    /// When the user was first seen.
    pub created_at: OffsetDateTime,
    /// When the row was last changed.
    pub updated_at: OffsetDateTime,
}

/// A user who signs up. The caller has checked that address and name have an accepted form (HTTP contract 3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The id the identity provider gave.
    pub user_id: UserId,
    /// E-mail address; kept as it is written, compared without case.
    pub email: String,
    /// Voucher for the address of the user.
    pub email_voucher: EmailVoucher,
    /// Display name.
    pub name: String,
    /// Role of the user, if this creates them.
    pub role: Role,
}

impl NewUser {
    /// The form in which the address is compared.
    pub(crate) fn email_folded(&self) -> String {
        fold(&self.email)
    }

    /// Returns true if a user made by this sign-up holds the address.
    pub(crate) fn email_vouched(&self) -> bool {
        self.email_voucher.vouches_for(&self.email)
    }
}

/// The user that is there after a sign-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The user; unchanged if he was there before.
    pub user: User,
    /// True if this call created the user. Of any number of concurrent calls, one sees `true`.
    pub created: bool,
}

/// Facts about a user that every authenticated request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserStatus {
    /// True if the user may use the service at all.
    pub is_active: bool,
    /// Role of the user.
    pub role: Role,
}

/// Permission of a user to use the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// He may.
    Active,
    /// Every request of his is refused.
    Deactivated,
}

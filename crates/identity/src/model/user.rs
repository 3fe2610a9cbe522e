//! A user, and what is said about one.

use std::sync::Arc;

use kernel::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{EmailVoucher, Plan, Role, fold};
use crate::token::IssuerIds;

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
    /// http or https URL of a picture, as the user chose it.
    pub avatar_url: Option<String>,
    /// Role of the user.
    pub role: Role,
    /// The plan in force.
    pub plan: Plan,
    /// True if the user may use the service at all.
    pub is_active: bool,
    /// The hour of the last request of the user that succeeded.
    pub last_seen_at: Option<OffsetDateTime>,
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
    /// E-mail address, if they have one; kept as it is written, compared without case.
    pub email: Option<String>,
    /// Voucher for the address of the user.
    pub email_voucher: EmailVoucher,
    /// Display name, if they have one.
    pub name: Option<String>,
    /// Role of the user, if this creates them.
    pub role: Role,
    /// The token that brings the id, unless its owner is known.
    pub brought_by: Option<BroughtBy>,
}

/// A token that brings a user id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtBy {
    /// The issuer of the token.
    pub issuer: Arc<IssuerIds>,
    /// True if the id may be linked to the user who holds the address of the token (`LINK_VERIFIED_EMAILS`).
    pub may_link: bool,
}

impl NewUser {
    /// The form in which the address is compared.
    pub(crate) fn email_folded(&self) -> Option<String> {
        self.email.as_deref().map(fold)
    }

    /// Returns true if a user made by this sign-up holds the address.
    pub(crate) fn email_vouched(&self) -> bool {
        self.email.as_deref().is_some_and(|email| self.email_voucher.vouches_for(email))
    }
}

/// A change of a user; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserChange {
    /// Display name.
    pub name: Option<String>,
    /// An address that an administrator vouches for.
    pub email: Option<String>,
    /// The role, decided about this user alone.
    pub role: Option<Role>,
    /// Permission to use the service.
    pub activity: Option<Activity>,
}

impl UserChange {
    /// Activates or deactivates a user.
    #[must_use]
    pub fn activity(activity: Activity) -> Self {
        Self { activity: Some(activity), ..Self::default() }
    }
}

/// A user before and after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserChanged {
    /// As they were.
    pub before: User,
    /// As they are.
    pub after: User,
    /// The user whose account lost its login name by it: an address that they never confirmed.
    pub renamed: Option<UserId>,
}

/// A change of what users say about themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileChange {
    /// Another display name.
    pub name: Option<String>,
    /// Another picture.
    pub avatar: AvatarChange,
}

/// A change of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AvatarChange {
    /// None.
    #[default]
    Keep,
    /// The picture is removed.
    Remove,
    /// A picture at this http or https URL.
    Set(String),
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

/// A caller, or a user acted upon, whose status is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusQuery {
    /// A user, or the id of one of their identities.
    pub user_id: Option<UserId>,
    /// A login of this user.
    pub login_id: Option<Uuid>,
    /// An API key.
    pub key_id: Option<Uuid>,
}

/// The answer to a [`StatusQuery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The owner of the id; `None` if no token has brought it yet.
    pub identity: Option<Identity>,
    /// The user; `None` if they were never ensured.
    pub user: Option<UserStatus>,
    /// True if the login exists and has not been ended. Its time of expiry is not judged: access tokens do not outlive it.
    pub login_is_live: bool,
    /// True if the key exists and was not revoked. Its time of expiry is not judged.
    pub key_is_live: bool,
}

/// A user who is asked for in the transaction of their operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acting {
    /// The user, by their own id.
    pub user_id: UserId,
    /// The login by which they act.
    pub login_id: Option<Uuid>,
}

/// Status of a user who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActingStatus {
    /// The user.
    pub user: UserStatus,
    /// True if the login exists and has not been ended, or if there is none to look at.
    pub login_is_live: bool,
}

/// The issuer that an id belongs to (HTTP contract 1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user. Differs from the id where two identities were linked.
    pub user_id: UserId,
    /// The issuer.
    pub issuer: String,
}

/// An id by which a user is known to an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedId {
    /// The id.
    pub id: UserId,
    /// The issuer.
    pub issuer: String,
    /// When a token first brought it.
    pub created_at: OffsetDateTime,
}

impl StatusQuery {
    /// Asks for a user alone.
    #[must_use]
    pub fn user(user_id: &UserId) -> Self {
        Self { user_id: Some(user_id.clone()), ..Self::default() }
    }
}

/// Permission of a user to use the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// He may.
    Active,
    /// Every request of his is refused.
    Deactivated,
}

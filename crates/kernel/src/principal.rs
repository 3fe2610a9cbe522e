//! Callers, and the users they may act for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::UserId;

/// The authenticated caller of one operation (HTTP contract 1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A user, acting for himself.
    User(UserId),
    /// A user with the role `admin`, who may act for anyone.
    AdminUser(UserId),
    /// The holder of an API key.
    Key {
        /// Name of the key, for logs and the audit; never the key itself.
        name: Arc<str>,
        /// Access of the key.
        access: KeyAccess,
    },
}

/// Rights of the scopes of an API key, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyAccess {
    /// Scope `read`: reading, for any user.
    Read,
    /// Scope `service`: everything a user may do, for any user.
    Service,
    /// Scope `admin`: everything.
    Admin,
}

/// In which capacity something was done, as the books keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The user himself.
    User,
    /// A service with a key.
    Service,
    /// An administrator.
    Admin,
    /// The service itself, without a caller.
    System,
}

/// Class of a caller with regard to one user. Holds, idempotency keys and event ids belong to a user and a class, so that
/// neither class uses up or ends what the other one made (HTTP contract 1.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallerClass {
    /// The user, by a token; also an administrator on their own account.
    User,
    /// A service, or an administrator who acts for somebody else.
    Service,
}

/// The text is not a class of callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a class of callers")]
pub struct UnknownCallerClass(String);

/// Users whose data an operation may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those of this user only.
    Own(UserId),
    /// Anyone's.
    Any,
}

impl Principal {
    /// The user behind a token; `None` for a key.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        match self {
            Self::User(id) | Self::AdminUser(id) => Some(id),
            Self::Key { .. } => None,
        }
    }

    /// Returns true if this caller may act for every user.
    #[must_use]
    pub fn is_staff(&self) -> bool {
        !matches!(self, Self::User(_))
    }

    /// Returns whether this caller may change data; a key of scope `read` may not.
    #[must_use]
    pub fn may_write(&self) -> bool {
        !matches!(self, Self::Key { access: KeyAccess::Read, .. })
    }

    /// Returns true if this caller may administrate.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::AdminUser(_) | Self::Key { access: KeyAccess::Admin, .. })
    }

    /// Returns true if this caller may act for `user`.
    #[must_use]
    pub fn may_act_for(&self, user: &UserId) -> bool {
        self.is_staff() || self.user_id() == Some(user)
    }

    /// The class of this caller when they act for `user`.
    #[must_use]
    pub fn class_for(&self, user: &UserId) -> CallerClass {
        if self.user_id() == Some(user) { CallerClass::User } else { CallerClass::Service }
    }

    /// Users whose data this caller may touch.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::User(id) => Scope::Own(id.clone()),
            Self::AdminUser(_) | Self::Key { .. } => Scope::Any,
        }
    }

    /// The capacity in which this caller acts.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::User(_) => Actor::User,
            Self::AdminUser(_) => Actor::Admin,
            Self::Key { access: KeyAccess::Admin, .. } => Actor::Admin,
            Self::Key { .. } => Actor::Service,
        }
    }
}

impl Scope {
    /// Returns true if a thing that belongs to `owner` is inside this scope.
    #[must_use]
    pub fn covers(&self, owner: &UserId) -> bool {
        match self {
            Self::Own(user) => user == owner,
            Self::Any => true,
        }
    }
}

impl Actor {
    /// The word the books use: `user`, `service`, `admin`, `system`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Admin => "admin",
            Self::System => "system",
        }
    }
}

impl CallerClass {
    /// Both classes.
    pub const ALL: [Self; 2] = [Self::User, Self::Service];

    /// The word on the wire and in the books: `user` or `service`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
        }
    }
}

impl std::str::FromStr for CallerClass {
    type Err = UnknownCallerClass;

    fn from_str(text: &str) -> Result<Self, UnknownCallerClass> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| UnknownCallerClass(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_acts_for_himself_and_staff_for_anyone() {
        let (a, b): (UserId, UserId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let user = Principal::User(a.clone());
        let admin = Principal::AdminUser(a.clone());
        let service = Principal::Key { name: "s".into(), access: KeyAccess::Service };
        assert!(user.may_act_for(&a) && !user.may_act_for(&b) && !user.is_admin());
        assert!(admin.may_act_for(&b) && admin.is_admin());
        assert!(service.may_act_for(&b) && !service.is_admin());
        assert!(user.scope().covers(&a) && !user.scope().covers(&b) && service.scope().covers(&b));
        assert_eq!(service.actor().as_str(), "service");
        assert_eq!(
            [&user, &admin, &service].map(|of| of.class_for(&a).as_str()),
            ["user", "user", "service"]
        );
        assert_eq!(admin.class_for(&b), CallerClass::Service);
    }
}

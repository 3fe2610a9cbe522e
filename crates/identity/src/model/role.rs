//! Role of a user.

use kernel::UserId;

/// The role of a user (HTTP contract 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// May act for himself only.
    #[default]
    User,
    /// May act for anyone, and administrate.
    Admin,
}

/// Users whose role was changed, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleChanges {
    /// They are administrators now.
    pub promoted: Vec<UserId>,
    /// They are not any more.
    pub demoted: Vec<UserId>,
}

impl Role {
    /// The word that the API and the database use: `user`, `admin`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// The role of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == name)
    }
}

//! Refusals of this domain.

use kernel::{Detail, Failure, Kind};

/// A decided "no" about users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefusal {
    /// `DuplicateEntryException`: the e-mail address is vouched for, and another user holds it; compared without case
    /// (HTTP contract 3.1).
    #[error("e-mail address is held by another user")]
    EmailTaken,
    /// `AuthenticationException`: the user id belongs to another issuer than that of the token (HTTP contract 1.3).
    #[error("user id belongs to another issuer")]
    OfAnotherIssuer,
    /// `LinkInvalidException`: the link of a mail is unknown, used or expired (HTTP contract 3.7).
    #[error("link is unknown, used or expired")]
    LinkInvalid,
    /// `AccountDisabledException`: the id would be linked to a user who is disabled.
    #[error("user is disabled")]
    HolderDisabled,
}

impl Failure for IdentityRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::EmailTaken => "DuplicateEntryException",
            Self::OfAnotherIssuer => "AuthenticationException",
            Self::LinkInvalid => "LinkInvalidException",
            Self::HolderDisabled => "AccountDisabledException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::EmailTaken | Self::LinkInvalid => Kind::Refused,
            Self::OfAnotherIssuer => Kind::Unauthenticated,
            Self::HolderDisabled => Kind::Forbidden,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::EmailTaken => vec![("field", Detail::Text("email".to_owned()))],
            Self::OfAnotherIssuer | Self::LinkInvalid | Self::HolderDisabled => Vec::new(),
        }
    }
}

//! Errors of the calls of a domain's trait, wherever the domain runs.

use crate::{Detail, Failure, InvalidIdempotencyKey, Kind};

/// The error beneath, of whatever carries the call.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Reasons that a call has no answer. `R` are the refusals of the domain.
#[derive(Debug, thiserror::Error)]
pub enum CallError<R> {
    /// The rules of the domain refuse.
    #[error(transparent)]
    Refused(R),
    /// Another domain that takes part refuses, or the idempotency key was used for another request.
    #[error("{0}")]
    RefusedElsewhere(Box<dyn Failure + Send + Sync>),
    /// The idempotency key cannot be one.
    #[error(transparent)]
    InvalidKey(InvalidIdempotencyKey),
    /// The service cannot be reached, or is too busy. Surely not done.
    #[error("the service is not available")]
    Unavailable(#[source] Source),
    /// The account was busy for too long, perhaps with the first request under this key. Surely not done; repeat it.
    #[error("a request with the idempotency key {key:?} is in progress")]
    InProgress {
        /// The key.
        key: String,
    },
    /// The connection broke while committing: done or not. A repeat with the same idempotency key, or event id, tells.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown(#[source] Source),
    /// A fault of the service. Surely not done.
    #[error("the service failed")]
    Failed(#[source] Source),
}

impl<R: Failure> Failure for CallError<R> {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::RefusedElsewhere(refusal) => refusal.code(),
            Self::InvalidKey(_) => "ValidationException",
            Self::InProgress { .. } => "IdempotencyInProgressException",
            Self::Unavailable(_) => "ServiceUnavailableException",
            Self::OutcomeUnknown(_) => "OutcomeUnknownException",
            Self::Failed(_) => "InternalServerException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => refusal.kind(),
            Self::RefusedElsewhere(refusal) => refusal.kind(),
            Self::InvalidKey(_) => Kind::Invalid,
            Self::InProgress { .. } => Kind::Conflict,
            Self::Unavailable(_) | Self::OutcomeUnknown(_) => Kind::Unavailable,
            Self::Failed(_) => Kind::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::Refused(refusal) => refusal.details(),
            Self::RefusedElsewhere(refusal) => refusal.details(),
            Self::InProgress { key } => vec![("key", Detail::Text(key.clone()))],
            _ => Vec::new(),
        }
    }
}

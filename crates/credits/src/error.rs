//! Decided noes. A refusal is a value: it commits with its batch and does not disturb its neighbours.

use kernel::{Credits, Detail, Failure, Kind, UserId};
use uuid::Uuid;

/// Why a command is not done. The account is as it was, but for what was due.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More was asked for than may be spent.
    #[error("{required} credits are required and {available} are available")]
    InsufficientCredits {
        /// What may be spent: the balance less what is held.
        available: Credits,
        /// What was asked for.
        required: Credits,
        /// Booked credit, held or not.
        balance: Credits,
        /// Part of it that open holds set aside.
        held: Credits,
    },
    /// The balance, with what is scheduled to come, would exceed the limit.
    #[error("the balance would exceed {limit} credits")]
    BalanceLimit {
        /// The greatest balance.
        limit: Credits,
    },
    /// The reference was used before, for another amount or for another kind of credit.
    #[error("the reference was used before by transaction {transaction_id}")]
    ReferenceConflict {
        /// The transaction that used it first; for a scheduled grant the one that will book it.
        transaction_id: Uuid,
    },
    /// There is no such account.
    #[error("there is no account of user {user_id}")]
    UserNotFound {
        /// Whose account is missing.
        user_id: UserId,
    },
    /// The amount is zero, negative or above the limit of one command. Callers check this before.
    #[error("{amount} credits cannot be moved; the limit is {limit}")]
    InvalidAmount {
        /// What was asked for.
        amount: Credits,
        /// The greatest amount of one command.
        limit: Credits,
    },
    /// A grant would expire before it counts, or has expired already, or counts from before 1970.
    #[error("a grant must expire after it becomes effective, and ahead of now")]
    InvalidPeriod,
}

impl Failure for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::InsufficientCredits { .. } => "InsufficientCreditsException",
            Self::BalanceLimit { .. } => "BalanceLimitExceededException",
            Self::ReferenceConflict { .. } => "ReferenceConflictException",
            Self::UserNotFound { .. } => "UserNotFoundException",
            Self::InvalidAmount { .. } | Self::InvalidPeriod => "ValidationException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::InsufficientCredits { .. } | Self::BalanceLimit { .. } => Kind::Refused,
            Self::ReferenceConflict { .. } => Kind::Conflict,
            Self::UserNotFound { .. } => Kind::NotFound,
            Self::InvalidAmount { .. } | Self::InvalidPeriod => Kind::Invalid,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::InsufficientCredits {
                available,
                required,
                balance,
                held,
            } => vec![
                ("available", Detail::Credits(*available)),
                ("required", Detail::Credits(*required)),
                ("balance", Detail::Credits(*balance)),
                ("held", Detail::Credits(*held)),
            ],
            Self::BalanceLimit { limit } => vec![("limit", Detail::Credits(*limit))],
            Self::ReferenceConflict { transaction_id } => {
                vec![("transaction_id", Detail::Text(format!("txn_{transaction_id}")))]
            }
            Self::UserNotFound { user_id } => vec![("user_id", Detail::Text(user_id.to_string()))],
            Self::InvalidAmount { limit, .. } => vec![("limit", Detail::Credits(*limit))],
            Self::InvalidPeriod => Vec::new(),
        }
    }
}

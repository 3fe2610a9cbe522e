//! Decided noes. A refusal is a value: it commits with its batch and does not disturb its neighbours.

use kernel::{Credits, Detail, Failure, Kind, UserId, rfc3339};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::{BudgetPeriod, HoldStatus, TransactionName, balance::BALANCE_MAX};

/// Why a command is not done. The account is as it was, but for what was due.
///
/// Those that are remembered can be written as JSON, in a form that is stored and never changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// More was asked for than may be spent.
    #[error("{required} credits are required and {available} are available")]
    InsufficientCredits {
        /// Available credit: the balance less held credit.
        #[serde(with = "kernel::stored::micro_credits")]
        available: Credits,
        /// The amount asked for.
        #[serde(with = "kernel::stored::micro_credits")]
        required: Credits,
        /// Booked credit, held or not.
        #[serde(with = "kernel::stored::micro_credits")]
        balance: Credits,
        /// Part of it that open holds set aside.
        #[serde(with = "kernel::stored::micro_credits")]
        held: Credits,
    },
    /// More would be spent or held than a budget has left.
    #[error("the budget of a {period} is {limit} credits: {spent} are spent and {held} are held")]
    BudgetExceeded {
        /// Period of the budget.
        period: BudgetPeriod,
        /// Most that may be spent in a window.
        #[serde(with = "kernel::stored::micro_credits")]
        limit: Credits,
        /// Spending in the window.
        #[serde(with = "kernel::stored::micro_credits")]
        spent: Credits,
        /// Credit in open holds, which counts too.
        #[serde(with = "kernel::stored::micro_credits")]
        held: Credits,
        /// When the next window begins; `None` for a lifetime.
        #[serde(with = "kernel::stored::micros_option")]
        resets_at: Option<OffsetDateTime>,
    },
    /// The balance, with what is scheduled to come, would exceed the limit.
    #[error("the balance would exceed {} credits", BALANCE_MAX)]
    BalanceLimit,
    /// The reference was used before, for another amount or for another kind of credit.
    #[error("the reference was used before by transaction {transaction_id}")]
    ReferenceConflict {
        /// The transaction that used it first; for a scheduled grant the one that will book it.
        transaction_id: Uuid,
    },
    /// The reference is to be unique among all users, and credited another one.
    #[error("the reference credited another user before")]
    ReferenceTaken,
    /// The reference is the one that the service gives to initial grants.
    #[error("the reference is reserved for initial grants")]
    #[serde(skip)]
    ReservedReference,
    /// There is no such account.
    #[error("there is no account of user {user_id}")]
    #[serde(skip)]
    UserNotFound {
        /// User without an account.
        user_id: UserId,
    },
    /// The amount is zero, negative or above the limit of one command. Callers check this before.
    #[error("{amount} credits cannot be moved; the limit is {limit}")]
    #[serde(skip)]
    InvalidAmount {
        /// The amount asked for.
        amount: Credits,
        /// The greatest amount of one command.
        limit: Credits,
    },
    /// A grant or a hold would live at a time that it may not.
    #[error("{0}")]
    #[serde(skip)]
    InvalidPeriod(PeriodFault),
    /// A refund or an adjustment without a reason. Callers check this before.
    #[error("a reason is required")]
    #[serde(skip)]
    MissingReason,
    /// There is no such hold.
    #[error("there is no hold {hold_id}")]
    HoldNotFound {
        /// Id of the missing hold.
        hold_id: Uuid,
    },
    /// The hold was captured, released, or has expired.
    #[error("the hold is {hold_status} since {}", rfc3339(*.resolved_at))]
    HoldNotOpen {
        /// Its state.
        hold_status: HoldStatus,
        /// When.
        #[serde(with = "kernel::stored::micros")]
        resolved_at: OffsetDateTime,
    },
    /// The hold was made by a service, and the caller is a user.
    #[error("hold {hold_id} was made by a service: users end only holds of users")]
    #[serde(skip)]
    HoldOfService {
        /// Id of the hold.
        hold_id: Uuid,
    },
    /// The account has as many open holds as callers of one class may make.
    #[error("there are {limit} open holds of callers of this class")]
    #[serde(skip)]
    TooManyHolds {
        /// Most open holds of one account.
        limit: i64,
    },
    /// There is no charge with this transaction id.
    #[error("there is no charge {transaction_id}")]
    TransactionNotFound {
        /// Id of the transaction that is missing, or is no charge.
        transaction_id: Uuid,
    },
    /// More would be given back than was charged, over all refunds of the charge.
    #[error("{refundable} of {charged} credits can be refunded")]
    RefundExceedsCharge {
        /// The amount that can still be refunded.
        #[serde(with = "kernel::stored::micro_credits")]
        refundable: Credits,
        /// The amount charged.
        #[serde(with = "kernel::stored::micro_credits")]
        charged: Credits,
        /// The amount refunded before.
        #[serde(with = "kernel::stored::micro_credits")]
        refunded: Credits,
    },
}

/// The fault of the life of a grant or a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeriodFault {
    /// A grant would begin before 1970.
    #[error("effective_at must not be before 1970")]
    Beginning,
    /// A grant would expire before it begins, or has expired already.
    #[error("expires_at must be after effective_at and in the future")]
    Expiry,
    /// A hold would live shorter than a second or longer than a day.
    #[error("ttl_seconds must be from a second to a day")]
    Ttl,
}

impl PeriodFault {
    /// The field of the command, as requests name it.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Beginning => "effective_at",
            Self::Expiry => "expires_at",
            Self::Ttl => "ttl_seconds",
        }
    }
}

impl Refusal {
    /// Returns true if the refusal depended on the state of the account, so that a repeat under the same idempotency key must be
    /// refused again even if it could be done by now (HTTP contract 1.11).
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        match self {
            Self::InsufficientCredits { .. }
            | Self::BudgetExceeded { .. }
            | Self::BalanceLimit
            | Self::RefundExceedsCharge { .. }
            | Self::HoldNotFound { .. }
            | Self::HoldNotOpen { .. }
            | Self::TransactionNotFound { .. }
            | Self::ReferenceConflict { .. }
            | Self::ReferenceTaken => true,
            Self::UserNotFound { .. }
            | Self::ReservedReference
            | Self::HoldOfService { .. }
            | Self::InvalidAmount { .. }
            | Self::InvalidPeriod(_)
            | Self::MissingReason
            | Self::TooManyHolds { .. } => false,
        }
    }
}

impl Failure for Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::InsufficientCredits { .. } => "InsufficientCreditsException",
            Self::BudgetExceeded { .. } => "BudgetExceededException",
            Self::BalanceLimit => "BalanceLimitExceededException",
            Self::RefundExceedsCharge { .. } => "RefundExceedsChargeException",
            Self::ReferenceConflict { .. } | Self::ReferenceTaken => "ReferenceConflictException",
            Self::HoldOfService { .. } => "PermissionDeniedException",
            Self::HoldNotOpen { .. } => "HoldNotOpenException",
            Self::UserNotFound { .. } => "UserNotFoundException",
            Self::HoldNotFound { .. } => "HoldNotFoundException",
            Self::TransactionNotFound { .. } => "TransactionNotFoundException",
            Self::TooManyHolds { .. } => "TooManyHoldsException",
            Self::InvalidAmount { .. }
            | Self::InvalidPeriod(_)
            | Self::MissingReason
            | Self::ReservedReference => "ValidationException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::InsufficientCredits { .. }
            | Self::BudgetExceeded { .. }
            | Self::BalanceLimit
            | Self::RefundExceedsCharge { .. } => Kind::Refused,
            Self::ReferenceConflict { .. } | Self::ReferenceTaken | Self::HoldNotOpen { .. } => {
                Kind::Conflict
            }
            Self::HoldOfService { .. } => Kind::Forbidden,
            Self::UserNotFound { .. } | Self::HoldNotFound { .. } | Self::TransactionNotFound { .. } => {
                Kind::NotFound
            }
            Self::TooManyHolds { .. } => Kind::TooMany,
            Self::InvalidAmount { .. }
            | Self::InvalidPeriod(_)
            | Self::MissingReason
            | Self::ReservedReference => Kind::Invalid,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::InsufficientCredits { available, required, balance, held } => vec![
                ("available", Detail::Credits(*available)),
                ("required", Detail::Credits(*required)),
                ("balance", Detail::Credits(*balance)),
                ("held", Detail::Credits(*held)),
            ],
            Self::BudgetExceeded { period, limit, spent, held, resets_at } => {
                let mut details = vec![
                    ("period", Detail::Text(period.as_str().to_owned())),
                    ("limit", Detail::Credits(*limit)),
                    ("spent", Detail::Credits(*spent)),
                    ("held", Detail::Credits(*held)),
                ];
                details.extend(resets_at.map(|at| ("resets_at", Detail::Time(at))));
                details
            }
            Self::RefundExceedsCharge { refundable, charged, refunded } => vec![
                ("refundable", Detail::Credits(*refundable)),
                ("charged", Detail::Credits(*charged)),
                ("refunded", Detail::Credits(*refunded)),
            ],
            Self::BalanceLimit => vec![("limit", Detail::Credits(BALANCE_MAX))],
            Self::InvalidAmount { limit, .. } => vec![("limit", Detail::Credits(*limit))],
            Self::ReferenceConflict { transaction_id } | Self::TransactionNotFound { transaction_id } => {
                vec![(
                    "transaction_id",
                    Detail::Text(TransactionName::Transaction(*transaction_id).to_string()),
                )]
            }
            Self::HoldNotFound { hold_id } | Self::HoldOfService { hold_id } => {
                vec![("hold_id", Detail::Text(hold_id.to_string()))]
            }
            Self::HoldNotOpen { hold_status, resolved_at } => vec![
                ("hold_status", Detail::Text(hold_status.as_str().to_owned())),
                ("resolved_at", Detail::Time(*resolved_at)),
            ],
            Self::UserNotFound { user_id } => vec![("user_id", Detail::Text(user_id.to_string()))],
            Self::TooManyHolds { limit } => vec![("limit", Detail::Integer(*limit))],
            Self::ReservedReference => vec![("field", Detail::Text("reference_id".to_owned()))],
            Self::InvalidPeriod(fault) => vec![("field", Detail::Text(fault.field().to_owned()))],
            Self::MissingReason | Self::ReferenceTaken => Vec::new(),
        }
    }
}

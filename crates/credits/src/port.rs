//! The ledger as a caller sees it who has no transaction of his own: in its own words, without a connection.

use std::future::Future;

use kernel::{Credits, Detail, Failure, FreeForm, InvalidIdempotencyKey, Kind, Page, Slice, UserId};
use pg::DbError;
use time::Duration;
use uuid::Uuid;

use crate::{
    error::Refusal,
    model::{
        AccountView, Applied, Entry, GrantFilter, GrantPlace, GrantView, HoldFilter, HoldMode, HoldView,
        NewGrant, TransactionFilter,
    },
};

/// What callers may ask of the ledger. A change is durable when it is answered.
///
/// Each change of money takes a [`Request`]; with an idempotency key it may be repeated until it is answered.
pub trait Ledger: Send + Sync {
    /// Spends `amount`, all or nothing. `usage_record_id` is kept as a note.
    fn consume(
        &self,
        request: Request,
        amount: Credits,
        usage_record_id: Option<i64>,
    ) -> impl Future<Output = Result<Applied, LedgerError>> + Send;

    /// Books bought credit that never expires, once for each `reference_id`.
    fn recharge(
        &self,
        request: Request,
        amount: Credits,
        reference_id: Option<String>,
    ) -> impl Future<Output = Result<Applied, LedgerError>> + Send;

    /// Gives credit.
    fn grant(
        &self,
        request: Request,
        grant: NewGrant,
    ) -> impl Future<Output = Result<Applied, LedgerError>> + Send;

    /// Sets credit aside for a charge to come.
    fn hold(
        &self,
        request: Request,
        wish: HoldWish,
    ) -> impl Future<Output = Result<Applied, LedgerError>> + Send;

    /// Charges a hold and frees the rest; `None` is the whole hold.
    fn capture(
        &self,
        request: Request,
        hold_id: Uuid,
        amount: Option<Credits>,
    ) -> impl Future<Output = Result<Applied, LedgerError>> + Send;

    /// Gives up a hold.
    fn release(
        &self,
        request: Request,
        hold_id: Uuid,
    ) -> impl Future<Output = Result<Applied, LedgerError>> + Send;

    /// Gives back a charge; `None` is all that was not given back before.
    fn refund(
        &self,
        request: Request,
        transaction_id: Uuid,
        amount: Option<Credits>,
        reason: String,
    ) -> impl Future<Output = Result<Applied, LedgerError>> + Send;

    /// The figures and open grants of a user.
    ///
    /// [`Refusal::UserNotFound`] without an account.
    fn account(&self, user_id: &UserId) -> impl Future<Output = Result<AccountView, LedgerError>> + Send;

    /// The grants of a user in burn order.
    fn grants(
        &self,
        user_id: &UserId,
        filter: GrantFilter,
        page: &Page<GrantPlace>,
    ) -> impl Future<Output = Result<Slice<GrantView, GrantPlace>, LedgerError>> + Send;

    /// The holds of a user, newest first.
    fn holds(
        &self,
        user_id: &UserId,
        filter: HoldFilter,
        page: &Page<i64>,
    ) -> impl Future<Output = Result<Slice<HoldView, i64>, LedgerError>> + Send;

    /// The transactions of a user, newest first.
    fn transactions(
        &self,
        user_id: &UserId,
        filter: &TransactionFilter,
        page: &Page<i64>,
    ) -> impl Future<Output = Result<Slice<Entry, i64>, LedgerError>> + Send;
}

/// Whose account a change is for, and what is kept with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose account.
    pub user_id: UserId,
    /// The caller's identity of the request: 1 to 255 printable ASCII characters.
    pub idempotency_key: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Anything to keep with it.
    pub metadata: FreeForm,
}

/// Credit to set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldWish {
    /// How much.
    pub amount: Credits,
    /// What to do if less is available.
    pub mode: HoldMode,
    /// How long.
    pub ttl: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A decided no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The idempotency key cannot be one.
    #[error(transparent)]
    InvalidKey(#[from] InvalidIdempotencyKey),
    /// The ledger cannot be reached, or is too busy. Surely not done.
    #[error("the ledger is not available")]
    Unavailable(#[source] DbError),
    /// The account was busy for too long, perhaps with the first request under this key. Surely not done; repeat it.
    #[error("a request with the idempotency key {key:?} is in progress")]
    InProgress {
        /// The key.
        key: String,
    },
    /// The connection broke while committing: done or not. A repeat with the same idempotency key tells.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown(#[source] DbError),
    /// A fault of ours. Surely not done.
    #[error("the ledger failed")]
    Failed(#[source] DbError),
}

impl Request {
    /// A request without key, description and metadata.
    #[must_use]
    pub fn of(user_id: UserId) -> Self {
        Self { user_id, idempotency_key: None, description: None, metadata: FreeForm::empty() }
    }

    /// The same under an idempotency key.
    #[must_use]
    pub fn under(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }
}

impl From<DbError> for LedgerError {
    fn from(error: DbError) -> Self {
        match error {
            error if error.is_unavailable() => Self::Unavailable(error),
            error @ DbError::OutcomeUnknown(_) => Self::OutcomeUnknown(error),
            error => Self::Failed(error),
        }
    }
}

impl Failure for LedgerError {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
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
            Self::InvalidKey(_) => Kind::Invalid,
            Self::InProgress { .. } => Kind::Conflict,
            Self::Unavailable(_) | Self::OutcomeUnknown(_) => Kind::Unavailable,
            Self::Failed(_) => Kind::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::Refused(refusal) => refusal.details(),
            Self::InProgress { key } => vec![("key", Detail::Text(key.clone()))],
            _ => Vec::new(),
        }
    }
}

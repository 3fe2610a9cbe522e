//! The ledger as a caller sees it who has no transaction of their own: in its own words, without a connection.

use std::future::Future;

use kernel::{CallError, Credits, FreeForm, Page, Slice, UserId};
use time::Duration;
use uuid::Uuid;

use crate::{
    error::Refusal,
    model::{
        AccountView, Applied, Entry, GrantFilter, GrantPlace, GrantView, HoldFilter, HoldMode, HoldView,
        NewGrant, TransactionFilter,
    },
};

/// Reasons that there is no answer.
pub type LedgerError = CallError<Refusal>;

/// The calls of the ledger. A change is durable when it is answered.
pub trait Ledger: Send + Sync {
    /// Makes a change. With an idempotency key it may be repeated until it is answered.
    fn change(
        &self,
        request: Request,
        change: Change,
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

/// A change of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Spends, all or nothing.
    Consume {
        /// The credits.
        amount: Credits,
        /// A note that is kept with the entry.
        usage_record_id: Option<i64>,
    },
    /// Books bought credit that never expires, once for each reference.
    Recharge {
        /// The credits.
        amount: Credits,
        /// The payment.
        reference_id: Option<String>,
    },
    /// Gives credit.
    Grant(NewGrant),
    /// Sets credit aside for a charge to come.
    Hold {
        /// The credits.
        amount: Credits,
        /// The rule if less is available.
        mode: HoldMode,
        /// The time until it ends by itself.
        ttl: Duration,
    },
    /// Charges a hold and frees the rest.
    Capture {
        /// The hold.
        hold_id: Uuid,
        /// The credits; `None` is the whole hold.
        amount: Option<Credits>,
    },
    /// Gives up a hold.
    Release {
        /// The hold.
        hold_id: Uuid,
    },
    /// Gives back a charge.
    Refund {
        /// The charge.
        transaction_id: Uuid,
        /// The credits; `None` is all that was not given back before.
        amount: Option<Credits>,
        /// The reason.
        reason: String,
    },
}

/// The account of a change, and notes that are kept with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The owner of the account.
    pub user_id: UserId,
    /// The caller's identity of the request: 1 to 255 printable ASCII characters.
    pub idempotency_key: Option<String>,
    /// A description.
    pub description: Option<String>,
    /// Anything to keep with it.
    pub metadata: FreeForm,
}

impl Request {
    /// A request without key, description and metadata.
    #[must_use]
    pub fn new(user_id: UserId) -> Self {
        Self { user_id, idempotency_key: None, description: None, metadata: FreeForm::empty() }
    }

    /// The same under an idempotency key.
    #[must_use]
    pub fn with_key(self, key: impl Into<String>) -> Self {
        Self { idempotency_key: Some(key.into()), ..self }
    }
}

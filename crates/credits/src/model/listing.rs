//! Filters of a journal.

use std::{fmt, str::FromStr};

use time::OffsetDateTime;
use uuid::Uuid;

/// As what an entry is listed (HTTP contract 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionKind {
    /// Credit was spent, directly or from a hold.
    Consume,
    /// Credit was bought.
    Recharge,
    /// A charge was given back.
    Refund,
    /// Credit was given.
    Grant,
    /// Credit was lost at the end of its life.
    Expire,
    /// An administrator corrected the balance.
    Adjust,
}

/// Filter of the transactions of a user; all of them by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionFilter {
    /// Only these.
    pub kind: Option<TransactionKind>,
    /// Only those created at this instant or later.
    pub from: Option<OffsetDateTime>,
    /// Only those created at this instant or earlier.
    pub to: Option<OffsetDateTime>,
    /// Only the one that booked this payment or gift.
    pub reference_id: Option<String>,
    /// Only the one that charged this hold.
    pub hold_id: Option<Uuid>,
}

/// Name of a transaction in a request (HTTP contract 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionName {
    /// By its integer id.
    Id(i64),
    /// By its transaction id, written `txn_<uuid>`.
    Transaction(Uuid),
}

/// Prefix of the text of a transaction id.
const PREFIX: &str = "txn_";

impl fmt::Display for TransactionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Transaction(id) => write!(f, "{PREFIX}{id}"),
        }
    }
}

impl TransactionName {
    /// Reads `txn_<uuid>`.
    #[must_use]
    pub fn of_transaction(text: &str) -> Option<Self> {
        let id = Uuid::try_parse(text.strip_prefix(PREFIX)?).ok()?;
        Some(Self::Transaction(id))
    }
}

/// The text is not a kind of transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of transaction")]
pub struct UnknownTransactionKind(String);

impl TransactionKind {
    /// All kinds, in the order of the contract.
    pub const ALL: [Self; 6] =
        [Self::Consume, Self::Recharge, Self::Refund, Self::Grant, Self::Expire, Self::Adjust];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Recharge => "recharge",
            Self::Refund => "refund",
            Self::Grant => "grant",
            Self::Expire => "expire",
            Self::Adjust => "adjust",
        }
    }
}

impl FromStr for TransactionKind {
    type Err = UnknownTransactionKind;

    fn from_str(text: &str) -> Result<Self, UnknownTransactionKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownTransactionKind(text.to_owned()))
    }
}

impl fmt::Display for TransactionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

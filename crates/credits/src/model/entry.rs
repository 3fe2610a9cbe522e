//! Immutable rows of the journal.

use std::{fmt, str::FromStr};

use kernel::{Actor, Credits, FreeForm, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::TransactionKind;

/// One row of the journal. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Documented integer id: unique over all accounts, but not in the order of commits.
    pub id: i64,
    /// Identity of the transaction: of all entries of a command, or of a due item.
    pub transaction_id: Uuid,
    /// Owner of the account.
    pub user_id: UserId,
    /// Place in the journal of the account: 1, 2, 3 ... without a gap.
    pub seq: i64,
    /// The kind of change.
    pub kind: EntryKind,
    /// The amount, above zero.
    pub amount: Credits,
    /// Posted credit before.
    pub balance_before: Credits,
    /// Posted credit after.
    pub balance_after: Credits,
    /// Note of the caller, or the record that the entry charges.
    pub usage_record_id: Option<i64>,
    /// Identity of the payment or gift.
    pub reference_id: Option<String>,
    /// The hold that was made, captured or released.
    pub hold_id: Option<Uuid>,
    /// Description of the caller.
    pub description: Option<String>,
    /// Metadata of the caller; empty for none.
    pub metadata: FreeForm,
    /// In which capacity it was done; [`Actor::System`] for due items.
    pub actor: Actor,
    /// When it took effect: for due items the instant they were due. Never decreases along `seq`.
    pub created_at: OffsetDateTime,
}

/// Kind of change that an entry records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// Credit was spent.
    Consume,
    /// Held credit was spent.
    Capture,
    /// Credit was bought.
    Recharge,
    /// Credit was given.
    Grant,
    /// A charge was given back.
    Refund,
    /// Credit was lost at the end of its life.
    Expire,
    /// An administrator corrected the balance.
    Adjust,
    /// Credit was set aside; the balance stays.
    Hold,
    /// Credit is no longer set aside; the balance stays.
    Release,
}

/// Direction of a change of the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The balance rose.
    Credit,
    /// The balance fell.
    Debit,
}

/// The text is not a kind of entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of entry")]
pub struct UnknownEntryKind(String);

impl Entry {
    /// Direction of the change; `None` for holds and releases.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        match self.balance_after.cmp(&self.balance_before) {
            std::cmp::Ordering::Greater => Some(Direction::Credit),
            std::cmp::Ordering::Less => Some(Direction::Debit),
            std::cmp::Ordering::Equal => None,
        }
    }
}

impl EntryKind {
    const ALL: [Self; 9] = [
        Self::Consume,
        Self::Capture,
        Self::Recharge,
        Self::Grant,
        Self::Refund,
        Self::Expire,
        Self::Adjust,
        Self::Hold,
        Self::Release,
    ];

    /// The word the journal uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Capture => "capture",
            Self::Recharge => "recharge",
            Self::Grant => "grant",
            Self::Refund => "refund",
            Self::Expire => "expire",
            Self::Adjust => "adjust",
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }

    /// As what an entry is listed; `None` for holds and releases, which move nothing and are not listed.
    #[must_use]
    pub fn transaction_kind(self) -> Option<TransactionKind> {
        match self {
            Self::Consume | Self::Capture => Some(TransactionKind::Consume),
            Self::Recharge => Some(TransactionKind::Recharge),
            Self::Grant => Some(TransactionKind::Grant),
            Self::Refund => Some(TransactionKind::Refund),
            Self::Expire => Some(TransactionKind::Expire),
            Self::Adjust => Some(TransactionKind::Adjust),
            Self::Hold | Self::Release => None,
        }
    }
}

impl FromStr for EntryKind {
    type Err = UnknownEntryKind;

    fn from_str(text: &str) -> Result<Self, UnknownEntryKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownEntryKind(text.to_owned()))
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! Kinds of grants, and grants as they are shown.

use std::{fmt, str::FromStr};

use kernel::{Credits, FreeForm};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::EntryKind;

/// Priority of a grant for which none is named.
pub const PRIORITY_DEFAULT: u8 = 100;

/// Where a grant came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Given with the account.
    Initial,
    /// Bought.
    Purchase,
    /// Part of a subscription.
    Plan,
    /// Given by the operator.
    Promo,
    /// Given back, where the grant it came from has expired.
    Refund,
    /// Added by an administrator.
    Adjustment,
}

/// The kinds that a grant command may give; the others belong to commands of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NewGrantKind {
    /// Bought; writes a `recharge` entry.
    Purchase,
    /// Part of a subscription.
    Plan,
    /// Given by the operator.
    Promo,
}

/// State of a grant at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// It does not count yet.
    Scheduled,
    /// Something of it is left.
    Open,
    /// Nothing of it is left, and its end has not come.
    Used,
    /// Its end has come. Holds may keep a part of it until they resolve.
    Expired,
}

/// Filter of the grants of a user. Scheduled grants are among all of them only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrantFilter {
    /// Those of which something is left.
    #[default]
    Open,
    /// Those that were used up before their end.
    Used,
    /// Those whose end has come.
    Expired,
    /// All of them.
    All,
}

/// A grant as it is shown (HTTP contract 6.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantView {
    /// Counted per account.
    pub grant_id: i64,
    /// Where it came from.
    pub kind: GrantKind,
    /// A purchase, or the refund of one; burns after what was given.
    pub paid: bool,
    /// Its first amount.
    #[serde(with = "kernel::stored::micro_credits")]
    pub amount: Credits,
    /// Not yet spent, held or not.
    #[serde(with = "kernel::stored::micro_credits")]
    pub remaining: Credits,
    /// Part of it that open holds set aside.
    #[serde(with = "kernel::stored::micro_credits")]
    pub held: Credits,
    /// Low burns first.
    pub priority: u8,
    /// From when it counts.
    #[serde(with = "kernel::stored::micros")]
    pub effective_at: OffsetDateTime,
    /// When what is left of it is lost.
    #[serde(with = "kernel::stored::micros_option")]
    pub expires_at: Option<OffsetDateTime>,
    /// Its state.
    pub status: GrantStatus,
    /// Identity of the payment or gift.
    pub reference_id: Option<String>,
    /// The transaction that books it; for a scheduled grant the one that will.
    pub transaction_id: Option<Uuid>,
    /// Description of the caller.
    pub description: Option<String>,
    /// Metadata of the caller; empty for none.
    pub metadata: FreeForm,
    /// When it was made known.
    #[serde(with = "kernel::stored::micros")]
    pub created_at: OffsetDateTime,
}

/// The text is not a kind of grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of grant")]
pub struct UnknownGrantKind(String);

impl GrantKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Initial, Self::Purchase, Self::Plan, Self::Promo, Self::Refund, Self::Adjustment];

    /// The word the books use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Purchase => "purchase",
            Self::Plan => "plan",
            Self::Promo => "promo",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
        }
    }

    /// The kind of the entry that books such a grant.
    #[must_use]
    pub fn entry_kind(self) -> EntryKind {
        match self {
            Self::Initial | Self::Plan | Self::Promo => EntryKind::Grant,
            Self::Purchase => EntryKind::Recharge,
            Self::Refund => EntryKind::Refund,
            Self::Adjustment => EntryKind::Adjust,
        }
    }

    /// Returns true if such a grant counts as ever granted. What is given back was counted before.
    #[must_use]
    pub fn counts_into_lifetime(self) -> bool {
        self != Self::Refund
    }
}

impl GrantStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::Open, Self::Used, Self::Expired];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Used => "used",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for GrantStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<NewGrantKind> for GrantKind {
    fn from(kind: NewGrantKind) -> Self {
        match kind {
            NewGrantKind::Purchase => Self::Purchase,
            NewGrantKind::Plan => Self::Plan,
            NewGrantKind::Promo => Self::Promo,
        }
    }
}

impl FromStr for GrantKind {
    type Err = UnknownGrantKind;

    fn from_str(text: &str) -> Result<Self, UnknownGrantKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownGrantKind(text.to_owned()))
    }
}

impl FromStr for NewGrantKind {
    type Err = UnknownGrantKind;

    /// Reads the words of HTTP contract 6.5: `promo`, `plan`, `purchase`.
    fn from_str(text: &str) -> Result<Self, UnknownGrantKind> {
        [Self::Purchase, Self::Plan, Self::Promo]
            .into_iter()
            .find(|kind| GrantKind::from(*kind).as_str() == text)
            .ok_or_else(|| UnknownGrantKind(text.to_owned()))
    }
}

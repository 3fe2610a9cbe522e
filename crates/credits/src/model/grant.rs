//! What credit is given for.

use std::str::FromStr;

use crate::model::EntryKind;

/// Priority of a grant for which none is named.
pub const PRIORITY_DEFAULT: u8 = 100;

/// Where a grant came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// The text is not a kind of grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of grant")]
pub struct UnknownGrantKind(String);

impl GrantKind {
    const ALL: [Self; 6] = [
        Self::Initial,
        Self::Purchase,
        Self::Plan,
        Self::Promo,
        Self::Refund,
        Self::Adjustment,
    ];

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

    /// Whether such a grant counts as ever granted. What is given back was counted before.
    #[must_use]
    pub fn counts_into_lifetime(self) -> bool {
        self != Self::Refund
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

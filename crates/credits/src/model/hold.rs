//! Credit that is set aside for a charge to come.

use std::{fmt, str::FromStr};

use kernel::{CallerClass, Credits, FreeForm};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Shortest life of a hold.
pub const HOLD_TTL_MIN: Duration = Duration::SECOND;

/// Longest life of a hold.
pub const HOLD_TTL_MAX: Duration = Duration::DAY;

/// Life of a hold for which none is named.
pub const HOLD_TTL_DEFAULT: Duration = Duration::minutes(15);

/// Most open holds of one account that callers of one class made.
pub const HOLDS_OPEN_MAX: usize = 1_000;

/// Behaviour of a hold when less is available than requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HoldMode {
    /// It is refused.
    #[default]
    Exact,
    /// It sets aside what there is, if that is more than nothing.
    Clamp,
}

impl HoldMode {
    /// `exact` or `clamp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Clamp => "clamp",
        }
    }
}

/// State of a hold. It is resolved once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldStatus {
    /// Nothing yet.
    Open,
    /// It was charged, wholly or in part; the rest was freed in the same step.
    Captured,
    /// It was given up.
    Released,
    /// Its life ended.
    Expired,
}

/// A hold as it is shown (HTTP contract 6.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// Id of the hold.
    pub hold_id: Uuid,
    /// The class of the caller who made it. A user ends only holds of users.
    #[serde(default = "service")]
    pub made_by: CallerClass,
    /// The amount asked for; a clamped hold reserves less.
    #[serde(with = "kernel::stored::micro_credits")]
    pub requested: Credits,
    /// Credit that is or was reserved.
    #[serde(with = "kernel::stored::micro_credits")]
    pub amount: Credits,
    /// The amount charged; may be more than `amount`.
    #[serde(with = "kernel::stored::micro_credits")]
    pub captured: Credits,
    /// Part of `amount` that was not charged.
    #[serde(with = "kernel::stored::micro_credits")]
    pub released: Credits,
    /// Part of a charge that nothing was left to pay for.
    #[serde(with = "kernel::stored::micro_credits")]
    pub uncollected: Credits,
    /// Its state.
    pub status: HoldStatus,
    /// When its life ends, resolved or not.
    #[serde(with = "kernel::stored::micros")]
    pub expires_at: OffsetDateTime,
    /// Description of the caller.
    pub description: Option<String>,
    /// Metadata of the caller; empty for none.
    pub metadata: FreeForm,
    /// When it was made.
    #[serde(with = "kernel::stored::micros")]
    pub created_at: OffsetDateTime,
    /// When it was captured, released or expired.
    #[serde(with = "kernel::stored::micros_option")]
    pub resolved_at: Option<OffsetDateTime>,
    /// The entry that made it: the place of the hold among the holds of its account.
    pub entry_seq: i64,
}

/// Filter of the holds of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HoldFilter {
    /// Those that are open.
    #[default]
    Open,
    /// Those of this status.
    Only(HoldStatus),
    /// All of them.
    All,
}

/// The text is not a status of a hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a status of a hold")]
pub struct UnknownHoldStatus(String);

impl HoldStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Captured, Self::Released, Self::Expired];

    /// The word on the wire and in the books.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Captured => "captured",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

/// The class of a stored hold that lacks it; the reader takes the right one from its entry.
fn service() -> CallerClass {
    CallerClass::Service
}

impl HoldFilter {
    /// The one status that is wanted, if it is one.
    #[must_use]
    pub fn status(self) -> Option<HoldStatus> {
        match self {
            Self::Open => Some(HoldStatus::Open),
            Self::Only(status) => Some(status),
            Self::All => None,
        }
    }
}

impl FromStr for HoldStatus {
    type Err = UnknownHoldStatus;

    fn from_str(text: &str) -> Result<Self, UnknownHoldStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| UnknownHoldStatus(text.to_owned()))
    }
}

impl fmt::Display for HoldStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

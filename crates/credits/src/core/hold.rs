//! Holds.

use kernel::{CallerClass, Credits, FreeForm};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::burn::Portion,
    model::{HoldStatus, HoldView},
};

/// Credit that is or was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The id.
    pub id: Uuid,
    /// The class of the caller who made it.
    pub made_by: CallerClass,
    /// The class of the caller who captured or released it. Not read: it decides nothing.
    pub ended_by: Option<CallerClass>,
    /// The amount asked for.
    pub requested: Credits,
    /// Credit that is or was reserved.
    pub amount: Credits,
    /// Its state.
    pub status: HoldStatus,
    /// The amount charged.
    pub captured: Credits,
    /// Part of `amount` that was not charged.
    pub released: Credits,
    /// Part of a charge that nothing was left to pay for.
    pub uncollected: Credits,
    /// A budget is why the charge went no further, not the balance. Not read: it decides nothing.
    pub capped: bool,
    /// The entry that made it.
    pub entry_seq: i64,
    /// When its life ends.
    pub expires_at: OffsetDateTime,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was captured, released or expired.
    pub resolved_at: Option<OffsetDateTime>,
    /// Parts of grants that it reserves, in any order. Not read for a hold that is resolved.
    pub allocation: Vec<Portion>,
    /// Description of the caller; read for holds that a command names.
    pub description: Option<String>,
    /// Metadata of the caller; read for holds that a command names.
    pub metadata: FreeForm,
}

impl Hold {
    /// Returns true if nothing has become of it yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == HoldStatus::Open
    }

    /// The hold as it is shown.
    #[must_use]
    pub fn shown(&self) -> HoldView {
        HoldView {
            hold_id: self.id,
            made_by: self.made_by,
            requested: self.requested,
            amount: self.amount,
            captured: self.captured,
            released: self.released,
            uncollected: self.uncollected,
            status: self.status,
            expires_at: self.expires_at,
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            created_at: self.created_at,
            resolved_at: self.resolved_at,
            entry_seq: self.entry_seq,
        }
    }
}

//! Lots of credit as the rules see them.

use kernel::{Credits, FreeForm};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::{Entry, GrantKind, GrantStatus, GrantView};

/// A lot of credit with its own life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Counted per account.
    pub id: i64,
    /// Where it came from.
    pub kind: GrantKind,
    /// A purchase, or the refund of one.
    pub paid: bool,
    /// Low burns first.
    pub priority: u8,
    /// Its first amount.
    pub amount: Credits,
    /// Not yet spent, held or not.
    pub remaining: Credits,
    /// Part of it that open holds set aside.
    pub held: Credits,
    /// From when it counts.
    pub effective_at: OffsetDateTime,
    /// When what is left of it is lost.
    pub expires_at: Option<OffsetDateTime>,
    /// The entry that booked it; `None` while it is scheduled.
    pub booked_seq: Option<i64>,
    /// Identity of the payment or gift.
    pub reference_id: Option<String>,
    /// When it was made known.
    pub created_at: OffsetDateTime,
    /// Parts that are shown and decide nothing. `None` if not read: charges do not need them.
    pub notes: Option<Box<Notes>>,
}

/// Parts of a grant that are shown and decide nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// The transaction that books the grant.
    pub transaction_id: Option<Uuid>,
    /// Description of the caller.
    pub description: Option<String>,
    /// Metadata of the caller; empty for none.
    pub metadata: FreeForm,
}

/// A reference that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The grant that has it, as it was when the state was loaded.
    pub grant: Grant,
    /// The stored entry that booked it; `None` if it was not booked when the state was loaded.
    pub entry: Option<Box<Entry>>,
}

impl Grant {
    /// The part that may be spent; zero while it is scheduled.
    #[must_use]
    pub fn free(&self) -> Credits {
        match self.booked_seq {
            Some(_) => self.remaining.checked_sub(self.held).unwrap_or(Credits::ZERO),
            None => Credits::ZERO,
        }
    }

    /// Its state at an instant by which due items have been applied.
    #[must_use]
    pub fn status(&self, now: OffsetDateTime) -> GrantStatus {
        if self.booked_seq.is_none() && self.effective_at > now {
            GrantStatus::Scheduled
        } else if self.expires_at.is_some_and(|end| end <= now) {
            GrantStatus::Expired
        } else if self.remaining.is_zero() {
            GrantStatus::Used
        } else {
            GrantStatus::Open
        }
    }

    /// The grant as it is shown at an instant, with these notes.
    #[must_use]
    pub fn shown(&self, notes: &Notes, now: OffsetDateTime) -> GrantView {
        GrantView {
            grant_id: self.id,
            kind: self.kind,
            paid: self.paid,
            amount: self.amount,
            remaining: self.remaining,
            held: self.held,
            priority: self.priority,
            effective_at: self.effective_at,
            expires_at: self.expires_at,
            status: self.status(now),
            reference_id: self.reference_id.clone(),
            transaction_id: notes.transaction_id,
            description: notes.description.clone(),
            metadata: notes.metadata.clone(),
            created_at: self.created_at,
        }
    }
}

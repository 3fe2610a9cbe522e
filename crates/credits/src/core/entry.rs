//! Entries of the journal, on their way into the database and out of it.

use kernel::{Actor, Credits, FreeForm, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::burn::Portion,
    model::{Entry, EntryKind},
};

/// An entry that is made but not stored, so that it has no id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Place in the journal of the account.
    pub seq: i64,
    /// Identity of the command, or of the due item.
    pub transaction_id: Uuid,
    /// Kind of the change.
    pub kind: EntryKind,
    /// Credits, above zero.
    pub amount: Credits,
    /// Posted credit before.
    pub balance_before: Credits,
    /// Posted credit after.
    pub balance_after: Credits,
    /// Held credit after.
    pub held_after: Credits,
    /// The hold that was made, captured or released.
    pub hold_id: Option<Uuid>,
    /// Usage record: a note of the caller, or the record that the entry charges.
    pub usage_record_id: Option<i64>,
    /// Identity of the payment or gift.
    pub reference_id: Option<String>,
    /// The entry that a refund gives back.
    pub refunds_seq: Option<i64>,
    /// Written together with its usage record.
    pub metered: bool,
    /// Description of the caller.
    pub description: Option<String>,
    /// Metadata of the caller.
    pub metadata: FreeForm,
    /// In which capacity it was done.
    pub actor: Actor,
    /// Time of effect.
    pub created_at: OffsetDateTime,
    /// Time of writing.
    pub booked_at: OffsetDateTime,
    /// Grants that it changed.
    pub lines: Vec<Line>,
}

/// Effect of an entry on one grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The grant.
    pub grant_id: i64,
    /// Change of what remains of it.
    pub delta: Credits,
    /// Change of what is held of it.
    pub held_delta: Credits,
}

/// An entry that can be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The entry: a consume or a capture.
    pub seq: i64,
    /// Credits charged.
    pub amount: Credits,
    /// Credits refunded of it.
    pub refunded: Credits,
    /// Time of the charge.
    pub created_at: OffsetDateTime,
    /// Credits taken from each grant.
    pub portions: Vec<Portion>,
}

/// Location of the entry of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum EntryRef {
    /// There is none.
    #[default]
    Nothing,
    /// In the journal of the state, under this `seq`.
    Now(i64),
    /// Stored before the state was loaded.
    Before(Box<Entry>),
}

impl JournalEntry {
    /// The grant that the entry names, if it changes one grant by what its kind and amount say; else all grants are in its lines.
    #[must_use]
    pub fn sole_grant(&self) -> Option<i64> {
        let [line] = self.lines.as_slice() else { return None };
        let (amount, taken) = (self.amount.micro(), self.amount.micro().saturating_neg());
        let held_delta = match self.kind {
            EntryKind::Hold => amount,
            EntryKind::Capture | EntryKind::Release => taken,
            _ => 0,
        };
        let delta = self.balance_after.micro().saturating_sub(self.balance_before.micro());
        let is_implied = line.delta.micro() == delta && line.held_delta.micro() == held_delta;
        is_implied.then_some(line.grant_id)
    }

    /// The entry as it is shown, once it has its `id`. `metadata` is as the database keeps it.
    #[must_use]
    pub fn stored(&self, user_id: &UserId, id: i64, metadata: FreeForm) -> Entry {
        Entry {
            id,
            transaction_id: self.transaction_id,
            user_id: user_id.clone(),
            seq: self.seq,
            kind: self.kind,
            amount: self.amount,
            balance_before: self.balance_before,
            balance_after: self.balance_after,
            usage_record_id: self.usage_record_id,
            reference_id: self.reference_id.clone(),
            hold_id: self.hold_id,
            description: self.description.clone(),
            metadata,
            actor: self.actor,
            created_at: self.created_at,
        }
    }
}

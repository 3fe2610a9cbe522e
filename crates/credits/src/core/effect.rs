//! Effects of commands and actions on a state.

use kernel::Credits;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    core::EntryRef,
    model::{Applied, Balance, Entry, GrantView, HoldView},
};

/// Effect of a command on the state.
///
/// It can be written as JSON, without its entry and transaction, in a form that is stored: members are added to it, and none changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The transaction that names the effect for ever; for one that had been applied before the first one.
    #[serde(skip)]
    pub transaction_id: Uuid,
    /// The entry that says what the command did.
    #[serde(skip)]
    pub entry: EntryRef,
    /// The account afterwards.
    #[serde(flatten)]
    pub balance: Balance,
    /// The hold that was made or resolved, afterwards.
    pub hold: Option<Box<HoldView>>,
    /// The grant that was given, afterwards.
    pub grant: Option<Box<GrantView>>,
    /// Part of a charge that nothing was left to pay for.
    #[serde(with = "kernel::stored::micro_credits")]
    pub uncollected: Credits,
    /// The command had been applied before.
    pub replayed: bool,
}

/// Effect of an action, before the account is shown.
#[derive(Debug)]
pub(super) struct Done {
    pub entry: EntryRef,
    pub hold: Option<Uuid>,
    pub grant: Option<i64>,
    pub uncollected: Credits,
    pub replayed: bool,
}

impl Effect {
    /// The entry, by its place in the journal of the account.
    #[must_use]
    pub fn entry_seq(&self) -> Option<i64> {
        match &self.entry {
            EntryRef::Nothing => None,
            EntryRef::Now(seq) => Some(*seq),
            EntryRef::Before(entry) => Some(entry.seq),
        }
    }

    /// The same with its entry, once that is stored.
    #[must_use]
    pub fn with_entry(self, entry: Option<Entry>) -> Applied {
        Applied {
            entry,
            balance: self.balance,
            hold: self.hold.map(|hold| *hold),
            grant: self.grant.map(|grant| *grant),
            uncollected: self.uncollected,
            replayed: self.replayed,
        }
    }
}

impl Done {
    /// Nothing happened that an entry would tell.
    pub(super) fn nothing() -> Self {
        Self {
            entry: EntryRef::Nothing,
            hold: None,
            grant: None,
            uncollected: Credits::ZERO,
            replayed: false,
        }
    }

    /// This entry tells what happened.
    pub(super) fn wrote(seq: i64) -> Self {
        Self { entry: EntryRef::Now(seq), ..Self::nothing() }
    }
}

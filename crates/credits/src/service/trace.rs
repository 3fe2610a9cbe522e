//! Earlier transactions in the ledger, for repeated answers.

use std::collections::{BTreeMap, BTreeSet};

use kernel::{Credits, UserId};
use pg::{DbError, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core,
    model::{Action, Applied, Balance, Entry, EntryKind},
    store,
};

/// The state of a transaction in the ledger.
#[derive(Debug)]
pub struct Trace(store::traces::Trace);

/// The entries at these places of journals, in any order. One statement; none if nothing is wanted.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn entries_at(
    conn: &PgConnection,
    wanted: &BTreeSet<(UserId, i64)>,
) -> Result<Vec<Entry>, DbError> {
    store::traces::entries_at(conn, wanted).await
}

/// Reads the state of these transactions. One statement; none if the list is empty.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn trace(
    conn: &PgConnection,
    wanted: &BTreeSet<(UserId, Uuid)>,
) -> Result<BTreeMap<(UserId, Uuid), Trace>, DbError> {
    let found = store::traces::find(conn, wanted).await?;
    Ok(found.into_iter().map(|(name, trace)| (name, Trace(trace))).collect())
}

impl Trace {
    /// The balance that the transaction left; `present` where the ledger does not show it. `lifetime_granted` is always the present
    /// one.
    #[must_use]
    pub fn balance(&self, present: Balance) -> Balance {
        self.0.left.map_or(present, |(posted, held)| Balance { posted, held, ..present })
    }

    /// The effect of the command at `at`. Entry, posted and held credit are those of then, while hold and grant
    /// are shown as they are now, `lifetime_granted` is the present one, and `replayed` (by reference) is false.
    #[must_use]
    pub fn applied(&self, action: &Action, present: Balance, at: OffsetDateTime) -> Applied {
        // A hold that was captured for nothing left nothing but its release.
        let captures = match action {
            Action::Capture { .. } => true,
            Action::Meter(metering) => metering.from.hold_id().is_some(),
            _ => false,
        };
        let told = |entry: &&Entry| !captures || entry.kind == EntryKind::Capture;
        let entry = self.0.entry.as_ref().filter(told).cloned();
        let hold = self.0.hold.as_ref().map(core::Hold::shown);
        let charged = entry.as_ref().map_or(Credits::ZERO, |entry| entry.amount);
        let uncollected = match (action, &hold) {
            (Action::ConsumeUncollected { amount, .. }, _) => amount.checked_sub(charged),
            (_, Some(hold)) if captures => Some(hold.uncollected),
            _ => None,
        };
        let notes = |grant: &core::Grant| grant.notes.as_deref().cloned().unwrap_or_default();
        Applied {
            entry,
            balance: self.balance(present),
            hold,
            grant: self.0.grant.as_ref().map(|grant| grant.shown(&notes(grant), at)),
            uncollected: uncollected.unwrap_or(Credits::ZERO),
            replayed: false,
        }
    }
}

//! Due items: holds end, grants end, scheduled grants begin to count.
//!
//! Due items are applied at the head of every command, so that the journal and every answer are the same whether anything
//! applied them earlier or not. For that their entries must not depend on who applies them: they carry the instant they
//! were due and a transaction id that follows from what they are.

use std::collections::BTreeSet;

use kernel::{Actor, CallerClass, Credits, FreeForm};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{
        AccountState, Fault, Grant, Line,
        fault::{negative, next, plus},
        holding::{self, Ending},
        journal::{self, Draft, EntryContext},
    },
    model::EntryKind,
};

/// Something whose instant has come. The order of the variants is that in which items of one instant are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// The life of this hold ends.
    HoldExpiry(Uuid),
    /// The free part of this grant is lost.
    Expiry(i64),
    /// This scheduled grant begins to count.
    Booking(i64),
}

/// Applies what is due by `now`. Does nothing, cheaply, while `next_due_at` lies ahead.
///
/// # Errors
/// [`Fault`] when the state breaks the rules.
pub fn apply(state: &mut AccountState, now: OffsetDateTime) -> Result<(), Fault> {
    match state.account.next_due_at {
        Some(at) if at <= now => settle(state, now),
        _ => Ok(()),
    }
}

/// Applies what is due by `now` and finds out anew when the next item comes.
pub(super) fn settle(state: &mut AccountState, now: OffsetDateTime) -> Result<(), Fault> {
    loop {
        let holds = state.open_holds().map(|hold| (hold.expires_at, Item::HoldExpiry(hold.id)));
        let earliest = holds.chain(state.grants().iter().filter_map(item_of)).min();
        match earliest {
            Some((at, item)) if at <= now => item.apply(state, at, now)?,
            _ => {
                state.account.next_due_at = earliest.map(|(at, _)| at);
                return Ok(());
            }
        }
    }
}

/// Makes a scheduled grant count and answers the `seq` of the entry.
pub(super) fn book(state: &mut AccountState, grant_id: i64, context: EntryContext<'_>) -> Result<i64, Fault> {
    let seq = next(state.account.entry_seq)?;
    let grant = state.grant_mut(grant_id)?;
    if grant.booked_seq.is_some() {
        return Err(Fault::new(format!("grant {grant_id} would be booked twice")));
    }
    let (kind, amount, reference_id) = (grant.kind, grant.amount, grant.reference_id.clone());
    grant.booked_seq = Some(seq);
    // It counted nowhere; the line of the entry brings its worth.
    grant.remaining = Credits::ZERO;
    if kind.counts_into_lifetime() {
        state.account.lifetime_granted = plus(state.account.lifetime_granted, amount)?;
    }
    let lines = vec![Line { grant_id, delta: amount, held_delta: Credits::ZERO }];
    let draft = Draft { reference_id, ..Draft::new(kind.entry_kind(), amount, lines) };
    journal::write(state, draft, context)
}

/// Makes every scheduled grant count now, as if its instant had come.
pub(super) fn book_scheduled(state: &mut AccountState, now: OffsetDateTime) -> Result<(), Fault> {
    let scheduled = state.grants().iter().filter(|grant| grant.booked_seq.is_none());
    // In the order in which they were given.
    for id in scheduled.map(|grant| grant.id).collect::<BTreeSet<_>>() {
        Item::Booking(id).apply(state, now, now)?;
    }
    Ok(())
}

impl Item {
    /// The transaction id of the entry that the item writes next. It does not begin with the place of the entry, as those of
    /// commands do.
    ///
    /// A booking happens once, so its grant names it, even ahead of time; so does a hold. A grant can expire in parts, as
    /// holds let go of it, so an expiry is named by its place in the journal, which is the same under any schedule.
    pub(super) fn transaction_id(self, state: &AccountState) -> Uuid {
        let (what, name) = match self {
            Self::HoldExpiry(hold_id) => ("hold", hold_id.as_bytes().to_vec()),
            Self::Expiry(_) => ("expiry", state.account.entry_seq.to_be_bytes().to_vec()),
            Self::Booking(grant_id) => ("booking", grant_id.to_be_bytes().to_vec()),
        };
        let digest = Sha256::new_with_prefix("credits due item")
            .chain_update([0])
            .chain_update(state.user_id.as_str())
            .chain_update([0])
            .chain_update(what)
            .chain_update(name)
            .finalize();
        let bytes = digest.first_chunk::<16>().copied().unwrap_or_default();
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    fn apply(self, state: &mut AccountState, at: OffsetDateTime, now: OffsetDateTime) -> Result<(), Fault> {
        // A hold can outlive its grant: what it lets go of was due long before, and is lost at the instant it is let go.
        state.account.as_of = at.max(state.account.as_of);
        let context = EntryContext {
            transaction_id: self.transaction_id(state),
            actor: Actor::System,
            caller: CallerClass::Service,
            description: None,
            metadata: &FreeForm::empty(),
            created_at: state.account.as_of,
            booked_at: now,
        };
        match self {
            Self::HoldExpiry(hold_id) => {
                holding::end(state, hold_id, Ending::Expired, context).map(|_seq| ())
            }
            Self::Expiry(grant_id) => expire(state, grant_id, context),
            Self::Booking(grant_id) => book(state, grant_id, context).map(|_seq| ()),
        }
    }
}

/// The next due item of this grant, and its time.
fn item_of(grant: &Grant) -> Option<(OffsetDateTime, Item)> {
    match (grant.booked_seq, grant.expires_at) {
        (None, _) => Some((grant.effective_at, Item::Booking(grant.id))),
        (Some(_), Some(end)) if !grant.free().is_zero() => Some((end, Item::Expiry(grant.id))),
        (Some(_), _) => None,
    }
}

/// Writes off what is free of one grant; what holds keep of it stays until they resolve.
fn expire(state: &mut AccountState, grant_id: i64, context: EntryContext<'_>) -> Result<(), Fault> {
    let amount = state.grant_mut(grant_id)?.free();
    let delta = negative(amount)?;
    let lines = vec![Line { grant_id, delta, held_delta: Credits::ZERO }];
    journal::write(state, Draft::new(EntryKind::Expire, amount, lines), context).map(|_seq| ())
}

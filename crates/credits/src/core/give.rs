//! New credit: grants, recharges, and the booking of scheduled grants.

use kernel::{Credits, clock::whole_microseconds};
use time::OffsetDateTime;

use crate::{
    core::{
        AccountState, Claim, EntryRef, Fault, Grant, Known, Stop, due, effect::Done, fault::next,
        grant::Notes, journal::EntryContext,
    },
    error::{PeriodFault, Refusal},
    model::{GrantKind, NewGrant, PRIORITY_DEFAULT, ReferenceScope, balance::BALANCE_MAX},
};

/// Credit to give, of any kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    pub kind: GrantKind,
    pub amount: Credits,
    pub priority: u8,
    pub effective_at: Option<OffsetDateTime>,
    pub expires_at: Option<OffsetDateTime>,
    pub reference_id: Option<&'a str>,
    pub scope: ReferenceScope,
}

impl<'a> Offer<'a> {
    pub(super) fn new(new: &'a NewGrant) -> Self {
        Self {
            kind: new.kind.into(),
            amount: new.amount,
            priority: new.priority,
            effective_at: new.effective_at,
            expires_at: new.expires_at,
            reference_id: new.reference_id.as_deref(),
            scope: new.scope,
        }
    }

    /// Credit that counts from now and never ends.
    pub(super) fn lasting(kind: GrantKind, amount: Credits, reference_id: Option<&'a str>) -> Self {
        Self {
            kind,
            amount,
            priority: PRIORITY_DEFAULT,
            effective_at: None,
            expires_at: None,
            reference_id,
            scope: ReferenceScope::User,
        }
    }

    /// The reference that is to be unique among all users.
    fn global_reference(&self) -> Option<&'a str> {
        self.reference_id.filter(|_| self.scope == ReferenceScope::Global)
    }
}

/// Gives credit, or finds that it was given before. A reference that is unique among all users credits one of them.
pub(super) fn give(
    state: &mut AccountState,
    offer: Offer<'_>,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    let Some(global) = offer.global_reference() else {
        return give_once(state, offer, context);
    };
    if state.claim(global) == Some(Claim::Theirs) {
        return Err(Refusal::ReferenceTaken.into());
    }
    let done = give_once(state, offer, context)?;
    if state.claim(global).is_none() {
        state.know_claim(global.to_owned(), Claim::New);
    }
    Ok(done)
}

fn give_once(state: &mut AccountState, offer: Offer<'_>, context: EntryContext<'_>) -> Result<Done, Stop> {
    if let Some(known) = offer.reference_id.and_then(|reference| state.references.get(reference)) {
        return replay(state, &offer, known);
    }
    let now = context.created_at;
    let (effective_at, expires_at) = period(&offer, now)?;
    check_limit(state, offer.amount)?;
    check_lifetime(state, offer.amount)?;

    let id = next(state.account.grant_seq)?;
    state.account.grant_seq = id;
    let scheduled = effective_at > now;
    let transaction_id =
        if scheduled { due::Item::Booking(id).transaction_id(state) } else { context.transaction_id };
    let grant = Grant {
        id,
        kind: offer.kind,
        paid: offer.kind == GrantKind::Purchase,
        priority: offer.priority,
        amount: offer.amount,
        remaining: offer.amount,
        held: Credits::ZERO,
        effective_at,
        expires_at,
        booked_seq: None,
        reference_id: offer.reference_id.map(str::to_owned),
        created_at: now,
        notes: Some(Box::new(Notes {
            transaction_id: Some(transaction_id),
            description: context.description.map(str::to_owned),
            metadata: context.metadata.clone(),
        })),
    };
    state.add_grant(grant.clone());
    if let Some(reference) = offer.reference_id {
        state.know(reference.to_owned(), Known { grant, entry: None });
    }
    let entry = if scheduled { EntryRef::Nothing } else { EntryRef::Now(due::book(state, id, context)?) };
    Ok(Done { entry, grant: Some(id), ..Done::nothing() })
}

fn replay(state: &AccountState, offer: &Offer<'_>, known: &Known) -> Result<Done, Stop> {
    let written = state.entry_of(known)?;
    if known.grant.amount == offer.amount && known.grant.kind == offer.kind {
        return Ok(Done { entry: written, grant: Some(known.grant.id), replayed: true, ..Done::nothing() });
    }
    let written_now = |seq: i64| state.journal().iter().find(|entry| entry.seq == seq);
    let transaction_id = match &written {
        EntryRef::Before(entry) => entry.transaction_id,
        EntryRef::Now(seq) => {
            written_now(*seq).ok_or_else(|| Fault::new(format!("entry {seq} is not there")))?.transaction_id
        }
        EntryRef::Nothing => due::Item::Booking(known.grant.id).transaction_id(state),
    };
    Err(Refusal::ReferenceConflict { transaction_id }.into())
}

/// From when to when the grant lives, in whole microseconds as the database keeps them.
fn period(
    offer: &Offer<'_>,
    now: OffsetDateTime,
) -> Result<(OffsetDateTime, Option<OffsetDateTime>), Refusal> {
    let effective_at = offer.effective_at.map_or(now, whole_microseconds);
    let expires_at = offer.expires_at.map(whole_microseconds);
    let expired = expires_at.is_some_and(|end| end <= now.max(effective_at));
    let ancient = offer.effective_at.is_some_and(|begin| begin < OffsetDateTime::UNIX_EPOCH);
    if ancient {
        return Err(Refusal::InvalidPeriod(PeriodFault::Beginning));
    }
    if expired {
        return Err(Refusal::InvalidPeriod(PeriodFault::Expiry));
    }
    Ok((effective_at, expires_at))
}

/// Scheduled grants count as if they had come, so that booking one can never hit the limit.
pub(super) fn check_limit(state: &AccountState, amount: Credits) -> Result<(), Refusal> {
    within(state, state.account.posted, amount, BALANCE_MAX.micro())
}

/// The limit of all that was ever granted: it only grows, and its column ends somewhere.
fn check_lifetime(state: &AccountState, amount: Credits) -> Result<(), Refusal> {
    within(state, state.account.lifetime_granted, amount, i64::MAX)
}

fn within(state: &AccountState, figure: Credits, amount: Credits, most: i64) -> Result<(), Refusal> {
    let coming = state.scheduled().saturating_add(i128::from(amount.micro()));
    if i128::from(figure.micro()).saturating_add(coming) <= i128::from(most) {
        Ok(())
    } else {
        Err(Refusal::BalanceLimit)
    }
}

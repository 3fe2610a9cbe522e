//! New credit: grants, recharges, and the booking of scheduled grants.

use kernel::Credits;
use time::OffsetDateTime;

use crate::{
    core::{
        AccountState, Cause, Fault, Grant, Known, Line, Stop, Written, due,
        fault::{next, plus},
        journal::{self, Draft},
    },
    error::Refusal,
    model::{GrantKind, NewGrant, balance::BALANCE_MAX},
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
}

impl<'a> Offer<'a> {
    pub(super) fn of(new: &'a NewGrant) -> Self {
        Self {
            kind: new.kind.into(),
            amount: new.amount,
            priority: new.priority,
            effective_at: new.effective_at,
            expires_at: new.expires_at,
            reference_id: new.reference_id.as_deref(),
        }
    }
}

/// Gives credit, or finds that it was given before (then the second value is true).
pub(super) fn give(
    state: &mut AccountState,
    offer: Offer<'_>,
    cause: Cause<'_>,
) -> Result<(Written, bool), Stop> {
    if let Some(known) = offer
        .reference_id
        .and_then(|reference| state.references.get(reference))
    {
        return replay(state, &offer, known);
    }
    let now = cause.created_at;
    let (effective_at, expires_at) = period(&offer, now)?;
    check_limit(state, offer.amount)?;

    let id = next(state.account.grant_seq)?;
    state.account.grant_seq = id;
    state.add_grant(Grant {
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
    });
    if let Some(reference) = offer.reference_id {
        let known = Known {
            grant_id: id,
            kind: offer.kind,
            amount: offer.amount,
            entry: None,
        };
        state.know(reference.to_owned(), known);
    }
    if effective_at > now {
        return Ok((Written::Nothing, false));
    }
    let seq = book(state, id, cause)?;
    Ok((Written::Now(seq), false))
}

/// Makes a scheduled grant count and answers the `seq` of the entry.
pub(super) fn book(state: &mut AccountState, grant_id: i64, cause: Cause<'_>) -> Result<i64, Fault> {
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
    let lines = vec![Line {
        grant_id,
        delta: amount,
        held_delta: Credits::ZERO,
    }];
    let draft = Draft {
        reference_id,
        ..Draft::new(kind.entry_kind(), amount, lines)
    };
    journal::write(state, draft, cause)
}

fn replay(state: &AccountState, offer: &Offer<'_>, known: &Known) -> Result<(Written, bool), Stop> {
    let written = state.entry_of(known)?;
    if known.amount == offer.amount && known.kind == offer.kind {
        return Ok((written, true));
    }
    let written_now = |seq: i64| state.journal().iter().find(|entry| entry.seq == seq);
    let transaction_id = match &written {
        Written::Before(entry) => entry.transaction_id,
        Written::Now(seq) => {
            written_now(*seq)
                .ok_or_else(|| Fault::new(format!("entry {seq} is not there")))?
                .transaction_id
        }
        Written::Nothing => due::Item::Booking(known.grant_id).transaction_id(state),
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
    let ancient = offer
        .effective_at
        .is_some_and(|begin| begin < OffsetDateTime::UNIX_EPOCH);
    if expired || ancient {
        return Err(Refusal::InvalidPeriod);
    }
    Ok((effective_at, expires_at))
}

/// Scheduled grants count as if they had come, so that booking one can never hit the limit.
fn check_limit(state: &AccountState, amount: Credits) -> Result<(), Refusal> {
    let coming = state.scheduled().saturating_add(i128::from(amount.micro()));
    let with = |figure: Credits| i128::from(figure.micro()).saturating_add(coming);
    let fits = with(state.account.posted) <= i128::from(BALANCE_MAX.micro())
        && with(state.account.lifetime_granted) <= i128::from(i64::MAX);
    if fits {
        Ok(())
    } else {
        Err(Refusal::BalanceLimit { limit: BALANCE_MAX })
    }
}

fn whole_microseconds(instant: OffsetDateTime) -> OffsetDateTime {
    let nanosecond = instant.microsecond().saturating_mul(1_000);
    instant.replace_nanosecond(nanosecond).unwrap_or(instant)
}

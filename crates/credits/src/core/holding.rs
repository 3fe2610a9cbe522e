//! Setting credit aside, and what a hold can become: charged, given up, or ended by time.

use kernel::{CallerClass, Credits, clock::whole_microseconds};
use time::Duration;
use uuid::Uuid;

use crate::{
    core::{
        AccountState, EntryRef, Fault, Hold, Line, Stop, budget, burn,
        burn::Portion,
        consume,
        effect::Done,
        fault::{minus, negative, plus},
        journal::{self, Draft, EntryContext, Usage},
    },
    error::{PeriodFault, Refusal},
    model::{
        EntryKind, HoldMode, HoldStatus,
        hold::{HOLD_TTL_MAX, HOLD_TTL_MIN, HOLDS_OPEN_MAX},
    },
};

/// Credits to set aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct HoldRequest {
    pub hold_id: Uuid,
    pub amount: Credits,
    pub mode: HoldMode,
    pub ttl: Duration,
}

/// End of a hold without a charge.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    Released,
    Expired,
}

/// Refuses a life that no hold may have.
pub(super) fn check_ttl(ttl: Duration) -> Result<(), Refusal> {
    if (HOLD_TTL_MIN..=HOLD_TTL_MAX).contains(&ttl) {
        Ok(())
    } else {
        Err(Refusal::InvalidPeriod(PeriodFault::Ttl))
    }
}

/// Sets credit aside in burn order.
pub(super) fn place(
    state: &mut AccountState,
    request: HoldRequest,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    let of_class = state.open_holds().filter(|hold| hold.made_by == context.caller);
    if of_class.count() >= HOLDS_OPEN_MAX {
        let limit = i64::try_from(HOLDS_OPEN_MAX).unwrap_or(i64::MAX);
        return Err(Refusal::TooManyHolds { limit }.into());
    }
    if state.hold(request.hold_id).is_some() {
        return Err(Fault::new(format!("hold {} would be made twice", request.hold_id)).into());
    }
    let available = consume::available(state)?;
    let amount = match request.mode {
        HoldMode::Exact => request.amount,
        HoldMode::Clamp => request.amount.min(available),
    };
    if amount > available || amount.is_zero() {
        return Err(consume::insufficient(state, available, request.amount).into());
    }
    let amount = match (request.mode, budget::cap(state.budgets(), state.account.held, amount)) {
        (HoldMode::Clamp, within) if !within.is_zero() => within,
        _ => amount,
    };
    budget::admit(state.budgets(), state.account.held, amount)?;
    let allocation = burn::plan(state.grants(), amount)?;
    let lines = allocation.iter().map(|portion| Line {
        grant_id: portion.grant_id,
        delta: Credits::ZERO,
        held_delta: portion.amount,
    });
    let draft =
        Draft { hold_id: Some(request.hold_id), ..Draft::new(EntryKind::Hold, amount, lines.collect()) };
    let seq = journal::write(state, draft, context)?;
    let expires_at = context
        .created_at
        .checked_add(request.ttl)
        .map(whole_microseconds)
        .ok_or(Refusal::InvalidPeriod(PeriodFault::Ttl))?;
    state.add_hold(Hold {
        id: request.hold_id,
        made_by: context.caller,
        ended_by: None,
        requested: request.amount,
        amount,
        status: HoldStatus::Open,
        captured: Credits::ZERO,
        released: Credits::ZERO,
        uncollected: Credits::ZERO,
        capped: false,
        entry_seq: seq,
        expires_at,
        created_at: context.created_at,
        resolved_at: None,
        allocation,
        description: context.description.map(str::to_owned),
        metadata: context.metadata.clone(),
    });
    Ok(Done { hold: Some(request.hold_id), ..Done::wrote(seq) })
}

/// Charges a hold and frees the rest. Never fails for lack of credit or of a budget: the work was done.
pub(super) fn capture(
    state: &mut AccountState,
    hold_id: Uuid,
    amount: Option<Credits>,
    usage: Usage,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    let hold = open(state, hold_id, context.caller)?.clone();
    let wanted = amount.unwrap_or(hold.amount);
    let from_hold = wanted.min(hold.amount);
    let beyond = minus(wanted, from_hold)?;
    let affordable = beyond.min(consume::available(state)?);
    let extra = budget::cap(state.budgets(), state.account.held, affordable);
    let charged = plus(from_hold, extra)?;
    let (taken, freed) = split(state.in_burn_order(&hold.allocation)?, from_hold)?;

    let mut entry = EntryRef::Nothing;
    if !charged.is_zero() {
        let mut lines = Vec::new();
        for portion in taken {
            let part = negative(portion.amount)?;
            journal::add_line(&mut lines, portion.grant_id, part, part)?;
        }
        for portion in burn::plan(state.grants(), extra)? {
            let part = negative(portion.amount)?;
            journal::add_line(&mut lines, portion.grant_id, part, Credits::ZERO)?;
        }
        let draft = Draft { hold_id: Some(hold_id), usage, ..Draft::new(EntryKind::Capture, charged, lines) };
        entry = EntryRef::Now(journal::write(state, draft, context)?);
        budget::spend(state.budgets_mut(), charged)?;
    }
    let released = minus(hold.amount, from_hold)?;
    if !released.is_zero() {
        free(state, hold_id, released, &freed, context)?;
    }
    let uncollected = minus(beyond, extra)?;
    let hold = state.hold_mut(hold_id)?;
    hold.status = HoldStatus::Captured;
    hold.ended_by = Some(context.caller);
    hold.resolved_at = Some(context.created_at);
    hold.capped = extra < affordable;
    (hold.captured, hold.released, hold.uncollected) = (charged, released, uncollected);
    Ok(Done { entry, hold: Some(hold_id), uncollected, ..Done::nothing() })
}

/// Gives up a hold.
pub(super) fn release(
    state: &mut AccountState,
    hold_id: Uuid,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    open(state, hold_id, context.caller)?;
    let seq = end(state, hold_id, Ending::Released, context)?;
    Ok(Done { hold: Some(hold_id), ..Done::wrote(seq) })
}

/// Frees all of an open hold. Answers the `seq` of the entry.
pub(super) fn end(
    state: &mut AccountState,
    hold_id: Uuid,
    ending: Ending,
    context: EntryContext<'_>,
) -> Result<i64, Fault> {
    let hold = state.hold_mut(hold_id)?;
    let (amount, allocation) = (hold.amount, hold.allocation.clone());
    hold.released = amount;
    hold.resolved_at = Some(context.created_at);
    (hold.status, hold.ended_by) = match ending {
        Ending::Released => (HoldStatus::Released, Some(context.caller)),
        Ending::Expired => (HoldStatus::Expired, None),
    };
    let portions = state.in_burn_order(&allocation)?;
    free(state, hold_id, amount, &portions, context)
}

/// The hold, if this caller may resolve it. Users end only what users set aside: the work that a service holds credit for
/// is still to be charged.
fn open(state: &AccountState, hold_id: Uuid, caller: CallerClass) -> Result<&Hold, Refusal> {
    let hold = state.hold(hold_id).ok_or(Refusal::HoldNotFound { hold_id })?;
    if caller == CallerClass::User && hold.made_by == CallerClass::Service {
        return Err(Refusal::HoldOfService { hold_id });
    }
    match hold.resolved_at {
        None => Ok(hold),
        Some(resolved_at) => Err(Refusal::HoldNotOpen { hold_status: hold.status, resolved_at }),
    }
}

/// Writes the entry that sets these portions free.
fn free(
    state: &mut AccountState,
    hold_id: Uuid,
    amount: Credits,
    portions: &[Portion],
    context: EntryContext<'_>,
) -> Result<i64, Fault> {
    let mut lines = Vec::new();
    for portion in portions {
        let freed = negative(portion.amount)?;
        journal::add_line(&mut lines, portion.grant_id, Credits::ZERO, freed)?;
    }
    let draft = Draft { hold_id: Some(hold_id), ..Draft::new(EntryKind::Release, amount, lines) };
    journal::write(state, draft, context)
}

/// The first `amount` of the portions, and the rest of them.
fn split(portions: Vec<Portion>, amount: Credits) -> Result<(Vec<Portion>, Vec<Portion>), Fault> {
    let (mut taken, mut left, mut missing) = (Vec::new(), Vec::new(), amount);
    for Portion { grant_id, amount } in portions {
        let part = amount.min(missing);
        let rest = minus(amount, part)?;
        missing = minus(missing, part)?;
        if !part.is_zero() {
            taken.push(Portion { grant_id, amount: part });
        }
        if !rest.is_zero() {
            left.push(Portion { grant_id, amount: rest });
        }
    }
    if missing.is_zero() {
        Ok((taken, left))
    } else {
        Err(Fault::new(format!("a hold is {missing} credits short of its amount")))
    }
}

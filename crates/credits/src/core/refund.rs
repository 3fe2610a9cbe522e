//! Giving back a charge.
//!
//! A refund walks what the charge took from the end, so that what was spent first stays spent longest. How far earlier
//! refunds came is the sum of them: it tells where the walk goes on.

use kernel::Credits;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    core::{
        AccountState, Charge, Fault, Grant, Stop, budget,
        burn::Portion,
        effect::Done,
        fault::{minus, negative, next, plus},
        give,
        grant::Notes,
        journal::{self, Draft, EntryContext},
    },
    error::Refusal,
    model::{EntryKind, GrantKind},
};

/// Life of refunded credit whose own grant has ended.
pub const REFUND_LIFE: Duration = Duration::days(7);

/// Gives back `amount` of a charge, or all that is left of it.
pub(super) fn refund(
    state: &mut AccountState,
    transaction_id: Uuid,
    amount: Option<Credits>,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    let charge = charge_of(state, transaction_id)?.ok_or(Refusal::TransactionNotFound { transaction_id })?;
    let refundable = minus(charge.amount, charge.refunded)?;
    let amount = amount.unwrap_or(refundable);
    if amount > refundable || amount.is_zero() {
        let (charged, refunded) = (charge.amount, charge.refunded);
        return Err(Refusal::RefundExceedsCharge { refundable, charged, refunded }.into());
    }
    give::check_limit(state, amount)?;

    let (mut skip, mut rest, mut lines) = (charge.refunded, amount, Vec::new());
    for portion in state.in_burn_order(&charge.portions)?.into_iter().rev() {
        let skipped = portion.amount.min(skip);
        skip = minus(skip, skipped)?;
        let part = minus(portion.amount, skipped)?.min(rest);
        rest = minus(rest, part)?;
        if part.is_zero() {
            continue;
        }
        let grant_id = home(state, portion.grant_id, part, context)?;
        journal::add_line(&mut lines, grant_id, part, Credits::ZERO)?;
    }
    if !rest.is_zero() {
        return Err(Fault::new(format!("charge {transaction_id} is {rest} credits short")).into());
    }
    let draft = Draft { refunds_seq: Some(charge.seq), ..Draft::new(EntryKind::Refund, amount, lines) };
    let seq = journal::write(state, draft, context)?;
    budget::give_back(state.budgets_mut(), amount, charge.created_at)?;
    Ok(Done::wrote(seq))
}

/// The charge of this transaction, with all refunds so far.
fn charge_of(state: &AccountState, transaction_id: Uuid) -> Result<Option<Charge>, Fault> {
    let mut made = state.journal().iter();
    let is_charge = |kind| matches!(kind, EntryKind::Consume | EntryKind::Capture);
    let charge = match made.find(|entry| entry.transaction_id == transaction_id && is_charge(entry.kind)) {
        None => state.charge(transaction_id).cloned(),
        Some(entry) => {
            let mut portions = Vec::new();
            for line in &entry.lines {
                portions.push(Portion { grant_id: line.grant_id, amount: negative(line.delta)? });
            }
            Some(Charge {
                seq: entry.seq,
                amount: entry.amount,
                refunded: Credits::ZERO,
                created_at: entry.created_at,
                portions,
            })
        }
    };
    let Some(mut charge) = charge else {
        return Ok(None);
    };
    for entry in state.journal() {
        if entry.refunds_seq == Some(charge.seq) {
            charge.refunded = plus(charge.refunded, entry.amount)?;
        }
    }
    Ok(Some(charge))
}

/// Where a part goes: to the grant it came from, or to a new one if that has ended.
fn home(
    state: &mut AccountState,
    source: i64,
    part: Credits,
    context: EntryContext<'_>,
) -> Result<i64, Fault> {
    let now = context.created_at;
    let grant = state.grant_mut(source)?;
    if grant.expires_at.is_none_or(|end| end > now) {
        return Ok(source);
    }
    let (paid, priority) = (grant.paid, grant.priority);
    let id = next(state.account.grant_seq)?;
    let seq = next(state.account.entry_seq)?;
    state.account.grant_seq = id;
    state.add_grant(Grant {
        id,
        kind: GrantKind::Refund,
        paid,
        priority,
        amount: part,
        // The line of the refund brings its worth.
        remaining: Credits::ZERO,
        held: Credits::ZERO,
        effective_at: now,
        expires_at: Some(ends_at(now)?),
        booked_seq: Some(seq),
        reference_id: None,
        created_at: now,
        notes: Some(Box::new(Notes {
            transaction_id: Some(context.transaction_id),
            description: context.description.map(str::to_owned),
            metadata: context.metadata.clone(),
        })),
    });
    Ok(id)
}

fn ends_at(now: OffsetDateTime) -> Result<OffsetDateTime, Fault> {
    now.checked_add(REFUND_LIFE).ok_or_else(|| Fault::new("the end of a refund does not fit"))
}

//! Spending: all or nothing, or as much as there is.

use kernel::Credits;

use crate::{
    core::{
        AccountState, Fault, Line, Stop, budget, burn,
        effect::Done,
        fault::{minus, negative},
        journal::{self, Draft, EntryContext, Usage},
    },
    error::Refusal,
    model::EntryKind,
};

/// Takes `amount` in burn order, or nothing.
pub(super) fn consume(
    state: &mut AccountState,
    amount: Credits,
    usage: Usage,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    let available = available(state)?;
    if amount > available {
        return Err(insufficient(state, available, amount).into());
    }
    budget::admit(state.budgets(), state.account.held, amount)?;
    Ok(Done::wrote(take(state, amount, usage, context)?))
}

/// Takes what is available and budgeted, up to `amount`.
pub(super) fn consume_uncollected(
    state: &mut AccountState,
    amount: Credits,
    usage: Usage,
    context: EntryContext<'_>,
) -> Result<Done, Stop> {
    let part = budget::cap(state.budgets(), state.account.held, amount.min(available(state)?));
    let uncollected = minus(amount, part)?;
    let done = if part.is_zero() { Done::nothing() } else { Done::wrote(take(state, part, usage, context)?) };
    Ok(Done { uncollected, ..done })
}

/// The credit that may be spent.
pub(super) fn available(state: &AccountState) -> Result<Credits, Fault> {
    minus(state.account.posted, state.account.held)
}

/// The refusal that shows the figures.
pub(super) fn insufficient(state: &AccountState, available: Credits, required: Credits) -> Refusal {
    Refusal::InsufficientCredits {
        available,
        required,
        balance: state.account.posted,
        held: state.account.held,
    }
}

fn take(
    state: &mut AccountState,
    amount: Credits,
    usage: Usage,
    context: EntryContext<'_>,
) -> Result<i64, Fault> {
    let mut lines = Vec::new();
    for portion in burn::plan(state.grants(), amount)? {
        lines.push(Line {
            grant_id: portion.grant_id,
            delta: negative(portion.amount)?,
            held_delta: Credits::ZERO,
        });
    }
    let draft = Draft { usage, ..Draft::new(EntryKind::Consume, amount, lines) };
    let seq = journal::write(state, draft, context)?;
    budget::spend(state.budgets_mut(), amount)?;
    Ok(seq)
}

//! Spending, all or nothing.

use kernel::Credits;

use crate::{
    core::{
        AccountState, Cause, Line, Stop, burn,
        fault::minus,
        journal::{self, Draft},
    },
    error::Refusal,
    model::EntryKind,
};

/// Takes `amount` in burn order and answers the `seq` of the entry.
pub(super) fn consume(
    state: &mut AccountState,
    amount: Credits,
    usage_record_id: Option<i64>,
    cause: Cause<'_>,
) -> Result<i64, Stop> {
    let account = &state.account;
    let available = minus(account.posted, account.held)?;
    if amount > available {
        let (balance, held) = (account.posted, account.held);
        return Err(Refusal::InsufficientCredits {
            available,
            required: amount,
            balance,
            held,
        }
        .into());
    }
    let mut lines = Vec::new();
    for portion in burn::plan(state.grants(), amount)? {
        let delta = minus(Credits::ZERO, portion.amount)?;
        lines.push(Line {
            grant_id: portion.grant_id,
            delta,
            held_delta: Credits::ZERO,
        });
    }
    let draft = Draft {
        usage_record_id,
        ..Draft::new(EntryKind::Consume, amount, lines)
    };
    Ok(journal::write(state, draft, cause)?)
}

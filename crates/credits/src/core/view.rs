//! Reading an account at an instant.

use std::borrow::Cow;

use time::OffsetDateTime;

use crate::{
    core::{AccountState, Fault, due},
    model::Balance,
};

/// The balance with everything that is due by `now` counted as gone or come. Changes nothing.
///
/// # Errors
/// [`Fault`] when the state breaks the rules.
pub fn view(state: &AccountState, now: OffsetDateTime) -> Result<Balance, Fault> {
    Ok(settled(state, now)?.account.balance())
}

/// The state with everything that is due by `now` applied: a copy, if anything is.
///
/// # Errors
/// [`Fault`] when the state breaks the rules.
pub fn settled(state: &AccountState, now: OffsetDateTime) -> Result<Cow<'_, AccountState>, Fault> {
    if state.account.next_due_at.is_none_or(|at| at > now) {
        return Ok(Cow::Borrowed(state));
    }
    let mut copy = state.clone();
    due::apply(&mut copy, now)?;
    Ok(Cow::Owned(copy))
}

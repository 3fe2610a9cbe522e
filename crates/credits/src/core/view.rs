//! Reading an account at an instant.

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
    if state.account.next_due_at.is_none_or(|at| at > now) {
        return Ok(state.account.balance());
    }
    let mut copy = state.clone();
    due::apply(&mut copy, now)?;
    Ok(copy.account.balance())
}

//! The end of an account whose user is erased (HTTP contract 3.4).

use kernel::{Actor, CallerClass, Clock, FreeForm, Ids, UserId};
use pg::{DbError, Tx};

use crate::{
    Refusal, core,
    model::{Action, Adjustment, Command, Defaults, Executed},
    service::{execute, inconsistent, set_budgets},
    store,
};

/// The reason in the entry that writes the rest off.
const REASON: &str = "user erased";

/// Releases every open hold and writes off the remaining credit, including scheduled grants: no credit appears later.
/// Budgets and the threshold of the owner go. The books show all of it; nothing is written for an account that is closed already.
/// Returns what was written. Descriptions and metadata are emptied by [`PERSONAL_DATA`](crate::PERSONAL_DATA), in transactions of their own.
///
/// The caller commits. It locks the account, so it must not run in a transaction that changes other accounts.
///
/// # Errors
/// [`DbError`] when nothing of it may be committed.
pub async fn close(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    user: &UserId,
) -> Result<Executed, DbError> {
    if !store::accounts::lock_to_close(tx.conn(), user).await? {
        return Ok(Executed::default());
    }
    if let Err(refusal) = set_budgets(tx, user, &[]).await? {
        return Err(DbError::Inconsistent(format!("budgets of {user} cannot be removed: {refusal}")));
    }
    let peeked = store::peek::peek(tx.conn(), clock.pinned(), std::slice::from_ref(user)).await?;
    let Some(peeked) = peeked.into_values().next() else {
        return Ok(Executed::default());
    };
    let state = core::settled(&peeked.state, peeked.now).map_err(inconsistent)?;
    let mut actions: Vec<Action> =
        state.open_holds().map(|hold| Action::Release { hold_id: hold.id }).collect();
    let is_scheduled = state.grants().iter().any(|grant| grant.booked_seq.is_none());
    actions.push(if is_scheduled { Action::BookScheduled } else { Action::ApplyDue });
    let mut written = run(tx, clock, ids, user, actions).await?;
    let rest = written.outcomes.last().and_then(|outcome| outcome.result.as_ref().ok());
    let rest = rest.ok_or_else(|| DbError::Inconsistent(format!("account {user} cannot be closed")))?;
    let amount = rest.balance.posted;
    if !amount.is_zero() {
        let adjustment = Adjustment::Down { grant_id: None };
        let action = Action::Adjust { amount, adjustment, reason: REASON.to_owned() };
        let adjusted = run(tx, clock, ids, user, vec![action]).await?;
        written.outcomes.extend(adjusted.outcomes);
        written.entries.extend(adjusted.entries);
    }
    // Nobody is left who wants to hear of a low balance.
    written.low.clear();
    Ok(written)
}

/// Runs commands that no rule refuses. A hold that expired in the same moment needs no release.
async fn run(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    user: &UserId,
    actions: Vec<Action>,
) -> Result<Executed, DbError> {
    let command = |action| Command {
        user_id: user.clone(),
        actor: Actor::System,
        caller: CallerClass::Service,
        nonce: ids.uuid(),
        description: None,
        metadata: FreeForm::empty(),
        action,
    };
    let commands: Vec<Command> = actions.into_iter().map(command).collect();
    let executed = execute(tx, clock, Defaults::default(), &commands).await?;
    let refusals = executed.outcomes.iter().filter_map(|outcome| outcome.result.as_ref().err());
    match refusals.into_iter().find(|refusal| !matches!(refusal, Refusal::HoldNotOpen { .. })) {
        Some(refusal) => Err(DbError::Inconsistent(format!("account {user} cannot be closed: {refusal}"))),
        None => Ok(executed),
    }
}

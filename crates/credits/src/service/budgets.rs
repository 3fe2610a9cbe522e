//! Budgets are set and read. They are kept by the commands that spend.

use std::collections::BTreeSet;

use kernel::{Clock, Credits, UserId};
use pg::{DbError, PgConnection, Tx};

use crate::{
    core,
    model::{BudgetView, BudgetsRefused, NewBudget, balance::BALANCE_MAX},
    service::inconsistent,
    store,
};

/// The budgets of `user`, shortest period first; `None` without an account. One statement, unless something is due.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn budgets(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    user: &UserId,
) -> Result<Option<Vec<BudgetView>>, DbError> {
    let Some(seen) = store::budgets::read(conn, clock.pinned(), user).await? else {
        return Ok(None);
    };
    let mut held = seen.held;
    if seen.is_due && !seen.budgets.is_empty() {
        let peeked = store::peek::peek(conn, clock.pinned(), std::slice::from_ref(user)).await?;
        for peeked in peeked.into_values() {
            held = core::view(&peeked.state, peeked.now).map_err(inconsistent)?.held;
        }
    }
    let views = seen.budgets.into_iter().map(|(budget, zone)| BudgetView {
        period: budget.period,
        zone,
        limit: budget.limit,
        spent: budget.spent,
        held,
        resets_at: budget.window.end,
    });
    Ok(Some(views.collect()))
}

/// Like [`set_budgets`], and reads them while the account is still locked.
///
/// # Errors
/// Like [`set_budgets`].
pub async fn replace_budgets(
    tx: &mut Tx,
    clock: &dyn Clock,
    user: &UserId,
    new: &[NewBudget],
) -> Result<Result<Vec<BudgetView>, BudgetsRefused>, DbError> {
    if let Err(refusal) = set_budgets(tx, user, new).await? {
        return Ok(Err(refusal));
    }
    let budgets = budgets(tx.conn(), clock, user).await?;
    Ok(budgets.ok_or(BudgetsRefused::NoAccount))
}

/// Replaces all budgets of `user`; none, if `new` is empty. The caller commits. The account is locked meanwhile, so this must
/// not run in a transaction that calls [`execute`](super::execute()).
///
/// What was spent before in a window that goes on stays spent. A budget may begin exceeded: it then refuses whatever is
/// to be spent, and still takes what holds have set aside.
///
/// # Errors
/// [`DbError`] when the account could not be locked in time, or the database failed. Refusals are values.
pub async fn set_budgets(
    tx: &mut Tx,
    user: &UserId,
    new: &[NewBudget],
) -> Result<Result<(), BudgetsRefused>, DbError> {
    let mut periods = BTreeSet::new();
    for budget in new {
        let period = budget.period;
        if !periods.insert(period) {
            return Ok(Err(BudgetsRefused::Repeated { period }));
        }
        let limit = budget.limit;
        if limit < Credits::ZERO || limit > BALANCE_MAX {
            return Ok(Err(BudgetsRefused::InvalidLimit { limit }));
        }
    }
    let zones: Vec<&str> = new.iter().map(|budget| budget.zone.as_str()).collect();
    // Before the lock: it takes some 30 ms.
    if !zones.is_empty()
        && let Some(zone) = store::budgets::unknown_zone(tx.conn(), zones).await?
    {
        return Ok(Err(BudgetsRefused::UnknownZone { zone }));
    }
    if store::budgets::replace(tx.conn(), user, new).await? {
        Ok(Ok(()))
    } else {
        Ok(Err(BudgetsRefused::NoAccount))
    }
}

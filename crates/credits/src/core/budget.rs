//! Limits of spending in a window of time: a day, a month, or a lifetime.
//!
//! A charge needs room in every budget of its account: spent + held + amount <= limit. What is held counts against the window
//! that is open now, whenever it was set aside; it becomes spent when it is charged, in the window of that instant. So
//! no interleaving of holds and charges exceeds a budget. The account is locked meanwhile: there is no counter to share.

use std::cmp::Reverse;

use kernel::Credits;
use time::OffsetDateTime;

use crate::{
    core::{
        Fault,
        fault::{minus, plus},
    },
    error::Refusal,
    model::BudgetPeriod,
};

/// A budget in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Length of its windows.
    pub period: BudgetPeriod,
    /// Most that may be spent in a window.
    pub limit: Credits,
    /// Charges in the window, less their refunds.
    pub spent: Credits,
    /// The window.
    pub window: Window,
    /// Something was spent or given back since loading. Where that comes to nothing it is saved all the same, because it does
    /// so when the commands come one by one.
    changed: bool,
}

/// A span of time. Where an end is missing it goes on for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Its first instant.
    pub start: Option<OffsetDateTime>,
    /// The first instant behind it.
    pub end: Option<OffsetDateTime>,
}

impl Budget {
    /// A budget as it was stored.
    #[must_use]
    pub fn new(period: BudgetPeriod, limit: Credits, spent: Credits, window: Window) -> Self {
        Self { period, limit, spent, window, changed: false }
    }

    /// The budget at `now`. If its window is over by then, it goes on unspent in `present`, the window that `now` is in; else
    /// that is not looked at.
    #[must_use]
    pub fn at(self, now: OffsetDateTime, present: Window) -> Self {
        match self.window.end {
            Some(end) if end <= now => {
                // Where a zone's rules have changed meanwhile, windows still do not overlap: no charge is in two of them.
                let start = present.start.map_or(end, |start| start.max(end));
                let window = Window { start: Some(start), end: present.end };
                Self::new(self.period, self.limit, Credits::ZERO, window)
            }
            _ => self,
        }
    }

    /// Returns true if it has to be saved.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Room for spending and holds while so much is held.
    fn room(&self, held: Credits) -> Credits {
        let used = i128::from(self.spent.micro()).saturating_add(i128::from(held.micro()));
        let room = i128::from(self.limit.micro()).saturating_sub(used).max(0);
        Credits::from_micro(i64::try_from(room).unwrap_or(i64::MAX))
    }

    fn refusal(&self, held: Credits) -> Refusal {
        Refusal::BudgetExceeded {
            period: self.period,
            limit: self.limit,
            spent: self.spent,
            held,
            resets_at: self.window.end,
        }
    }
}

/// Budgets must have been brought to the window of the instant before a command acts at it.
pub(super) fn check(budgets: &[Budget], now: OffsetDateTime) -> Result<(), Fault> {
    let lasts = |budget: &Budget| match (budget.period, budget.window.end) {
        (BudgetPeriod::Lifetime, end) => end.is_none(),
        (BudgetPeriod::Day | BudgetPeriod::Month, end) => end.is_some_and(|end| end > now),
    };
    match budgets.iter().find(|budget| !lasts(budget)) {
        None => Ok(()),
        Some(budget) => Err(Fault::new(format!(
            "the budget of a {} is not that of {now}: {:?}",
            budget.period, budget.window
        ))),
    }
}

/// Refuses what exceeds a budget: by the one that has least room, of equal ones by the one that lasts longest.
pub(super) fn admit(budgets: &[Budget], held: Credits, amount: Credits) -> Result<(), Refusal> {
    match tightest(budgets, held) {
        Some(budget) if amount > budget.room(held) => Err(budget.refusal(held)),
        _ => Ok(()),
    }
}

/// As much of `amount` as the budgets have room for.
pub(super) fn cap(budgets: &[Budget], held: Credits, amount: Credits) -> Credits {
    tightest(budgets, held).map_or(amount, |budget| amount.min(budget.room(held)))
}

/// Counts a charge.
pub(super) fn spend(budgets: &mut [Budget], amount: Credits) -> Result<(), Fault> {
    for budget in budgets {
        budget.spent = plus(budget.spent, amount)?;
        budget.changed = true;
    }
    Ok(())
}

/// Counts a charge of `charged_at` as not made, where it was made in the window.
pub(super) fn give_back(
    budgets: &mut [Budget],
    amount: Credits,
    charged_at: OffsetDateTime,
) -> Result<(), Fault> {
    for budget in budgets {
        if budget.window.start.is_none_or(|start| charged_at >= start) {
            budget.spent = minus(budget.spent, amount)?;
            budget.changed = true;
            if budget.spent < Credits::ZERO {
                return Err(Fault::new(format!(
                    "more was given back than the budget of a {} says was spent",
                    budget.period
                )));
            }
        }
    }
    Ok(())
}

fn tightest(budgets: &[Budget], held: Credits) -> Option<&Budget> {
    let room = |budget: &&Budget| (budget.room(held), Reverse(budget.period));
    budgets.iter().min_by_key(room)
}

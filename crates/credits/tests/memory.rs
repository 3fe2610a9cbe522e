//! The ledger in memory: the core with budgets whose windows are computed without PostgreSQL.

use std::collections::BTreeMap;

use credits::{
    BudgetPeriod, BudgetView, Command, EntryKind, NewBudget,
    core::{AccountState, AccountStatus, Budget, JournalEntry, Stop, Window, apply},
};
use kernel::{Clock, Credits, ManualClock, UserId};
use time::{Duration, OffsetDateTime, UtcOffset, macros::datetime};
use uuid::Uuid;

use crate::{
    database_properties::{effect_word, refused},
    generator::Limits,
};

/// Its days and months are easily told without PostgreSQL: it has not set its clocks for long.
const ZONE: &str = "Asia/Shanghai";

/// Half a minute before a day and a month begin there.
pub const EVENING: OffsetDateTime = datetime!(2026-01-31 15:59:30 UTC);

/// The ledger in memory.
#[derive(Default)]
pub struct Expected {
    pub states: BTreeMap<UserId, AccountState>,
}

impl Expected {
    /// The answer of the core to a command, and the transaction.
    pub fn answer(&mut self, clock: &ManualClock, command: &Command) -> (String, Option<Uuid>) {
        let now = clock.now();
        let known = self.states.get(&command.user_id);
        let state = match known {
            Some(state) if state.status == AccountStatus::Open => state.clone(),
            _ => AccountState::fresh(command.user_id.clone(), now),
        };
        let state = self.states.entry(command.user_id.clone()).insert_entry(state).into_mut();
        turn(state, now);
        match apply(state, command, now) {
            Ok(effect) => (effect_word(state, &effect, now), Some(effect.transaction_id)),
            Err(Stop::Refused(refusal)) => (refused(&refusal, now.max(state.account.as_of)), None),
            Err(Stop::Broken(fault)) => panic!("{fault}"),
        }
    }
}

impl Expected {
    /// What was spent is added up from the whole journal.
    pub fn set_budgets(&mut self, user: &UserId, new: &[NewBudget]) {
        let state = self.states.get_mut(user).unwrap();
        let budget = |new: &NewBudget| {
            let window = window(new.period, state.account.as_of);
            let inside = |entry: &JournalEntry| window.start.is_none_or(|start| entry.created_at >= start);
            let charges = state.journal().iter().filter(|entry| {
                matches!(entry.kind, EntryKind::Consume | EntryKind::Capture) && inside(entry)
            });
            let mut spent = 0;
            for charge in charges {
                let of_charge = |entry: &&JournalEntry| entry.refunds_seq == Some(charge.seq);
                let refunds = state.journal().iter().filter(of_charge);
                spent += charge.amount.micro() - refunds.map(|refund| refund.amount.micro()).sum::<i64>();
            }
            Budget::new(new.period, new.limit, Credits::from_micro(spent), window)
        };
        let budgets = new.iter().map(budget).collect();
        state.keep_budgets(budgets);
    }
}

pub fn new_budgets(limits: &Limits) -> Vec<NewBudget> {
    let budget = |(period, limit): (BudgetPeriod, &Option<i64>)| {
        Some(NewBudget { period, zone: ZONE.to_owned(), limit: Credits::from_micro((*limit)?) })
    };
    BudgetPeriod::ALL.into_iter().zip(limits).filter_map(budget).collect()
}

/// The window of this instant in [`ZONE`], which is eight hours ahead.
fn window(period: BudgetPeriod, at: OffsetDateTime) -> Window {
    let local = at.checked_to_offset(UtcOffset::from_hms(8, 0, 0).unwrap()).unwrap();
    let midnight = local.replace_time(time::Time::MIDNIGHT);
    let (start, end) = match period {
        BudgetPeriod::Day => (midnight, midnight + Duration::DAY),
        BudgetPeriod::Month => {
            let first = midnight.replace_day(1).unwrap();
            (first, (first + Duration::days(32)).replace_day(1).unwrap())
        }
        BudgetPeriod::Lifetime => return Window::default(),
    };
    let (start, end) = [start, end].map(|at| at.checked_to_offset(UtcOffset::UTC).unwrap()).into();
    Window { start: Some(start), end: Some(end) }
}

/// What loading does with stored budgets.
fn turn(state: &mut AccountState, now: OffsetDateTime) {
    let now = now.max(state.account.as_of);
    let budgets = state.budgets().iter();
    let turned = budgets.map(|budget| budget.at(now, window(budget.period, now)));
    state.keep_budgets(turned.collect());
}

/// The budgets as they are shown at this instant.
pub fn shown_budgets(state: &AccountState, now: OffsetDateTime, held: Credits) -> Vec<BudgetView> {
    let mut state = state.clone();
    turn(&mut state, now);
    let view = |budget: &Budget| BudgetView {
        period: budget.period,
        zone: ZONE.to_owned(),
        limit: budget.limit,
        spent: budget.spent,
        held,
        resets_at: budget.window.end,
    };
    state.budgets().iter().map(view).collect()
}

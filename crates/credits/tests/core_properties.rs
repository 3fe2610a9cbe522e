//! Random commands: the core against the oracle, and the invariants after every step.

use std::collections::BTreeMap;

use credits::{
    Balance, BudgetPeriod, EntryKind, HoldView,
    core::{
        AccountState, AccountStatus, Budget, Charge, Effect, EntryRef, Grant, Hold, JournalEntry, Known,
        Line, Stop, Window, apply, burn::Portion, view,
    },
};
use kernel::{Actor, Credits, Failure, FreeForm, UserId};
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    generator::{Limits, Names, Op, Step, command, limits, number_of, steps},
    invariants::{check_budgets, check_invariants, check_prefix},
    oracle::{Allowance, Answer, Oracle, Part, Pledge, Row},
};

fn at(seconds: i64) -> OffsetDateTime {
    testkit::instant() + Duration::seconds(seconds)
}

fn seconds(instant: OffsetDateTime) -> i64 {
    (instant - testkit::instant()).whole_seconds()
}

pub fn micro(amount: Credits) -> i128 {
    i128::from(amount.micro())
}

fn number(id: Uuid) -> usize {
    usize::try_from(id.as_u128()).unwrap()
}

/// Seconds of a day and of a month: short, so that random commands see many of them.
const LENGTHS: [Option<i64>; 3] = [Some(30), Some(120), None];

/// A new account with budgets.
fn new_state(limits: &Limits) -> AccountState {
    let mut state = AccountState::fresh(testkit::user("someone"), at(0));
    let budgets = BudgetPeriod::ALL.into_iter().zip(limits).filter_map(|(period, limit)| {
        let limit = Credits::from_micro((*limit)?);
        Some(Budget::new(period, limit, Credits::ZERO, window(period, 0)))
    });
    state.keep_budgets(budgets.collect());
    state
}

/// The same budgets for the oracle.
fn allowances(limits: &Limits) -> Vec<Allowance> {
    let budgets = LENGTHS.into_iter().zip(limits);
    let allowance = |(seconds, limit): (Option<i64>, &Option<i64>)| {
        let limit = i128::from((*limit)?);
        Some(Allowance { limit, seconds })
    };
    budgets.filter_map(allowance).collect()
}

/// The window of this second.
fn window(period: BudgetPeriod, second: i64) -> Window {
    let length = BudgetPeriod::ALL.iter().position(|other| *other == period);
    let Some(seconds) = length.and_then(|place| LENGTHS[place]) else {
        return Window::default();
    };
    let start = second.div_euclid(seconds) * seconds;
    Window { start: Some(at(start)), end: Some(at(start + seconds)) }
}

/// What loading does with stored budgets.
fn turn(state: &mut AccountState, now: i64) {
    let now = now.max(seconds(state.account.as_of));
    let budgets = state.budgets().iter();
    let turned = budgets.map(|budget| budget.at(at(now), window(budget.period, now)));
    state.keep_budgets(turned.collect());
}

/// The result of a step in the oracle's words.
fn said(result: &Result<Effect, Stop>) -> Answer {
    match result {
        Ok(effect) => {
            let row = match &effect.entry {
                EntryRef::Nothing => None,
                EntryRef::Now(seq) => Some(usize::try_from(*seq).unwrap() - 1),
                EntryRef::Before(entry) => Some(usize::try_from(entry.seq).unwrap() - 1),
            };
            Answer::Did {
                row,
                replayed: effect.replayed,
                pledge: effect.hold.as_deref().map(pledge).map(Box::new),
                missing: micro(effect.uncollected),
            }
        }
        Err(Stop::Refused(refusal)) => Answer::No(refusal.code()),
        Err(Stop::Broken(fault)) => panic!("{fault}"),
    }
}

/// A shown hold in the oracle's words, but for its parts.
fn pledge(hold: &HoldView) -> Pledge {
    assert_eq!(hold.description, Some(format!("step {}", number(hold.hold_id))));
    Pledge {
        of_user: hold.made_by == kernel::CallerClass::User,
        number: number(hold.hold_id),
        amount: micro(hold.amount),
        parts: Vec::new(),
        until: seconds(hold.expires_at),
        state: hold.status.as_str(),
        charged: micro(hold.captured),
        freed: micro(hold.released),
        missing: micro(hold.uncollected),
        ended: hold.resolved_at.map(seconds),
    }
}

/// What the oracle said, without what an answer does not show.
fn shown(said: Answer) -> Answer {
    match said {
        Answer::Did { row, replayed, pledge, missing } => Answer::Did {
            row,
            replayed,
            pledge: pledge.map(|mut pledge| {
                pledge.parts.clear();
                pledge
            }),
            missing,
        },
        no @ Answer::No(_) => no,
    }
}

/// The journal in the oracle's words. Commands are told by their transaction ids.
fn rows(state: &AccountState) -> Vec<Row> {
    let place = |seq: i64| usize::try_from(seq).unwrap() - 1;
    let part = |line: &Line| Part {
        lot: place(line.grant_id),
        left: micro(line.delta),
        kept: micro(line.held_delta),
    };
    state
        .journal()
        .iter()
        .map(|entry| {
            let mut parts: Vec<Part> = entry.lines.iter().map(part).collect();
            parts.sort_unstable();
            Row {
                kind: entry.kind.as_str(),
                amount: micro(entry.amount),
                before: micro(entry.balance_before),
                after: micro(entry.balance_after),
                kept_after: micro(entry.held_after),
                at: seconds(entry.created_at),
                command: (entry.actor != Actor::System).then(|| number_of(entry.transaction_id)),
                reference: entry.reference_id.clone(),
                pledge: entry.hold_id.map(number),
                gives_back: entry.refunds_seq.map(place),
                parts,
            }
        })
        .collect()
}

fn balance_of(oracle: &Oracle) -> Balance {
    let credits = |micro: i128| Credits::from_micro(i64::try_from(micro).unwrap());
    Balance {
        posted: credits(oracle.posted()),
        held: credits(oracle.kept()),
        lifetime_granted: credits(oracle.lifetime()),
    }
}

/// What was stored of an account: all that ever was.
#[derive(Default)]
struct Archive {
    grants: BTreeMap<i64, Grant>,
    holds: BTreeMap<Uuid, Hold>,
    budgets: Vec<Budget>,
    journal: Vec<JournalEntry>,
}

impl Archive {
    /// Stores what the state made since it was loaded.
    fn save(&mut self, state: &AccountState) {
        for grant in state.grants() {
            let mut grant = grant.clone();
            // Notes are written once; a state that was loaded for charges has none.
            grant.notes = grant.notes.or_else(|| self.grants.get(&grant.id)?.notes.clone());
            self.grants.insert(grant.id, grant);
        }
        for hold in state.holds() {
            self.holds.insert(hold.id, hold.clone());
        }
        for budget in state.budgets() {
            match self.budgets.iter_mut().find(|stored| stored.period == budget.period) {
                None => self.budgets.push(*budget),
                Some(stored) if budget.is_changed() => *stored = *budget,
                Some(_) => {}
            }
        }
        self.journal.extend(state.journal().iter().cloned());
    }

    /// What the database would hand out: a new state without history, and what commands may name.
    fn load(&self, state: &AccountState) -> AccountState {
        let live = self.grants.values().filter(|grant| !grant.remaining.is_zero());
        let live = live.map(|grant| Grant { notes: None, ..grant.clone() });
        let (user, account) = (state.user_id.clone(), state.account);
        let holds = self.holds.values().cloned().map(|hold| match hold.is_open() {
            true => hold,
            false => Hold { allocation: Vec::new(), ..hold },
        });
        let mut fresh =
            AccountState::load(user.clone(), state.status, account, live.collect(), holds.collect()).unwrap();
        let stored = |budget: &Budget| Budget::new(budget.period, budget.limit, budget.spent, budget.window);
        fresh.keep_budgets(self.budgets.iter().map(stored).collect());
        for grant in self.grants.values() {
            if let Some(reference) = &grant.reference_id {
                let entry = grant.booked_seq.map(|seq| self.entry(seq).stored(&user, seq, FreeForm::empty()));
                let known = Known { grant: grant.clone(), entry: entry.map(Box::new) };
                fresh.know(reference.clone(), known);
            }
        }
        for entry in &self.journal {
            if matches!(entry.kind, EntryKind::Consume | EntryKind::Capture) {
                let (charge, grants) = self.charge(entry);
                fresh.know_charge(entry.transaction_id, charge, grants);
            }
        }
        fresh
    }

    fn entry(&self, seq: i64) -> &JournalEntry {
        self.journal.iter().find(|entry| entry.seq == seq).unwrap()
    }

    fn charge(&self, entry: &JournalEntry) -> (Charge, Vec<Grant>) {
        let refunds = self.journal.iter().filter(|other| other.refunds_seq == Some(entry.seq));
        let refunded: i64 = refunds.map(|refund| refund.amount.micro()).sum();
        let portion = |line: &Line| Portion {
            grant_id: line.grant_id,
            amount: Credits::from_micro(-line.delta.micro()),
        };
        let charge = Charge {
            seq: entry.seq,
            amount: entry.amount,
            refunded: Credits::from_micro(refunded),
            created_at: entry.created_at,
            portions: entry.lines.iter().rev().map(portion).collect(),
        };
        let grants = entry.lines.iter().map(|line| self.grants[&line.grant_id].clone());
        (charge, grants.collect())
    }
}

/// Notes what a command was, and its transaction, for those that name it.
fn note(names: &mut Names, number: usize, op: &Op, result: &Result<Effect, Stop>) {
    names.note(number, op);
    if let Ok(effect) = result {
        names.note_transaction(number, effect.transaction_id);
    }
}

/// What the oracle and the core make of the same steps, step by step.
fn check(steps: &[Step], limits: &Limits) {
    let (mut state, mut oracle, mut now) = (new_state(limits), Oracle::default(), 0_i64);
    oracle.allowances = allowances(limits);
    let mut names = Names::default();
    for (number, Step { wait, op }) in steps.iter().enumerate() {
        now += wait;
        let stored = state.budgets().to_vec();
        turn(&mut state, now);
        let before = state.clone();
        // Commands are made for the ledger's time, as a caller with a right clock would.
        let present = now.max(oracle.time);
        let command = command(&state.user_id, &names, number, at(present), op);
        let result = apply(&mut state, &command, at(now));
        let expected = oracle.step(present, number, &names, op);
        note(&mut names, number, op, &result);
        assert_eq!(said(&result), shown(expected), "step {number}: {op:?}");
        assert_eq!(rows(&state), oracle.rows, "step {number}: {op:?}");
        assert_eq!(state.account.balance(), balance_of(&oracle));
        assert_eq!(state.account.next_due_at.map(seconds), oracle.next_due());
        check_invariants(&state);
        check_budgets(&state);
        let spent = state.budgets().iter().map(|budget| micro(budget.spent));
        let expected = oracle.allowances.iter().map(|allowance| oracle.spent(*allowance));
        // What is no command at all does not bring the oracle to the present.
        let came = seconds(state.account.as_of) == present;
        assert!(!came || spent.eq(expected), "L19 after step {number}: {op:?}");
        match &result {
            Ok(effect) => {
                assert_eq!(effect.balance, state.account.balance());
                let burns = matches!(op, Op::Consume(_) | Op::TakeWhatIsThere(_) | Op::Hold { .. });
                if let (true, EntryRef::Now(seq)) = (burns, &effect.entry) {
                    let entry = &state.journal()[usize::try_from(*seq).unwrap() - 1];
                    check_prefix(&after_due(before, present), entry);
                }
            }
            Err(_) => assert!(state == before || state == after_due(before, present), "L8"),
        }
        if !came {
            // Nothing would be saved, so that a clock which steps back finds the window of before.
            state.keep_budgets(stored);
        }
        for ahead in [0, 1, 7, 60] {
            let mut later = oracle.clone();
            later.tick(present + ahead);
            assert_eq!(view(&state, at(present + ahead)).unwrap(), balance_of(&later));
        }
    }
}

/// L7: a sweep at each of these seconds changes neither the journal nor any answer.
fn check_swept(steps: &[Step], mut sweeps: Vec<i64>, limits: &Limits) {
    let (mut alone, mut swept, mut now) = (new_state(limits), new_state(limits), 0_i64);
    let mut names = Names::default();
    sweeps.sort_unstable();
    for (number, Step { wait, op }) in steps.iter().enumerate() {
        now += wait;
        for sweep in sweeps.extract_if(.., |sweep| *sweep <= now) {
            swept = after_due(swept, sweep);
        }
        turn(&mut alone, now);
        turn(&mut swept, now);
        let command = command(&alone.user_id, &names, number, at(now), op);
        let answers = (apply(&mut alone, &command, at(now)), apply(&mut swept, &command, at(now)));
        note(&mut names, number, op, &answers.0);
        assert_eq!(answers.0, answers.1);
        assert_eq!(view(&alone, at(now)), view(&swept, at(now)));
    }
    let (alone, swept) = (after_due(alone, now), after_due(swept, now));
    let journal = |state: &AccountState| -> Vec<_> {
        let strip = |entry: &JournalEntry| {
            let mut entry = entry.clone();
            entry.booked_at = at(0); // for diagnosis only: it says who was first
            entry
        };
        state.journal().iter().map(strip).collect()
    };
    assert_eq!(journal(&alone), journal(&swept));
    assert_eq!(alone.grants(), swept.grants());
    assert!(alone.holds().eq(swept.holds()));
    assert_eq!(alone.account, swept.account);
    assert_eq!(alone.budgets(), swept.budgets());
}

/// L12: saving and loading behind these commands changes nothing.
fn check_split(steps: &[Step], splits: &[bool], limits: &Limits) {
    let (mut whole, mut split, mut now) = (new_state(limits), new_state(limits), 0_i64);
    let (user, mut archive, mut names) = (whole.user_id.clone(), Archive::default(), Names::default());
    for (number, Step { wait, op }) in steps.iter().enumerate() {
        now += wait;
        turn(&mut whole, now);
        turn(&mut split, now);
        let command = command(&user, &names, number, at(now), op);
        let answers = (apply(&mut whole, &command, at(now)), apply(&mut split, &command, at(now)));
        note(&mut names, number, op, &answers.0);
        assert_eq!(said(&answers.0), said(&answers.1));
        let grants =
            |answer: &Result<Effect, Stop>| answer.as_ref().ok().and_then(|effect| effect.grant.clone());
        assert_eq!(grants(&answers.0), grants(&answers.1));
        assert_eq!(whole.account, split.account);
        let shown = |budget: &Budget| (budget.period, budget.spent, budget.window);
        assert!(whole.budgets().iter().map(shown).eq(split.budgets().iter().map(shown)));
        if splits[number] && split.status == AccountStatus::Open {
            archive.save(&split);
            split = archive.load(&split);
        }
    }
    archive.save(&split);
    assert_eq!(whole.journal(), archive.journal);
}

/// The state after due items and nothing else.
fn after_due(mut state: AccountState, now: i64) -> AccountState {
    turn(&mut state, now);
    let user: UserId = state.user_id.clone();
    let due = command(&user, &Names::default(), 1_000, at(now), &Op::ApplyDue);
    match apply(&mut state, &due, at(now)) {
        Ok(_) | Err(Stop::Refused(_)) => state,
        Err(Stop::Broken(fault)) => panic!("{fault}"),
    }
}

/// 600 cases, or more if `PROPTEST_CASES` says so. A case that fails is kept in a file, to be committed, and tried first
/// from then on.
fn config() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.max(600);
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds.txt"))),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Also L14: amounts are any i64. Clocks may step back.
    #[test]
    fn the_core_does_what_the_oracle_says(steps in steps(-3..20), limits in limits()) {
        check(&steps, &limits);
    }

    #[test]
    fn a_sweeper_changes_nothing(
        steps in steps(0..20),
        sweeps in prop::collection::vec(0..800_i64, 0..30),
        limits in limits(),
    ) {
        check_swept(&steps, sweeps, &limits);
    }

    #[test]
    fn any_split_into_batches_is_the_same(
        steps in steps(0..20),
        splits in prop::collection::vec(any::<bool>(), 41),
        limits in limits(),
    ) {
        check_split(&steps, &splits, &limits);
    }
}

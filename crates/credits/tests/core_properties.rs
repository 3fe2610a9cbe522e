//! Random commands: the core against the oracle, and the invariants after every step.

use std::collections::BTreeMap;

use credits::{
    Balance, Entry,
    core::{AccountState, Effect, Known, Line, Standing, Stop, Written, apply, view},
};
use kernel::{Actor, Credits, Failure, FreeForm, UserId};
use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use crate::{
    generator::{Op, Step, command, steps, transaction_id},
    oracle::{Oracle, Row, Said},
};

fn at(seconds: i64) -> OffsetDateTime {
    testkit::instant() + Duration::seconds(seconds)
}

fn seconds(instant: OffsetDateTime) -> i64 {
    (instant - testkit::instant()).whole_seconds()
}

fn micro(amount: Credits) -> i128 {
    i128::from(amount.micro())
}

fn new_state() -> AccountState {
    AccountState::fresh(testkit::user("someone"), at(0))
}

/// The result of a step in the oracle's words.
fn said(result: &Result<Effect, Stop>) -> Said {
    match result {
        Ok(effect) => {
            let row = match &effect.entry {
                Written::Nothing => None,
                Written::Now(seq) => Some(usize::try_from(*seq).unwrap() - 1),
                Written::Before(entry) => Some(usize::try_from(entry.seq).unwrap() - 1),
            };
            Said::Did {
                row,
                replayed: effect.replayed,
            }
        }
        Err(Stop::Refused(refusal)) => Said::No(refusal.code()),
        Err(Stop::Broken(fault)) => panic!("{fault}"),
    }
}

/// The journal in the oracle's words. Commands are told by their transaction ids.
fn rows(state: &AccountState, commands: usize) -> Vec<Row> {
    let numbers: BTreeMap<_, _> = (0..commands)
        .map(|number| (transaction_id(number), number))
        .collect();
    let part = |line: &Line| (usize::try_from(line.grant_id).unwrap() - 1, micro(line.delta));
    state
        .journal()
        .iter()
        .map(|entry| Row {
            kind: entry.kind.as_str(),
            amount: micro(entry.amount),
            before: micro(entry.balance_before),
            after: micro(entry.balance_after),
            at: seconds(entry.created_at),
            command: numbers.get(&entry.transaction_id).copied(),
            reference: entry.reference_id.clone(),
            parts: entry.lines.iter().map(part).collect(),
        })
        .collect()
}

fn balance_of(oracle: &Oracle) -> Balance {
    let credits = |micro: i128| Credits::from_micro(i64::try_from(micro).unwrap());
    Balance {
        posted: credits(oracle.posted()),
        held: Credits::ZERO,
        lifetime_granted: credits(oracle.lifetime()),
    }
}

/// L1, L2, L3, L4, L6 and L18, from nothing but the state. Everything since the account was opened must be in it.
fn check_invariants(state: &AccountState) {
    let account = &state.account;
    assert!(
        Credits::ZERO <= account.held && account.held <= account.posted,
        "L1"
    );

    let (mut balance, mut time) = (0, OffsetDateTime::UNIX_EPOCH);
    let mut sums: BTreeMap<i64, (i128, i128)> = BTreeMap::new();
    for (place, entry) in state.journal().iter().enumerate() {
        assert_eq!(entry.seq, i64::try_from(place).unwrap() + 1, "L2");
        assert_eq!(micro(entry.balance_before), balance, "L2");
        assert!(
            entry.created_at >= time && entry.booked_at >= entry.created_at,
            "L2"
        );
        (balance, time) = (micro(entry.balance_after), entry.created_at);
        let moved: i128 = entry.lines.iter().map(|line| micro(line.delta)).sum();
        assert_eq!(
            moved,
            micro(entry.balance_after) - micro(entry.balance_before),
            "L3"
        );
        assert_eq!(entry.actor == Actor::System, entry.description.is_none());
        for line in &entry.lines {
            let sum = sums.entry(line.grant_id).or_default();
            *sum = (sum.0 + micro(line.delta), sum.1 + micro(line.held_delta));
        }
    }
    assert_eq!(balance, micro(account.posted), "L2");
    assert_eq!(
        account.entry_seq,
        i64::try_from(state.journal().len()).unwrap(),
        "L2"
    );

    let (mut posted, mut held, mut lifetime, mut next_due) = (0, 0, 0, None::<OffsetDateTime>);
    for grant in state.grants() {
        let due = match grant.booked_seq {
            None => {
                assert_eq!((grant.remaining, grant.held), (grant.amount, Credits::ZERO), "L3");
                assert_eq!(sums.get(&grant.id), None, "L3");
                Some(grant.effective_at)
            }
            Some(_) => {
                assert_eq!(
                    sums.get(&grant.id),
                    Some(&(micro(grant.remaining), micro(grant.held))),
                    "L3"
                );
                (posted, held) = (posted + micro(grant.remaining), held + micro(grant.held));
                lifetime += micro(grant.amount);
                grant.expires_at.filter(|_| grant.remaining > grant.held)
            }
        };
        assert!(Credits::ZERO <= grant.held && grant.held <= grant.remaining, "L3");
        assert!(grant.remaining <= grant.amount, "L3");
        assert!(due.is_none_or(|due| due > account.as_of), "L6");
        next_due = [next_due, due].into_iter().flatten().min();
    }
    assert_eq!((posted, held), (micro(account.posted), micro(account.held)), "L4");
    assert_eq!(
        (lifetime, next_due),
        (micro(account.lifetime_granted), account.next_due_at),
        "L18"
    );
}

/// L9: what the newest entry took is a prefix of what could be spent, in burn order, and only its end is partial.
fn check_prefix(before: &AccountState, after: &AccountState) {
    let Some(entry) = after
        .journal()
        .last()
        .filter(|entry| entry.kind.as_str() == "consume")
    else {
        return;
    };
    let mut spendable: Vec<_> = before
        .grants()
        .iter()
        .filter(|grant| micro(grant.free()) > 0)
        .collect();
    spendable.sort_by_key(|grant| {
        let end = grant.expires_at.map_or(i64::MAX, seconds);
        (
            grant.priority,
            end,
            grant.paid,
            seconds(grant.effective_at),
            grant.id,
        )
    });
    let taken: Vec<_> = entry
        .lines
        .iter()
        .map(|line| (line.grant_id, -micro(line.delta)))
        .collect();
    let prefix: Vec<_> = spendable
        .iter()
        .take(taken.len())
        .map(|grant| (grant.id, micro(grant.free())))
        .collect();
    let (last, whole) = taken.split_last().unwrap();
    assert_eq!(whole, &prefix[..whole.len()], "L9");
    assert!(
        last.0 == prefix[whole.len()].0 && last.1 <= prefix[whole.len()].1,
        "L9"
    );
}

/// What the database would hand out after saving `state`: a new state without history, and the references.
fn reload(state: &AccountState, archive: &[Entry]) -> AccountState {
    let live = state
        .grants()
        .iter()
        .filter(|grant| grant.remaining > Credits::ZERO)
        .cloned()
        .collect();
    let mut fresh = AccountState::load(state.user_id.clone(), state.standing, state.account, live).unwrap();
    let by_seq = |seq: i64| {
        archive
            .iter()
            .find(|entry| entry.seq == seq)
            .cloned()
            .map(Box::new)
    };
    // Grants that left the state in an earlier batch are known from the archive alone.
    for entry in archive {
        if let Some(reference) = &entry.reference_id {
            let (kind, grant_id) = match (entry.kind.as_str(), entry.metadata.as_json()) {
                ("recharge", _) => ("purchase", 0),
                (_, json) if json.contains("initial") => ("initial", 0),
                (_, json) if json.contains("promo") => ("promo", 0),
                _ => ("plan", 0),
            };
            let known = Known {
                grant_id,
                kind: kind.parse().unwrap(),
                amount: entry.amount,
                entry: by_seq(entry.seq),
            };
            fresh.know(reference.clone(), known);
        }
    }
    for grant in state.grants() {
        if let Some(reference) = &grant.reference_id {
            let entry = grant.booked_seq.and_then(by_seq);
            let known = Known {
                grant_id: grant.id,
                kind: grant.kind,
                amount: grant.amount,
                entry,
            };
            fresh.know(reference.clone(), known);
        }
    }
    fresh
}

/// The new entries as they would be stored; the kind of the grant they booked goes into the metadata, for [`reload`].
fn archived(user: &UserId, state: &AccountState) -> Vec<Entry> {
    let store = |entry: &credits::core::JournalEntry| {
        let booked = state
            .grants()
            .iter()
            .find(|grant| grant.booked_seq == Some(entry.seq));
        let word = booked.map_or("none", |grant| grant.kind.as_str());
        entry.stored(user, entry.seq, FreeForm::of_texts([("kind", word)]))
    };
    state.journal().iter().map(store).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Also L14: amounts are any i64. Clocks may step back.
    #[test]
    fn the_core_does_what_the_oracle_says(steps in steps(-3..20)) {
        let (mut state, mut oracle, mut now) = (new_state(), Oracle::default(), 0_i64);
        for (number, Step { wait, op }) in steps.iter().enumerate() {
            now += wait;
            let before = state.clone();
            // Commands are made for the ledger's time, as a caller with a right clock would.
            let present = now.max(oracle.time);
            let command = command(&state.user_id, number, at(present), op);
            let result = apply(&mut state, &command, at(now));
            let expected = oracle.step(present, number, op);
            prop_assert_eq!(said(&result), expected);
            prop_assert_eq!(rows(&state, steps.len()), oracle.rows.clone());
            prop_assert_eq!(state.account.balance(), balance_of(&oracle));
            prop_assert_eq!(state.account.next_due_at.map(seconds), oracle.next_due());
            check_invariants(&state);
            match &result {
                Ok(effect) => {
                    prop_assert_eq!(effect.balance, state.account.balance());
                    if matches!(op, Op::Consume(_)) {
                        check_prefix(&after_due(before, number, present), &state);
                    }
                }
                Err(_) => prop_assert!(state == before || state == after_due(before, number, present), "L8"),
            }
            for ahead in [0, 1, 7, 60] {
                let mut later = oracle.clone();
                later.tick(present + ahead);
                prop_assert_eq!(view(&state, at(present + ahead)).unwrap(), balance_of(&later));
            }
        }
    }

    /// L7: whether and when something applies due items changes neither the journal nor any answer.
    #[test]
    fn a_sweeper_changes_nothing(steps in steps(0..20), sweeps in prop::collection::vec(0..800_i64, 0..30)) {
        let (mut alone, mut swept, mut now) = (new_state(), new_state(), 0_i64);
        let mut sweeps = sweeps;
        sweeps.sort_unstable();
        for (number, Step { wait, op }) in steps.iter().enumerate() {
            now += wait;
            for sweep in sweeps.extract_if(.., |sweep| *sweep <= now) {
                swept = after_due(swept, 1_000, sweep);
            }
            let command = command(&alone.user_id, number, at(now), op);
            let answers = (apply(&mut alone, &command, at(now)), apply(&mut swept, &command, at(now)));
            prop_assert_eq!(answers.0, answers.1);
            prop_assert_eq!(view(&alone, at(now)), view(&swept, at(now)));
        }
        let (alone, swept) = (after_due(alone, 1_000, now), after_due(swept, 1_000, now));
        let journal = |state: &AccountState| -> Vec<_> {
            let strip = |entry: &credits::core::JournalEntry| {
                let mut entry = entry.clone();
                entry.booked_at = at(0); // for diagnosis only: it says who was first
                entry
            };
            state.journal().iter().map(strip).collect()
        };
        prop_assert_eq!(journal(&alone), journal(&swept));
        prop_assert_eq!(alone.grants(), swept.grants());
        prop_assert_eq!(alone.account, swept.account);
    }

    /// L12: saving and loading between any two commands changes nothing.
    #[test]
    fn any_split_into_batches_is_the_same(
        steps in steps(0..20),
        splits in prop::collection::vec(any::<bool>(), 41),
    ) {
        let (mut whole, mut split, mut now) = (new_state(), new_state(), 0_i64);
        let (user, mut archive) = (whole.user_id.clone(), Vec::new());
        for (number, Step { wait, op }) in steps.iter().enumerate() {
            now += wait;
            let command = command(&user, number, at(now), op);
            let answers = (apply(&mut whole, &command, at(now)), apply(&mut split, &command, at(now)));
            prop_assert_eq!(said(&answers.0), said(&answers.1));
            prop_assert_eq!(whole.account, split.account);
            if splits[number] && split.standing == Standing::Open {
                archive.extend(archived(&user, &split));
                split = reload(&split, &archive);
            }
        }
        archive.extend(archived(&user, &split));
        prop_assert_eq!(archived(&user, &whole).len(), archive.len());
        for (entry, stored) in whole.journal().iter().zip(&archive) {
            let expected = entry.stored(&user, entry.seq, stored.metadata.clone());
            prop_assert_eq!(&expected, stored);
        }
    }
}

/// The state after due items and nothing else.
fn after_due(mut state: AccountState, number: usize, now: i64) -> AccountState {
    let due = command(&state.user_id, number, at(now), &Op::ApplyDue);
    match apply(&mut state, &due, at(now)) {
        Ok(_) | Err(Stop::Refused(_)) => state,
        Err(Stop::Broken(fault)) => panic!("{fault}"),
    }
}

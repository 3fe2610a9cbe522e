//! The invariants of an account, from nothing but its state. Everything since the account was opened must be in it.

use std::collections::BTreeMap;

use credits::{
    EntryKind, HoldStatus,
    core::{AccountState, JournalEntry, Line},
};
use kernel::{Actor, Credits};
use time::OffsetDateTime;

use crate::core_properties::micro;

/// L1-L6, L10, L18 and L24, from nothing but the state. Everything since the account was opened must be in it.
pub fn check_invariants(state: &AccountState) {
    let account = &state.account;
    assert!(Credits::ZERO <= account.held && account.held <= account.posted, "L1");

    let (mut balance, mut held, mut time) = (0, 0, OffsetDateTime::UNIX_EPOCH);
    let mut sums: BTreeMap<i64, (i128, i128)> = BTreeMap::new();
    for (place, entry) in state.journal().iter().enumerate() {
        assert_eq!(entry.seq, i64::try_from(place).unwrap() + 1, "L2");
        assert_eq!(micro(entry.balance_before), balance, "L2");
        assert!(entry.created_at >= time && entry.booked_at >= entry.created_at, "L2");
        let moved: i128 = entry.lines.iter().map(|line| micro(line.delta)).sum();
        let held_moved: i128 = entry.lines.iter().map(|line| micro(line.held_delta)).sum();
        assert_eq!(moved, micro(entry.balance_after) - balance, "L3");
        assert_eq!(held_moved, micro(entry.held_after) - held, "L3");
        balance = micro(entry.balance_after);
        (held, time) = (micro(entry.held_after), entry.created_at);
        assert_eq!(entry.actor == Actor::System, entry.description.is_none());
        if entry.actor != Actor::System {
            let first = credits::core::place(entry.transaction_id).unwrap();
            let before = place.checked_sub(1).map(|before| state.journal()[before].transaction_id);
            let is_second = first == entry.seq - 1 && before == Some(entry.transaction_id);
            assert!(first == entry.seq || is_second, "L24");
        }
        for line in &entry.lines {
            let sum = sums.entry(line.grant_id).or_default();
            *sum = (sum.0 + micro(line.delta), sum.1 + micro(line.held_delta));
        }
    }
    assert_eq!((balance, held), (micro(account.posted), micro(account.held)), "L2");
    assert_eq!(account.entry_seq, i64::try_from(state.journal().len()).unwrap(), "L2");
    check_grants(state, &sums);
    check_holds(state);
    check_refunds(state);
    state.check_sums().unwrap(); // L4
}

/// L9: what the newest charge or hold took is a prefix of what could be spent, in burn order, and only its end is partial.
pub fn check_prefix(before: &AccountState, entry: &JournalEntry) {
    let free: Vec<(i64, i128)> = before
        .grants()
        .iter()
        .filter(|grant| grant.free() > Credits::ZERO)
        .map(|grant| (grant.id, micro(grant.free())))
        .collect();
    let part = |line: &Line| micro(line.held_delta) - micro(line.delta);
    let taken: Vec<(i64, i128)> = entry.lines.iter().map(|line| (line.grant_id, part(line))).collect();
    let whole = &taken[..taken.len() - 1];
    assert_eq!(whole, &free[..whole.len()], "L9");
    let (id, part) = taken[whole.len()];
    assert_eq!(id, free[whole.len()].0, "L9");
    assert!(part <= free[whole.len()].1, "L9");
}

/// L3, L4, L6 and L18.
fn check_grants(state: &AccountState, sums: &BTreeMap<i64, (i128, i128)>) {
    let account = &state.account;
    let (mut posted, mut held, mut lifetime, mut next_due) = (0, 0, 0, None::<OffsetDateTime>);
    for grant in state.grants() {
        let due = match grant.booked_seq {
            None => {
                assert_eq!((grant.remaining, grant.held), (grant.amount, Credits::ZERO), "L3");
                assert_eq!(sums.get(&grant.id), None, "L3");
                Some(grant.effective_at)
            }
            Some(_) => {
                assert_eq!(sums.get(&grant.id), Some(&(micro(grant.remaining), micro(grant.held))), "L3");
                (posted, held) = (posted + micro(grant.remaining), held + micro(grant.held));
                if grant.kind.as_str() != "refund" {
                    lifetime += micro(grant.amount);
                }
                grant.expires_at.filter(|_| grant.remaining > grant.held)
            }
        };
        assert!(Credits::ZERO <= grant.held && grant.held <= grant.remaining, "L3");
        assert!(grant.remaining <= grant.amount, "L3");
        assert!(due.is_none_or(|due| due > account.as_of), "L6");
        next_due = [next_due, due].into_iter().flatten().min();
    }
    for hold in state.open_holds() {
        assert!(hold.expires_at > account.as_of, "L6");
        next_due = [next_due, Some(hold.expires_at)].into_iter().flatten().min();
    }
    assert_eq!((posted, held), (micro(account.posted), micro(account.held)), "L4");
    assert_eq!((lifetime, next_due), (micro(account.lifetime_granted), account.next_due_at), "L18");
}

/// L5.
fn check_holds(state: &AccountState) {
    for hold in state.holds() {
        let of = |kind: EntryKind| {
            let entries = state.journal().iter().filter(move |entry| entry.kind == kind);
            let of_hold = entries.filter(|entry| entry.hold_id == Some(hold.id));
            let entries: Vec<_> = of_hold.collect();
            assert!(entries.len() <= 1, "L5: {kind} twice");
            entries.first().copied()
        };
        let amount = |entry: Option<&JournalEntry>| entry.map_or(Credits::ZERO, |entry| entry.amount);
        let (made, captured, released) =
            (of(EntryKind::Hold), of(EntryKind::Capture), of(EntryKind::Release));
        assert_eq!(amount(made), hold.amount, "L5");
        assert_eq!((amount(captured), amount(released)), (hold.captured, hold.released), "L5");
        let ended = captured.or(released).map(|entry| entry.created_at);
        assert_eq!(ended, hold.resolved_at, "L5");
        if hold.status == HoldStatus::Open {
            assert!(ended.is_none(), "L5");
        } else {
            let resolved = micro(hold.captured.min(hold.amount)) + micro(hold.released);
            assert_eq!(resolved, micro(hold.amount), "L5");
        }
        if !hold.uncollected.is_zero() {
            let left = captured.map(|entry| (entry.balance_after, entry.held_after));
            assert!(hold.capped || left.is_some_and(|(posted, held)| posted == held), "L5");
        }
    }
}

/// L19. Holds for budgets that were there from the beginning.
pub fn check_budgets(state: &AccountState) {
    for budget in state.budgets() {
        assert!(budget.spent >= Credits::ZERO, "L19");
        let used = micro(budget.spent) + micro(state.account.held);
        assert!(used <= micro(budget.limit), "L19");
    }
}

/// L10.
fn check_refunds(state: &AccountState) {
    let mut refunded: BTreeMap<i64, i128> = BTreeMap::new();
    for entry in state.journal() {
        if let Some(seq) = entry.refunds_seq {
            *refunded.entry(seq).or_default() += micro(entry.amount);
        }
    }
    for (seq, sum) in refunded {
        let charge = &state.journal()[usize::try_from(seq).unwrap() - 1];
        assert!(matches!(charge.kind, EntryKind::Consume | EntryKind::Capture), "L10");
        assert!(sum <= micro(charge.amount), "L10");
    }
}

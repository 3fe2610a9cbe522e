//! The rules by example, for readers and for what random commands rarely meet.

use credits::{
    Action, BALANCE_MAX, EntryKind, GrantKind, NewGrant, NewGrantKind, PeriodFault, Refusal,
    core::{Account, AccountState, AccountStatus, EntryRef, Grant, Head, Stop, apply},
};
use kernel::Credits;
use time::{Duration, OffsetDateTime};

use crate::support::{command, consume, credits, open, recharge};

fn now() -> OffsetDateTime {
    testkit::instant()
}

fn opened(initial: Credits) -> AccountState {
    let user = testkit::user("someone");
    let mut state = AccountState::fresh(user.clone(), now());
    apply(&mut state, &open(&user, initial), now()).unwrap();
    state
}

fn give(state: &mut AccountState, new: NewGrant) {
    let command = command(&state.user_id, Action::Grant(new));
    apply(state, &command, now()).unwrap();
}

fn left(state: &AccountState) -> Vec<(i64, Credits)> {
    let mut left: Vec<_> = state.grants().iter().map(|grant| (grant.id, grant.remaining)).collect();
    left.sort_unstable();
    left
}

#[test]
fn credit_burns_by_priority_then_end_then_given_before_bought() {
    let mut state = opened(credits(10)); // grant 1: given, never ends
    let user = state.user_id.clone();
    apply(&mut state, &recharge(&user, credits(10), None), now()).unwrap(); // grant 2: bought
    let ends = |days| Some(now() + Duration::days(days));
    give(&mut state, NewGrant { expires_at: ends(30), ..NewGrant::new(NewGrantKind::Promo, credits(10)) });
    give(&mut state, NewGrant { expires_at: ends(7), ..NewGrant::new(NewGrantKind::Plan, credits(10)) });
    give(&mut state, NewGrant { priority: 200, ..NewGrant::new(NewGrantKind::Promo, credits(10)) });
    give(&mut state, NewGrant { priority: 1, ..NewGrant::new(NewGrantKind::Purchase, credits(10)) });

    apply(&mut state, &consume(&user, credits(45)), now()).unwrap();
    let order: Vec<i64> = state.journal().last().unwrap().lines.iter().map(|line| line.grant_id).collect();
    assert_eq!(order, [6, 4, 3, 1, 2]);
    assert_eq!(left(&state)[1], (2, credits(5)));
}

#[test]
fn one_micro_credit_too_much_is_refused_with_the_figures() {
    let mut state = opened(credits(10));
    let too_much = Credits::from_micro(credits(10).micro() + 1);
    let user = state.user_id.clone();
    let refused = apply(&mut state, &consume(&user, too_much), now()).unwrap_err();
    let figures = Refusal::InsufficientCredits {
        available: credits(10),
        required: too_much,
        balance: credits(10),
        held: Credits::ZERO,
    };
    assert_eq!(refused, Stop::Refused(figures));
    assert!(apply(&mut state, &consume(&user, credits(10)), now()).is_ok());
}

#[test]
fn credit_is_gone_at_the_instant_of_its_end() {
    let mut state = opened(Credits::ZERO);
    let end = now() + Duration::hours(1);
    give(&mut state, NewGrant { expires_at: Some(end), ..NewGrant::new(NewGrantKind::Promo, credits(10)) });
    let user = state.user_id.clone();
    let (mut before, mut at) = (state.clone(), state);
    assert!(apply(&mut before, &consume(&user, credits(10)), end - Duration::microseconds(1)).is_ok());
    assert!(apply(&mut at, &consume(&user, Credits::from_micro(1)), end).is_err());
    let expiry = at.journal().last().unwrap();
    assert_eq!((expiry.kind, expiry.amount, expiry.created_at), (EntryKind::Expire, credits(10), end));
}

#[test]
fn a_scheduled_grant_counts_from_its_instant_and_is_named_before() {
    let mut state = opened(Credits::ZERO);
    let (user, begin) = (state.user_id.clone(), now() + Duration::days(1));
    let new = NewGrant {
        effective_at: Some(begin),
        reference_id: Some("gift".to_owned()),
        ..NewGrant::new(NewGrantKind::Promo, credits(10))
    };
    let gift = command(&user, Action::Grant(new.clone()));
    let scheduled = apply(&mut state, &gift, now()).unwrap();
    assert_eq!((scheduled.entry, scheduled.balance.posted), (EntryRef::Nothing, Credits::ZERO));
    assert_eq!(scheduled.balance.lifetime_granted, Credits::ZERO);

    let other = command(&user, Action::Grant(NewGrant { amount: credits(11), ..new }));
    let Err(Stop::Refused(Refusal::ReferenceConflict { transaction_id })) = apply(&mut state, &other, now())
    else {
        panic!("two amounts of one gift")
    };
    let replayed = apply(&mut state, &gift, begin).unwrap();
    assert_eq!((replayed.entry, replayed.replayed), (EntryRef::Now(1), true));
    assert_eq!(replayed.balance.lifetime_granted, credits(10));
    let booking = &state.journal()[0];
    assert_eq!((booking.transaction_id, booking.created_at), (transaction_id, begin));
    assert_eq!(booking.actor.as_str(), "system");
}

#[test]
fn scheduled_credit_counts_towards_the_limit() {
    let mut state = opened(credits(1));
    let user = state.user_id.clone();
    let almost = BALANCE_MAX.checked_sub(credits(1)).unwrap();
    let begins = Some(now() + Duration::days(1));
    give(&mut state, NewGrant { effective_at: begins, ..NewGrant::new(NewGrantKind::Plan, almost) });
    let refused = apply(&mut state, &recharge(&user, Credits::from_micro(1), None), now()).unwrap_err();
    assert_eq!(refused, Stop::Refused(Refusal::BalanceLimit));
    let later = now() + Duration::days(2);
    let full = apply(&mut state, &command(&user, Action::ApplyDue), later).unwrap();
    assert_eq!(full.balance.posted, BALANCE_MAX);
}

#[test]
fn an_account_is_opened_once_and_a_recharge_is_not_its_initial_grant() {
    let mut state = opened(credits(10));
    let user = state.user_id.clone();
    let again = apply(&mut state, &open(&user, credits(99)), now()).unwrap();
    assert_eq!((again.entry, again.replayed), (EntryRef::Now(1), true));
    assert_eq!(again.balance.posted, credits(10));
    let disguised = recharge(&user, credits(10), Some(credits::INITIAL_REFERENCE));
    let refused = apply(&mut state, &disguised, now());
    assert_eq!(refused, Err(Stop::Refused(Refusal::ReservedReference)));
    let given = apply(&mut state, &recharge(&user, credits(10), Some("initial")), now()).unwrap();
    assert!(!given.replayed);
}

#[test]
fn impossible_amounts_and_lives_are_refused() {
    let mut state = opened(credits(10));
    let user = state.user_id.clone();
    let before = state.clone();
    for micro in [0, -1, i64::MIN, i64::MAX, BALANCE_MAX.micro() + 1] {
        let amount = Credits::from_micro(micro);
        for command in [consume(&user, amount), recharge(&user, amount, None)] {
            let refused = Refusal::InvalidAmount { amount, limit: BALANCE_MAX };
            assert_eq!(apply(&mut state, &command, now()), Err(Stop::Refused(refused)));
        }
    }
    let day = Duration::days(1);
    for (effective_at, expires_at, fault) in [
        (None, Some(now()), PeriodFault::Expiry),
        (None, Some(now() - day), PeriodFault::Expiry),
        (Some(now() + day), Some(now() + day), PeriodFault::Expiry),
        (Some(OffsetDateTime::UNIX_EPOCH - day), None, PeriodFault::Beginning),
    ] {
        let new = NewGrant { effective_at, expires_at, ..NewGrant::new(NewGrantKind::Promo, credits(1)) };
        let refused = apply(&mut state, &command(&user, Action::Grant(new)), now());
        assert_eq!(refused, Err(Stop::Refused(Refusal::InvalidPeriod(fault))));
    }
    assert_eq!(state, before);
}

#[test]
fn lifetime_granted_cannot_overflow() {
    let user = testkit::user("someone");
    let account = Account {
        posted: Credits::ZERO,
        held: Credits::ZERO,
        lifetime_granted: Credits::from_micro(i64::MAX - 1),
        entry_seq: 0,
        grant_seq: 0,
        next_due_at: None,
        as_of: now(),
        head: None,
    };
    let mut state =
        AccountState::load(user.clone(), AccountStatus::Open, account, Vec::new(), Vec::new()).unwrap();
    assert!(apply(&mut state, &recharge(&user, Credits::from_micro(1), None), now()).is_ok());
    let refused = apply(&mut state, &recharge(&user, Credits::from_micro(1), None), now()).unwrap_err();
    assert_eq!(refused, Stop::Refused(Refusal::BalanceLimit));
}

#[test]
fn damaged_figures_are_not_taken_in() {
    let account = opened(credits(10)).account;
    let grant = Grant {
        id: 1,
        kind: GrantKind::Initial,
        paid: false,
        priority: 100,
        amount: credits(10),
        remaining: credits(9),
        held: Credits::ZERO,
        effective_at: now(),
        expires_at: None,
        booked_seq: Some(1),
        reference_id: None,
        created_at: now(),
        notes: None,
    };
    let user = testkit::user("someone");
    let fault = AccountState::load(user, AccountStatus::Open, account, vec![grant], Vec::new()).unwrap_err();
    assert!(fault.to_string().contains("someone"), "{fault}");
    let state = opened(credits(10));
    let first = state.head().unwrap();
    for (head, is_sound) in [
        (None, true),
        (Some(first), true),
        (Some(Head { grant_id: 2, ..first }), false),
        (Some(Head { remaining: credits(9), ..first }), false),
    ] {
        let (user, account) = (state.user_id.clone(), Account { head, ..state.account });
        let loaded =
            AccountState::load(user, AccountStatus::Open, account, state.grants().to_vec(), Vec::new());
        assert_eq!(loaded.is_ok(), is_sound, "{head:?}");
    }
}

//! Holds, captures, refunds and corrections by example, for readers and for what random commands rarely meet.

use credits::{
    Action, Adjustment, Command, EntryKind, GrantKind, HOLD_TTL_MAX, HOLDS_OPEN_MAX, HoldMode, HoldStatus,
    NewGrant, NewGrantKind, PeriodFault, REFUND_LIFE, Refusal,
    core::{AccountState, Effect, EntryRef, Stop, apply},
};
use kernel::{Actor, Credits, Failure, Kind};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::support::{
    capture, command, consume, credits, hold, open, recharge, refund, release, transaction_id,
};

fn now() -> OffsetDateTime {
    testkit::instant()
}

fn after(seconds: i64) -> OffsetDateTime {
    now() + Duration::seconds(seconds)
}

fn opened(initial: i64) -> AccountState {
    let user = testkit::user("someone");
    let mut state = AccountState::fresh(user.clone(), now());
    apply(&mut state, &open(&user, credits(initial)), now()).unwrap();
    state
}

/// A promo of this many credits that ends after this many seconds.
fn promo(state: &AccountState, amount: i64, seconds: i64) -> Command {
    let new =
        NewGrant { expires_at: Some(after(seconds)), ..NewGrant::new(NewGrantKind::Promo, credits(amount)) };
    command(&state.user_id, Action::Grant(new))
}

fn does(state: &mut AccountState, command: &Command, at: OffsetDateTime) -> Effect {
    apply(state, command, at).unwrap()
}

fn refuses(state: &mut AccountState, command: &Command, at: OffsetDateTime) -> Refusal {
    match apply(state, command, at) {
        Err(Stop::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn held(state: &mut AccountState, amount: i64, at: OffsetDateTime) -> Uuid {
    let (id, command) = hold(&state.user_id, credits(amount));
    does(state, &command, at);
    id
}

/// The newest entries: what they are, their amounts, the balance and what is held behind them.
fn newest(state: &AccountState, count: usize) -> Vec<(EntryKind, Credits, Credits, Credits)> {
    let journal = state.journal();
    let show = |entry: &credits::core::JournalEntry| {
        (entry.kind, entry.amount, entry.balance_after, entry.held_after)
    };
    journal[journal.len() - count..].iter().map(show).collect()
}

#[test]
fn what_is_held_cannot_be_spent_and_the_balance_stays() {
    let mut state = opened(10);
    let user = state.user_id.clone();
    held(&mut state, 7, now());
    assert_eq!((state.account.posted, state.account.held), (credits(10), credits(7)));
    let refused = Refusal::InsufficientCredits {
        available: credits(3),
        required: credits(4),
        balance: credits(10),
        held: credits(7),
    };
    assert_eq!(refuses(&mut state, &consume(&user, credits(4)), now()), refused);
    does(&mut state, &consume(&user, credits(3)), now());
    assert_eq!(state.account.balance().available(), Credits::ZERO);
}

#[test]
fn a_clamped_hold_takes_what_there_is_but_not_nothing() {
    let mut state = opened(10);
    let user = state.user_id.clone();
    let clamp = |amount| {
        let hold = Action::Hold {
            hold_id: Uuid::from_u128(u128::try_from(amount).unwrap()),
            amount: credits(amount),
            mode: HoldMode::Clamp,
            ttl: HOLD_TTL_MAX,
        };
        command(&user, hold)
    };
    let done = does(&mut state, &clamp(50), now());
    let shown = done.hold.unwrap();
    assert_eq!((shown.requested, shown.amount), (credits(50), credits(10)));
    assert_eq!(shown.expires_at, now() + Duration::DAY);
    let refused = refuses(&mut state, &clamp(1), now());
    assert!(matches!(refused, Refusal::InsufficientCredits { available: Credits::ZERO, .. }));
}

#[test]
fn a_capture_takes_less_and_frees_the_rest_in_one_step() {
    let mut state = opened(10);
    let (user, id) = (state.user_id.clone(), held(&mut state, 7, now()));
    let done = does(&mut state, &capture(&user, id, Some(credits(5))), after(1));
    assert_eq!(
        newest(&state, 2),
        [
            (EntryKind::Capture, credits(5), credits(5), credits(2)),
            (EntryKind::Release, credits(2), credits(5), Credits::ZERO),
        ]
    );
    assert_eq!(done.entry, EntryRef::Now(3)); // the capture, not the release behind it
    let shown = done.hold.unwrap();
    assert_eq!(
        (shown.status, shown.captured, shown.released),
        (HoldStatus::Captured, credits(5), credits(2))
    );
    assert_eq!(shown.resolved_at, Some(after(1)));
    let again = refuses(&mut state, &capture(&user, id, None), after(2));
    let resolved = Refusal::HoldNotOpen { hold_status: HoldStatus::Captured, resolved_at: after(1) };
    assert_eq!(again, resolved);
    assert_eq!((again.code(), again.kind()), ("HoldNotOpenException", Kind::Conflict));
}

#[test]
fn a_capture_of_more_goes_as_far_as_there_is_and_reports_the_rest() {
    let mut state = opened(10);
    let user = state.user_id.clone();
    let (small, large) = (held(&mut state, 2, now()), held(&mut state, 3, now()));
    let done = does(&mut state, &capture(&user, small, Some(credits(4))), now());
    assert_eq!(
        (done.uncollected, done.balance.posted, done.balance.held),
        (Credits::ZERO, credits(6), credits(3))
    );
    let done = does(&mut state, &capture(&user, large, Some(credits(100))), now());
    assert_eq!((done.uncollected, done.balance.posted), (credits(94), Credits::ZERO));
    let shown = done.hold.unwrap();
    assert_eq!((shown.captured, shown.released, shown.uncollected), (credits(6), Credits::ZERO, credits(94)));
    assert_eq!(state.journal().last().unwrap().lines.len(), 1, "one line a grant");
}

#[test]
fn a_capture_of_nothing_frees_all() {
    let mut state = opened(10);
    let (user, id) = (state.user_id.clone(), held(&mut state, 7, now()));
    let done = does(&mut state, &capture(&user, id, Some(Credits::ZERO)), now());
    assert_eq!(done.entry, EntryRef::Nothing);
    assert_eq!(newest(&state, 1), [(EntryKind::Release, credits(7), credits(10), Credits::ZERO)]);
    assert_eq!(done.hold.unwrap().status, HoldStatus::Captured);
}

#[test]
fn a_hold_is_gone_at_the_instant_of_its_end() {
    let mut state = opened(10);
    let (user, id) = (state.user_id.clone(), held(&mut state, 7, now()));
    let mut before = state.clone();
    does(&mut before, &capture(&user, id, None), after(60) - Duration::microseconds(1));
    for command in [capture(&user, id, None), release(&user, id)] {
        let mut state = state.clone();
        let refused = refuses(&mut state, &command, after(90));
        let expired = Refusal::HoldNotOpen { hold_status: HoldStatus::Expired, resolved_at: after(60) };
        assert_eq!(refused, expired);
        let ended = state.journal().last().unwrap();
        assert_eq!((ended.kind, ended.actor), (EntryKind::Release, Actor::System));
        assert_eq!((ended.created_at, ended.hold_id), (after(60), Some(id)));
        assert_eq!(state.account.balance().available(), credits(10));
    }
    let unknown = Uuid::from_u128(1);
    let refused = refuses(&mut state, &release(&user, unknown), now());
    assert_eq!(refused, Refusal::HoldNotFound { hold_id: unknown });
    assert_eq!(refused.kind(), Kind::NotFound);
}

/// The part that is freed was due long before, but entries never go back in time.
#[test]
fn a_hold_keeps_its_part_of_a_grant_that_ends_until_it_ends_itself() {
    let mut state = opened(0);
    let user = state.user_id.clone();
    let gift = promo(&state, 10, 30);
    does(&mut state, &gift, now());
    let id = held(&mut state, 7, now());
    does(&mut state, &command(&user, Action::ApplyDue), after(40));
    assert_eq!(newest(&state, 1), [(EntryKind::Expire, credits(3), credits(7), credits(7))]);

    let mut captured = state.clone();
    does(&mut captured, &capture(&user, id, Some(credits(5))), after(50));
    assert_eq!(
        newest(&captured, 3),
        [
            (EntryKind::Capture, credits(5), credits(2), credits(2)),
            (EntryKind::Release, credits(2), credits(2), Credits::ZERO),
            (EntryKind::Expire, credits(2), Credits::ZERO, Credits::ZERO),
        ]
    );
    assert_eq!(captured.journal().last().unwrap().created_at, after(50));

    does(&mut state, &command(&user, Action::ApplyDue), after(100));
    let ends: Vec<_> = state.journal()[3..].iter().map(|entry| entry.created_at).collect();
    assert_eq!(ends, [after(60), after(60)]);
    assert_eq!(state.account.posted, Credits::ZERO);
}

#[test]
fn of_what_ends_at_one_instant_holds_come_first_and_then_grants_before_new_ones_begin() {
    let mut state = opened(0);
    let user = state.user_id.clone();
    let next = NewGrant { effective_at: Some(after(60)), ..NewGrant::new(NewGrantKind::Plan, credits(20)) };
    does(&mut state, &command(&user, Action::Grant(next)), now());
    let gift = promo(&state, 10, 60);
    does(&mut state, &gift, now());
    held(&mut state, 7, now());
    does(&mut state, &command(&user, Action::ApplyDue), after(60));
    assert_eq!(
        newest(&state, 3),
        [
            (EntryKind::Release, credits(7), credits(10), Credits::ZERO),
            (EntryKind::Expire, credits(10), Credits::ZERO, Credits::ZERO),
            (EntryKind::Grant, credits(20), credits(20), Credits::ZERO),
        ]
    );
}

#[test]
fn an_over_capture_does_not_reach_into_credit_that_has_ended() {
    let mut state = opened(1);
    let user = state.user_id.clone();
    let gift = promo(&state, 10, 30);
    does(&mut state, &gift, now());
    let (one, _other) = (held(&mut state, 4, now()), held(&mut state, 6, now()));
    let done = does(&mut state, &capture(&user, one, Some(credits(9))), after(50));
    assert_eq!((done.uncollected, done.balance.posted), (credits(4), credits(6)));
}

#[test]
fn a_thousand_holds_are_open_at_most() {
    let mut state = opened(2_000);
    let user = state.user_id.clone();
    let first = held(&mut state, 1, now());
    for _ in 1..HOLDS_OPEN_MAX {
        held(&mut state, 1, now());
    }
    let (_, one_more) = hold(&user, credits(1));
    let before = state.clone();
    let refused = refuses(&mut state, &one_more, now());
    assert_eq!(refused, Refusal::TooManyHolds { limit: 1_000 });
    assert_eq!((refused.code(), refused.kind()), ("TooManyHoldsException", Kind::TooMany));
    assert!(!refused.is_remembered());
    assert_eq!(state, before);
    does(&mut state, &release(&user, first), now());
    does(&mut state, &one_more, now());
}

#[test]
fn lives_and_reasons_that_cannot_be_are_refused() {
    let mut state = opened(10);
    let user = state.user_id.clone();
    for ttl in [
        Duration::ZERO,
        Duration::milliseconds(999),
        Duration::DAY + Duration::microseconds(1),
        Duration::MIN,
    ] {
        let hold = Action::Hold { hold_id: Uuid::nil(), amount: credits(1), mode: HoldMode::Exact, ttl };
        assert_eq!(
            refuses(&mut state, &command(&user, hold), now()),
            Refusal::InvalidPeriod(PeriodFault::Ttl)
        );
    }
    let silent = Action::Adjust { amount: credits(1), adjustment: Adjustment::Up, reason: " ".to_owned() };
    assert_eq!(refuses(&mut state, &command(&user, silent), now()), Refusal::MissingReason);
}

#[test]
fn refunds_return_to_the_grants_in_reverse_and_stop_at_the_charge() {
    let mut state = opened(10); // grant 1
    let user = state.user_id.clone();
    does(&mut state, &recharge(&user, credits(10), None), now()); // grant 2 burns behind it
    let charge = consume(&user, credits(15));
    let id = transaction_id(3, &charge);
    does(&mut state, &charge, now());
    does(&mut state, &refund(&user, id, Some(credits(6))), after(1));
    let lines = |state: &AccountState| -> Vec<(i64, Credits)> {
        let lines = &state.journal().last().unwrap().lines;
        lines.iter().map(|line| (line.grant_id, line.delta)).collect()
    };
    assert_eq!(lines(&state), [(2, credits(5)), (1, credits(1))]);
    let refused = refuses(&mut state, &refund(&user, id, Some(credits(10))), after(2));
    let exceeding =
        Refusal::RefundExceedsCharge { refundable: credits(9), charged: credits(15), refunded: credits(6) };
    assert_eq!(refused, exceeding);
    does(&mut state, &refund(&user, id, None), after(2));
    assert_eq!(lines(&state), [(1, credits(9))]);
    let entry = state.journal().last().unwrap();
    assert_eq!(entry.refunds_seq, Some(3));
    let (of, why) = (format!("txn_{id}"), "it broke");
    assert_eq!(entry.metadata, kernel::FreeForm::of_texts([("reason", why), ("refund_of", of.as_str())]));
    assert!(matches!(
        refuses(&mut state, &refund(&user, id, None), after(3)),
        Refusal::RefundExceedsCharge { refundable: Credits::ZERO, .. }
    ));
    assert_eq!((state.account.posted, state.account.lifetime_granted), (credits(20), credits(20)));
}

#[test]
fn a_refund_of_credit_that_has_ended_lives_for_a_week() {
    let mut state = opened(5);
    let user = state.user_id.clone();
    let gift = promo(&state, 10, 30);
    does(&mut state, &gift, now());
    let charge = consume(&user, credits(12));
    does(&mut state, &charge, now());
    does(&mut state, &refund(&user, transaction_id(3, &charge), None), after(30));
    let made = state.grants().iter().find(|grant| grant.kind == GrantKind::Refund).unwrap();
    assert_eq!((made.id, made.amount, made.remaining), (3, credits(10), credits(10)));
    assert_eq!((made.paid, made.priority), (false, 100));
    assert_eq!(made.expires_at, Some(after(30) + REFUND_LIFE));
    assert_eq!(state.account.balance().available(), credits(15));
    assert_eq!(state.account.lifetime_granted, credits(15));
    does(&mut state, &consume(&user, credits(10)), after(31)); // the refund burns first: it ends
    assert_eq!(state.journal().last().unwrap().lines[0].grant_id, 3);
}

#[test]
fn only_charges_can_be_given_back() {
    let mut state = opened(5);
    let user = state.user_id.clone();
    let bought = recharge(&user, credits(1), None);
    does(&mut state, &bought, now());
    let (_, set_aside) = hold(&user, credits(1));
    does(&mut state, &set_aside, now());
    for transaction_id in [transaction_id(2, &bought), transaction_id(3, &set_aside), Uuid::nil()] {
        assert_eq!(
            refuses(&mut state, &refund(&user, transaction_id, None), now()),
            Refusal::TransactionNotFound { transaction_id }
        );
    }
}

#[test]
fn corrections_count_as_granted_upwards_and_never_reach_what_is_held_downwards() {
    let mut state = opened(10);
    let user = state.user_id.clone();
    let adjust = |amount, adjustment| {
        let reason = "counted again".to_owned();
        let action = Action::Adjust { amount: credits(amount), adjustment, reason };
        command(&user, action)
    };
    let done = does(&mut state, &adjust(5, Adjustment::Up), now());
    let grant = done.grant.unwrap();
    assert_eq!((grant.kind, grant.grant_id), (GrantKind::Adjustment, 2));
    assert_eq!(state.account.lifetime_granted, credits(15));

    held(&mut state, 8, now()); // of grant 1
    let from = |grant_id| Adjustment::Down { grant_id: Some(grant_id) };
    let refused = refuses(&mut state, &adjust(3, from(1)), now());
    assert!(matches!(refused, Refusal::InsufficientCredits { available, .. } if available == credits(2)));
    let refused = refuses(&mut state, &adjust(1, from(9)), now());
    assert!(matches!(refused, Refusal::InsufficientCredits { available: Credits::ZERO, .. }));
    does(&mut state, &adjust(4, from(2)), now());
    assert_eq!(newest(&state, 1), [(EntryKind::Adjust, credits(4), credits(11), credits(8))]);
    does(&mut state, &adjust(3, Adjustment::Down { grant_id: None }), now());
    assert_eq!(state.account.balance().available(), Credits::ZERO);
    assert_eq!(state.account.lifetime_granted, credits(15));
}

#[test]
fn an_uncollected_charge_takes_what_there_is() {
    let mut state = opened(10);
    let user = state.user_id.clone();
    held(&mut state, 7, now());
    let take = |amount| {
        let action = Action::ConsumeUncollected { amount: credits(amount), usage_record_id: Some(4) };
        command(&user, action)
    };
    let done = does(&mut state, &take(5), now());
    assert_eq!((done.uncollected, done.balance.posted), (credits(2), credits(7)));
    assert_eq!(newest(&state, 1), [(EntryKind::Consume, credits(3), credits(7), credits(7))]);
    let done = does(&mut state, &take(5), now());
    assert_eq!((done.uncollected, done.entry), (credits(5), EntryRef::Nothing));
}

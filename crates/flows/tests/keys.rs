//! Commands of the ledger under idempotency keys: one effect a key, and the first answer again for good.

use credits::{Action, Applied, Command, HoldMode, HoldStatus, NewGrant, NewGrantKind, Refusal};
use flows::{CallerCheck, CommandRefusal, LedgerOutcome, Replay, Writes, pruning};
use futures_util::future::join_all;
use kernel::{
    CallerClass, Clock, Credits, Failure, FreeForm, IdempotencyKey, Ids as _, Kind, ManualClock, RandomIds,
    UserId, fingerprint::v1,
};
use testkit::TestDb;
use time::Duration;
use uuid::Uuid;

use crate::{
    database,
    operations::{consume, run, run_under, signed_up, uncharged, writes},
};

async fn entries(db: &TestDb) -> i64 {
    db.ask("SELECT count(*) FROM credits.entries").await
}

pub fn credits(whole: i64) -> Credits {
    Credits::from_micro(whole * 1_000_000)
}

pub fn command(user: &UserId, action: Action) -> Command {
    Command { action, ..consume(user.clone(), "1") }
}

fn spend(user: &UserId, amount: i64) -> Command {
    command(user, Action::Consume { amount: credits(amount), usage_record_id: None })
}

fn recharge(user: &UserId, amount: Credits, reference_id: Option<&str>) -> Command {
    let reference_id = reference_id.map(str::to_owned);
    command(user, Action::Recharge { amount, reference_id, scope: credits::ReferenceScope::User })
}

fn hold(user: &UserId, amount: i64) -> (Uuid, Command) {
    let hold_id = RandomIds.uuid();
    let (amount, mode) = (credits(amount), HoldMode::Exact);
    (hold_id, command(user, Action::Hold { hold_id, amount, mode, ttl: Duration::minutes(1) }))
}

fn capture(user: &UserId, hold_id: Uuid, amount: Option<Credits>) -> Command {
    command(user, Action::Capture { hold_id, amount, usage_record_id: None })
}

fn refund(user: &UserId, transaction_id: Uuid, amount: Option<Credits>) -> Command {
    command(user, Action::Refund { transaction_id, amount, reason: "it broke".to_owned() })
}

fn by_service(command: Command) -> Command {
    Command { actor: kernel::Actor::Service, caller: CallerClass::Service, ..command }
}

pub fn repeat(outcome: &LedgerOutcome) -> LedgerOutcome {
    LedgerOutcome { replay: Replay::ByKey, ..outcome.clone() }
}

/// A database with the user "a", who has this many credits.
async fn opened(initial: &str) -> (TestDb, ManualClock, UserId, Writes) {
    let (db, clock) = (database().await, testkit::clock());
    signed_up(&db, &clock, "a", initial).await;
    let writes = writes(&db, &clock);
    (db, clock, testkit::user("a"), writes)
}

/// The refusals that HTTP contract 1.11 wants remembered, as far as the ledger makes them.
const REMEMBERED: [&str; 8] = [
    "ReferenceConflictException",
    "HoldNotOpenException",
    "RefundExceedsChargeException",
    "TransactionNotFoundException",
    "InsufficientCreditsException",
    "HoldNotFoundException",
    "BalanceLimitExceededException",
    "BudgetExceededException",
];

#[tokio::test]
async fn a_repeat_is_answered_with_everything_that_was_answered_first() {
    let (db, clock, user, writes) = opened("100").await;
    let noted = |command: Command| Command {
        description: Some("with notes".to_owned()),
        metadata: FreeForm::object(r#"{"b":1.50,"a":[1e2]}"#).unwrap(),
        ..command
    };
    let scheduled = NewGrant {
        effective_at: Some(clock.now() + Duration::hours(1)),
        expires_at: Some(clock.now() + Duration::hours(2)),
        reference_id: Some("gift".to_owned()),
        ..NewGrant::new(NewGrantKind::Promo, credits(7))
    };
    let (hold_id, held) = hold(&user, 20);
    let (other_id, other) = hold(&user, 5);
    let charge = noted(spend(&user, 3));
    let charge_id = credits::core::transaction_id(2, charge.nonce).unwrap();
    let commands = [
        charge,
        noted(recharge(&user, credits(10), Some("pi_1"))),
        recharge(&user, credits(10), Some("pi_1")), // a replay by reference
        recharge(&user, credits(11), Some("pi_1")), // a conflict
        noted(command(&user, Action::Grant(scheduled))),
        noted(held),
        other,
        capture(&user, hold_id, Some(credits(30))),
        command(&user, Action::Release { hold_id: other_id }),
        capture(&user, other_id, None), // not open
        refund(&user, charge_id, Some(credits(1))),
        refund(&user, charge_id, Some(credits(3))), // too much
        refund(&user, hold_id, None),               // no such charge
        spend(&user, 1_000),
        command(&user, Action::Release { hold_id: charge_id }), // no such hold
        recharge(&user, Credits::MAX, None),                    // over the limit
        command(&user, Action::ApplyDue),
        spend(&user, 9), // over a budget
    ];
    let mut first = Vec::new();
    for (number, command) in commands.iter().enumerate() {
        clock.advance(Duration::seconds(1));
        if number + 1 == commands.len() {
            let day = credits::NewBudget {
                period: credits::BudgetPeriod::Day,
                zone: "UTC".to_owned(),
                limit: credits(1),
            };
            let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
            credits::set_budgets(&mut tx, &user, &[day]).await.unwrap().unwrap();
            tx.commit().await.unwrap();
        }
        first.push(run_under(&writes, command.clone(), &format!("k{number}"), 1).await);
    }
    let refused =
        |outcome: &LedgerOutcome| outcome.result.as_ref().err().map(|refusal| refusal.failure().code());
    assert_eq!(first.iter().filter_map(refused).collect::<Vec<_>>(), REMEMBERED);
    let recharged = first[1].result.as_ref().unwrap();
    assert_eq!(recharged.grant.as_ref().unwrap().metadata.as_json(), r#"{"a": [100], "b": 1.50}"#);
    let held = first[5].result.as_ref().unwrap().hold.as_ref().unwrap();
    assert_eq!(held.metadata.as_json(), r#"{"a": [100], "b": 1.50}"#);

    // Hours later everything is different, and all of it is answered as it was.
    clock.advance(Duration::hours(30));
    run(&writes, consume(user.clone(), "0.5")).await.result.unwrap();
    let before = entries(&db).await;
    for (number, (command, first)) in commands.iter().zip(&first).enumerate() {
        let again = Command { nonce: Uuid::from_u128(77), ..command.clone() };
        let again = run_under(&writes, again, &format!("k{number}"), 1).await;
        assert_eq!(again, repeat(first), "{number}");
    }
    assert_eq!(entries(&db).await, before);
}

#[tokio::test]
async fn another_request_under_a_key_is_a_conflict() {
    let (db, clock, user, writes) = opened("10").await;
    let first = run_under(&writes, spend(&user, 1), "k", 1).await;
    clock.advance(Duration::seconds(5));
    let other = run_under(&writes, spend(&user, 2), "k", 2).await;
    let refusal = other.result.unwrap_err();
    let CommandRefusal::Key(conflict) = &refusal else { panic!("{refusal}") };
    assert_eq!((conflict.first_used_at, other.at), (first.at, clock.now()));
    assert_eq!((conflict.code(), conflict.kind()), ("IdempotencyConflictException", Kind::Invalid));
    assert_eq!(other.replay, Replay::First);
    // The key of one user says nothing about another.
    signed_up(&db, &clock, "b", "10").await;
    assert!(run_under(&writes, spend(&testkit::user("b"), 2), "k", 2).await.result.is_ok());
}

#[tokio::test]
async fn the_second_in_a_batch_sees_the_first() {
    let (db, _, user, writes) = opened("10").await;
    let before = entries(&db).await;
    // All wait before the lane, on the same thread, takes the first.
    let batch = [
        (spend(&user, 4), "k", 1),
        (spend(&user, 1), "own", 1),
        (spend(&user, 4), "k", 1),
        (spend(&user, 4), "k", 2),
        (spend(&user, 50), "too much", 1),
        (recharge(&user, credits(90), None), "more", 1),
        (spend(&user, 50), "too much", 1),
    ];
    let batch = batch.map(|(command, key, asks)| run_under(&writes, command, key, asks));
    let outcomes = join_all(batch).await;
    assert_eq!(outcomes[2], repeat(&outcomes[0]));
    assert!(matches!(outcomes[3].result, Err(CommandRefusal::Key(_))));
    // A refusal is remembered: by now it could be paid.
    let short =
        matches!(outcomes[4].result, Err(CommandRefusal::Ledger(Refusal::InsufficientCredits { .. })));
    assert!(short, "{:?}", outcomes[4]);
    assert_eq!(outcomes[6], repeat(&outcomes[4]));
    assert_eq!(entries(&db).await - before, 3);
}

#[tokio::test]
async fn what_did_not_depend_on_the_account_is_not_remembered() {
    let (db, clock, writes) = {
        let (db, clock) = (database().await, testkit::clock());
        let writes = writes(&db, &clock);
        (db, clock, writes)
    };
    let user = testkit::user("a");
    let unknown = run_under(&writes, spend(&user, 1), "k", 1).await.result;
    assert!(matches!(unknown, Err(CommandRefusal::Ledger(Refusal::UserNotFound { .. }))));
    signed_up(&db, &clock, "a", "10").await;
    let nothing = run_under(&writes, spend(&user, 0), "k", 1).await.result;
    assert!(matches!(nothing, Err(CommandRefusal::Ledger(Refusal::InvalidAmount { .. }))));
    let past = NewGrant { expires_at: Some(clock.now()), ..NewGrant::new(NewGrantKind::Promo, credits(1)) };
    let past = run_under(&writes, command(&user, Action::Grant(past)), "k", 1).await.result;
    assert_eq!(past, Err(CommandRefusal::Ledger(Refusal::InvalidPeriod(credits::PeriodFault::Expiry))));
    let first = run_under(&writes, spend(&user, 1), "k", 1).await;
    assert!(first.result.is_ok() && first.replay == Replay::First);
    // What no state could allow is refused as such, whatever its key was used for.
    let nothing = run_under(&writes, spend(&user, 0), "k", 1).await.result;
    assert!(matches!(nothing, Err(CommandRefusal::Ledger(Refusal::InvalidAmount { .. }))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_requests_at_once_have_one_effect_for_each_class() {
    let (db, clock, user, one) = opened("100").await;
    let two =
        Writes::start(db.second_pool(), std::sync::Arc::new(clock.clone()), credits::Defaults::default());
    let before = entries(&db).await;
    let tasks = (0..60_usize).map(|number| {
        let writes = if number % 2 == 0 { one.clone() } else { two.clone() };
        let own = spend(&user, 3);
        let (command, asks) = if number % 4 < 2 { (own, 1) } else { (by_service(spend(&user, 5)), 2) };
        tokio::spawn(async move { run_under(&writes, command, "k", asks).await })
    });
    let outcomes: Vec<LedgerOutcome> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let first: Vec<_> = outcomes.iter().filter(|one| one.replay == Replay::First).collect();
    assert_eq!(first.len(), 2);
    let is_repeat = |one: &LedgerOutcome| first.iter().any(|first| *one == repeat(first));
    assert_eq!(outcomes.iter().filter(|one| is_repeat(one)).count(), 58);
    assert_eq!(entries(&db).await - before, 2);
    assert_eq!(run(&one, spend(&user, 1)).await.result.unwrap().balance.posted, credits(100 - 3 - 5 - 1));
}

/// Requests that move no credit lock no account: only the unique keys serialize them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_records_at_once_are_one_without_a_lock() {
    let (db, clock, user, one) = opened("100").await;
    let two =
        Writes::start(db.second_pool(), std::sync::Arc::new(clock.clone()), credits::Defaults::default());
    // Somebody works on the account all the time.
    let mut other = pg::Tx::begin(db.pool()).await.unwrap();
    let theirs = std::collections::BTreeSet::from([user.clone()]);
    assert!(credits::blocked(&mut other, &theirs).await.unwrap().is_empty());
    let tasks = (0..60_usize).map(|number| {
        let writes = if number % 2 == 0 { one.clone() } else { two.clone() };
        let mut used = uncharged(usage::UsageInput::new(user.clone(), "ai_chat"));
        used.input.billing_metadata = Some(FreeForm::object(r#"{"b":1.50,"a":[1e2]}"#).unwrap());
        used.idempotency = Some(IdempotencyKey::new(format!("k{}", number / 20), [1; 32]).unwrap());
        tokio::spawn(async move { writes.usage(used, CallerCheck::Done).await.unwrap().unwrap() })
    });
    let outcomes: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    other.rollback().await;
    let firsts = outcomes.iter().filter(|one| one.replay == Replay::First);
    assert_eq!(firsts.count(), 3);
    for same in outcomes.chunks(20) {
        let shown = same[0].result.as_ref().unwrap();
        assert_eq!((shown.balance, shown.replay), (None, usage::Replay::First));
        assert!(same.iter().all(|one| (one.result.as_ref(), one.at) == (Ok(shown), same[0].at)));
    }
    let mut conn = db.pool().get().await.unwrap();
    let page = kernel::Page::first(500);
    let all = usage::list(&mut conn, &user, &usage::RecordFilter::default(), &page).await.unwrap();
    assert_eq!(all.items.len(), 3);
}

#[tokio::test]
async fn pruning_forgets_refusals_and_never_that_something_was_done() {
    let (db, clock, user, writes) = opened("100").await;
    let (hold_id, held) = hold(&user, 20);
    let (zero_id, zero) = hold(&user, 2);
    run(&writes, zero).await.result.unwrap();
    let uncollected = Action::ConsumeUncollected { amount: credits(500), usage_record_id: None };
    let commands = [
        spend(&user, 3),
        recharge(&user, credits(10), Some("pi_1")),
        held,
        capture(&user, hold_id, Some(credits(5))),
        capture(&user, zero_id, Some(Credits::ZERO)),
        command(&user, uncollected),
        spend(&user, 1_000),
    ];
    let mut first = Vec::new();
    for (number, command) in commands.iter().enumerate() {
        first.push(run_under(&writes, command.clone(), &format!("k{number}"), 1).await);
    }
    clock.advance(Duration::days(8));
    let pruned = pruning::run(db.pool(), &clock, Duration::WEEK).await.unwrap();
    assert_eq!((pruned.refusals, pruned.successes), (1, 6));

    let before = entries(&db).await;
    for (number, (command, first)) in commands.iter().zip(&first).enumerate().take(6) {
        let again = run_under(&writes, command.clone(), &format!("k{number}"), 1).await;
        assert_eq!((again.at, again.replay), (first.at, Replay::ByKey));
        let (again, first) = (again.result.unwrap(), first.result.as_ref().unwrap());
        assert_eq!((&again.entry, again.uncollected), (&first.entry, first.uncollected));
        let left = |applied: &Applied| (applied.balance.posted, applied.balance.held);
        if first.entry.is_some() {
            assert_eq!(left(&again), left(first));
        }
        assert_eq!(again.hold.is_some(), first.hold.is_some());
        assert_eq!(again.grant.is_some(), first.grant.is_some());
        assert!(!again.replayed);
    }
    let shown = run_under(&writes, commands[2].clone(), "k2", 1).await.result.unwrap().hold.unwrap();
    assert_eq!(shown.status, HoldStatus::Captured); // as it is now, not as it was
    assert_eq!(entries(&db).await, before);
    // The refusal is forgotten: the key is free.
    let again = run_under(&writes, commands[6].clone(), "k6", 1).await;
    assert_eq!(again.replay, Replay::First);
    let other = run_under(&writes, spend(&user, 9), "k0", 2).await;
    assert!(matches!(other.result, Err(CommandRefusal::Key(_))));
}

#[tokio::test]
async fn each_class_has_its_own_keys_in_and_across_batches() {
    let (db, clock, user, writes) = opened("100").await;
    let of_user = || spend(&user, 1);
    let of_service = || by_service(spend(&user, 2));
    let ask = |command: Command, key: &'static str| {
        let asks = if command.caller == CallerClass::User { 1 } else { 2 };
        run_under(&writes, command, key, asks)
    };
    // In one batch, in either order; in two.
    let batch = [
        ask(of_user(), "a"),
        ask(of_service(), "a"),
        ask(of_service(), "b"),
        ask(of_user(), "b"),
        ask(of_user(), "a"),
    ];
    let mut first = join_all(batch).await;
    let replays: Vec<Replay> = first.iter().map(|one| one.replay).collect();
    assert_eq!(replays, [Replay::First, Replay::First, Replay::First, Replay::First, Replay::ByKey]);
    first.pop();
    first.push(ask(of_service(), "c").await);
    first.push(ask(of_user(), "c").await);
    let requests = [
        (of_user(), "a"),
        (of_service(), "a"),
        (of_service(), "b"),
        (of_user(), "b"),
        (of_service(), "c"),
        (of_user(), "c"),
    ];
    clock.advance(Duration::HOUR);
    for ((command, key), first) in requests.iter().zip(&first) {
        assert_eq!(ask(command.clone(), key).await, repeat(first));
        let other = run_under(&writes, command.clone(), key, 9).await.result;
        assert!(matches!(other, Err(CommandRefusal::Key(_))));
    }
    // Pruned, they still stand for what was done.
    clock.advance(Duration::WEEK);
    let pruned = pruning::run(db.pool(), &clock, Duration::DAY).await.unwrap();
    assert_eq!((pruned.refusals, pruned.successes), (0, 6));
    for ((command, key), first) in requests.iter().zip(&first) {
        let again = ask(command.clone(), key).await;
        let entry = |outcome: &LedgerOutcome| outcome.result.clone().unwrap().entry;
        assert_eq!((again.replay, entry(&again)), (Replay::ByKey, entry(first)));
    }
}

/// The row as a version wrote it that knew no classes.
const FORGET_CLASSES: &str = "UPDATE idempotency.answers SET caller = NULL";

#[tokio::test]
async fn stored_keys_count_for_any_class_by_what_was_asked() {
    let (db, _, user, writes) = opened("100").await;
    let stored = run_under(&writes, spend(&user, 1), "k", 1).await;
    db.run(FORGET_CLASSES).await;
    let with_user = async || {
        let own = run_under(&writes, spend(&user, 1), "k", 1).await;
        [own, run_under(&writes, by_service(spend(&user, 1)), "k", 1).await]
    };
    assert_eq!(with_user().await, [repeat(&stored), repeat(&stored)]);
    // For another request the key is free, to each class once.
    for (other, asks) in [(spend(&user, 2), 2), (by_service(spend(&user, 3)), 3)] {
        let first = run_under(&writes, other.clone(), "k", asks).await;
        assert_eq!(first.replay, Replay::First);
        assert_eq!(run_under(&writes, other.clone(), "k", asks).await, repeat(&first));
        let refused = run_under(&writes, other, "k", 7).await.result;
        assert!(matches!(refused, Err(CommandRefusal::Key(_))));
    }
    assert_eq!(with_user().await, [repeat(&stored), repeat(&stored)]);
}

#[tokio::test]
async fn stored_keys_are_known_by_the_fingerprints_of_earlier_versions() {
    let (db, _, user, writes) = opened("100").await;
    let ask = async |key: IdempotencyKey| {
        writes.ledger(spend(&user, 1), Some(key), CallerCheck::Done).await.unwrap().unwrap()
    };
    // Such a version hashed what was sent; now an empty object is an absent one.
    let asked = || v1::Fingerprint::new().word("consume");
    let former = asked().json(&FreeForm::empty()).word("1").hashes().next().unwrap();
    let first = ask(IdempotencyKey::new("k", former).unwrap()).await;
    let now = IdempotencyKey::new("k", [9; 32]).unwrap().with_v1(asked().object(None).word("1"));
    // Only of rows that such a version stored.
    assert!(matches!(ask(now.clone()).await.result, Err(CommandRefusal::Key(_))));
    db.run(FORGET_CLASSES).await;
    assert_eq!(ask(now).await, repeat(&first));
}

#[tokio::test]
async fn the_maker_of_a_hold_of_an_earlier_version_is_that_of_its_entry() {
    let (db, _, user, writes) = opened("100").await;
    let holds = [(hold(&user, 5).1, "own"), (by_service(hold(&user, 5).1), "service")];
    let mut first = Vec::new();
    for (command, key) in &holds {
        first.push(run_under(&writes, command.clone(), key, 1).await);
    }
    db.run("UPDATE idempotency.answers SET answer = answer #- '{result,applied,hold,made_by}'").await;
    for ((command, key), first) in holds.iter().zip(&first) {
        assert_eq!(run_under(&writes, command.clone(), key, 1).await, repeat(first));
    }
}

#[tokio::test]
async fn an_answer_of_a_later_version_is_not_guessed_at() {
    let (db, _, user, writes) = opened("100").await;
    run_under(&writes, spend(&user, 1), "k", 1).await;
    db.run("UPDATE idempotency.answers SET answer = jsonb_set(answer, '{v}', '2')").await;
    let key = IdempotencyKey::new("k", [1; 32]).unwrap();
    let failed = writes.ledger(spend(&user, 1), Some(key), CallerCheck::Done).await;
    assert_eq!(failed.unwrap_err(), pg::Rejected::Failed);
    // Nothing was charged, and others are served.
    assert_eq!(run(&writes, spend(&user, 1)).await.result.unwrap().balance.posted, credits(98));
}

/// No account is locked, so the request waits for the key itself: as long as for an account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_whose_key_another_transaction_holds_is_given_up_undone() {
    let (db, clock, user, _) = opened("10").await;
    let key = || IdempotencyKey::new("k", [1; 32]).unwrap();
    let mut settings = pg::PoolSettings::new(db.url());
    settings.lock_timeout = std::time::Duration::from_millis(50);
    let pool = pg::Pool::new(&settings).unwrap();
    let writes = Writes::start(pool, std::sync::Arc::new(clock.clone()), credits::Defaults::default());
    let record = async |key: Option<IdempotencyKey>| {
        let mut used = uncharged(usage::UsageInput::new(user.clone(), "ai_chat"));
        used.idempotency = key;
        writes.usage(used, CallerCheck::Done).await
    };
    let other = pg::Tx::begin(db.pool()).await.unwrap();
    let first = key();
    let request = idempotency::KeyedRequest { user_id: &user, key: &first, caller: CallerClass::User };
    let mut keys = idempotency::look_up(other.shared(), [request]).await.unwrap();
    let link = idempotency::Link { transaction_id: Uuid::from_u128(1), usage_record_id: None };
    let json = r#"{"v":1}"#.to_owned();
    keys.add(request, 0, idempotency::NewAnswer { at: clock.now(), link: Some(link), json });
    keys.save(&other).await.unwrap();
    let (keyed, bare) = tokio::join!(record(Some(key())), record(None));
    assert_eq!(keyed.unwrap_err(), pg::Rejected::Blocked);
    assert!(bare.unwrap().unwrap().result.is_ok());
    other.rollback().await;
    let first = record(Some(key())).await.unwrap().unwrap();
    assert!(first.result.is_ok() && first.replay == Replay::First);
}

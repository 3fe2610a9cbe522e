//! Charges that one statement books: where it does, where it must not, and that nobody sees a difference.

use std::sync::Arc;

use credits::{
    Action, BudgetPeriod, Command, Defaults, NewBudget, NewGrant, NewGrantKind, ReferenceScope, Refusal,
};
use flows::{CallerCheck, CallerRejected, CommandRefusal, Writes};
use futures_util::future::join_all;
use idempotency::Replay;
use identity::{
    Activity,
    users::{self, UserChange},
};
use kernel::{Actor, Clock as _, Credits, ManualClock, RandomIds, UserId};
use pg::Tx;
use testkit::TestDb;
use time::Duration;
use webhooks::Receiver;

use crate::{
    EVERYTHING,
    operations::{DUE, consume, run, run_under, signed_up, writes},
    receive,
};

/// A database in which nobody wants events.
async fn quiet_database() -> TestDb {
    TestDb::create(flows::MIGRATIONS, flows::AUDITS).await
}

/// A process that knows by now that nobody wants events, and an account of 50 credits, 1 of them spent, for each name.
async fn warm(db: &TestDb, clock: &ManualClock, names: &[&str]) -> Writes {
    let writes = writes(db, clock);
    for name in names {
        signed_up(db, clock, name, "50").await;
        assert!(run(&writes, consume(testkit::user(name), "1")).await.result.is_ok());
    }
    writes
}

/// Keeps everyone from reading grants, as every charge does that takes the long way.
async fn lock_grants(db: &TestDb) -> Tx {
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let lock = "LOCK TABLE credits.grants IN ACCESS EXCLUSIVE MODE";
    diesel_async::SimpleAsyncConnection::batch_execute(tx.conn(), lock).await.unwrap();
    tx
}

fn by_service(user_id: &UserId, amount: &str) -> Command {
    Command {
        actor: Actor::Service,
        description: Some("a text".to_owned()),
        ..consume(user_id.clone(), amount)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_that_heads_cover_touch_no_grant_and_are_answered_as_ever() {
    let (db, clock) = (quiet_database().await, testkit::clock());
    let (a, b) = (testkit::user("a"), testkit::user("b"));
    let writes = warm(&db, &clock, &["a", "b"]).await;
    clock.advance(Duration::SECOND);
    let locked = lock_grants(&db).await;
    let noted = Command {
        metadata: kernel::FreeForm::stored(r#"{"b": 1, "a": [2]}"#.to_owned()),
        action: Action::Consume { amount: "2.5".parse().unwrap(), usage_record_id: Some(7) },
        ..consume(a.clone(), "1")
    };
    let mut submitted = vec![writes.ledger(noted, None, DUE)];
    for (user_id, amount) in [(&b, "1"), (&a, "3"), (&b, "0.000001"), (&a, "4")] {
        submitted.push(writes.ledger(by_service(user_id, amount), None, CallerCheck::Done));
    }
    let outcomes: Vec<_> = join_all(submitted).await.into_iter().map(|done| done.unwrap().unwrap()).collect();
    locked.rollback().await;
    let applied: Vec<_> = outcomes.iter().map(|outcome| outcome.result.as_ref().unwrap()).collect();
    let figures = |place: usize| {
        let entry = applied[place].entry.as_ref().unwrap();
        let balance = applied[place].balance;
        assert_eq!(balance.posted, entry.balance_after);
        (entry.seq, entry.balance_before.to_string(), entry.balance_after.to_string(), balance.held)
    };
    assert_eq!(figures(0), (3, "49.0".to_owned(), "46.5".to_owned(), Credits::ZERO));
    assert_eq!(figures(2), (4, "46.5".to_owned(), "43.5".to_owned(), Credits::ZERO));
    assert_eq!(figures(4), (5, "43.5".to_owned(), "39.5".to_owned(), Credits::ZERO));
    assert_eq!(figures(3).2, "47.999999");
    let first = applied[0].entry.as_ref().unwrap();
    assert_eq!(first.usage_record_id, Some(7));
    assert_eq!(first.metadata.as_json(), r#"{"a": [2], "b": 1}"#);
    assert_eq!((first.actor, first.created_at), (Actor::User, clock.now()));
    assert_eq!(outcomes[0].at, clock.now());
    assert_eq!(applied[0].balance.lifetime_granted.to_string(), "50.0");
    assert_eq!(applied[1].entry.as_ref().unwrap().description.as_deref(), Some("a text"));
    // As it is read afterwards, and as it is found by its name.
    let mut conn = db.pool().get().await.unwrap();
    let of_all = credits::TransactionFilter::default();
    let read = credits::transactions(&mut conn, &a, &of_all, &kernel::Page::first(10)).await.unwrap();
    assert_eq!(read.items.iter().find(|entry| entry.seq == 3), Some(first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_barred_are_refused_at_once_and_administrators_act_as_such() {
    let (db, clock) = (quiet_database().await, testkit::clock());
    let writes = warm(&db, &clock, &["a", "b", "admin"]).await;
    let spend = async |id: &str| {
        let done = writes.ledger(consume(testkit::user(id), "1"), None, DUE).await.unwrap();
        done.map(|outcome| outcome.result.unwrap().entry.unwrap().actor)
    };
    assert_eq!(spend("b").await, Ok(Actor::User));
    let (b, barred) = (testkit::user("b"), UserChange::activity(Activity::Deactivated));
    Tx::run(db.pool(), async |tx| {
        users::change(tx, &clock, &b, &barred).await?;
        users::apply_admins(tx, &clock, &[testkit::user("admin")]).await
    })
    .await
    .unwrap();
    let (a, b, nobody, admin) = futures_util::join!(spend("a"), spend("b"), spend("nobody"), spend("admin"));
    assert_eq!(a, Ok(Actor::User));
    assert_eq!(b, Err(CallerRejected::Disabled));
    assert_eq!(nobody, Err(CallerRejected::Unknown));
    assert_eq!(admin, Ok(Actor::Admin));
    // A service may still charge them.
    assert!(run(&writes, by_service(&testkit::user("b"), "1")).await.result.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charges_that_need_more_than_the_statement_take_the_long_way() {
    let (db, clock, a) = (quiet_database().await, testkit::clock(), testkit::user("a"));
    let writes = warm(&db, &clock, &["a"]).await;
    // A key: the second is the repeat of the first.
    let first = run_under(&writes, by_service(&a, "1"), "key", 1).await;
    let again = run_under(&writes, by_service(&a, "1"), "key", 1).await;
    assert_eq!(first.replay, Replay::First);
    assert_eq!((again.replay, &again.result.unwrap().entry), (Replay::ByKey, &first.result.unwrap().entry));
    assert_eq!(db.ask("SELECT posted / 1000000 FROM credits.accounts").await, 48);
    // A user who must exist, and has nothing but an account.
    let nobody = testkit::user("nobody");
    let open = Command { action: Action::Open { initial: "5".parse().unwrap() }, ..by_service(&nobody, "1") };
    assert!(run(&writes, open).await.result.is_ok());
    let rejected = writes.ledger(by_service(&nobody, "1"), None, CallerCheck::Exists).await.unwrap();
    assert_eq!(rejected.unwrap_err(), CallerRejected::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expiries_budgets_and_the_end_of_a_head_are_seen_at_their_instant() {
    let (db, clock, a) = (quiet_database().await, testkit::clock(), testkit::user("a"));
    let writes = warm(&db, &clock, &["a"]).await;
    let ends = clock.now() + Duration::minutes(1);
    let promo = NewGrant {
        kind: NewGrantKind::Promo,
        amount: "10".parse().unwrap(),
        priority: credits::PRIORITY_DEFAULT,
        effective_at: None,
        expires_at: Some(ends),
        reference_id: None,
        scope: ReferenceScope::User,
    };
    let grant = Command { action: Action::Grant(promo), ..by_service(&a, "1") };
    assert!(run(&writes, grant).await.result.is_ok());
    let spend = async |amount: &str| {
        let outcome = run(&writes, by_service(&a, amount)).await;
        outcome.result.map(|applied| applied.balance.posted.to_string())
    };
    assert_eq!(spend("4").await, Ok("55.0".to_owned()));
    clock.advance(ends - Duration::MICROSECOND - clock.now());
    assert_eq!(spend("4").await, Ok("51.0".to_owned()));
    // 2 of the grant are lost at its instant.
    clock.advance(ends - clock.now());
    assert_eq!(spend("1").await, Ok("48.0".to_owned()));
    // Exactly the rest of the head: the account is empty, and no head is left.
    assert_eq!(spend("47").await, Ok("1.0".to_owned()));
    assert_eq!(spend("1").await, Ok("0.0".to_owned()));
    assert!(matches!(spend("1").await, Err(CommandRefusal::Ledger(Refusal::InsufficientCredits { .. }))));
    assert!(
        run(
            &writes,
            Command {
                action: Action::Adjust {
                    amount: "20".parse().unwrap(),
                    adjustment: credits::Adjustment::Up,
                    reason: "a test".to_owned(),
                },
                ..by_service(&a, "1")
            }
        )
        .await
        .result
        .is_ok()
    );
    assert_eq!(spend("1").await, Ok("19.0".to_owned()));
    let budget =
        NewBudget { period: BudgetPeriod::Day, zone: "UTC".to_owned(), limit: "62".parse().unwrap() };
    Tx::run(db.pool(), async |tx| credits::replace_budgets(tx, &clock, &a, &[budget]).await)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(spend("2").await, Ok("17.0".to_owned()));
    assert!(matches!(spend("2").await, Err(CommandRefusal::Ledger(Refusal::BudgetExceeded { .. }))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_comes_gets_the_event_of_the_next_charge() {
    let (db, clock, a) = (quiet_database().await, testkit::clock(), testkit::user("a"));
    let writes = warm(&db, &clock, &["a"]).await;
    let events = async || db.ask("SELECT count(*) FROM webhooks.events").await;
    assert!(run(&writes, by_service(&a, "1")).await.result.is_ok());
    assert_eq!(events().await, 0);
    clock.advance(Duration::SECOND);
    receive(&db, &clock, Some(&EVERYTHING)).await;
    assert!(run(&writes, by_service(&a, "1")).await.result.is_ok());
    assert_eq!(events().await, 1);
    receive(&db, &clock, None).await;
    clock.advance(Duration::SECOND);
    for _ in 0..2 {
        assert!(run(&writes, by_service(&a, "1")).await.result.is_ok());
    }
    assert_eq!(events().await, 1);
}

/// The accounts are found, and so locked, in the order of the payers, each by its key; nothing is read whole.
#[tokio::test]
async fn the_statement_goes_from_payer_to_payer_by_keys() {
    let db = quiet_database().await;
    let mut conn = db.pool().get().await.unwrap();
    let [(_, text)] = flows::statements()[..] else { panic!("one statement") };
    let plan = testkit::plan(&mut conn, text).await.unwrap();
    let (accounts, _) = plan.split_once("CTE charges").unwrap();
    for part in ["Nested Loop", "Index Scan using accounts_pkey on accounts old", "users_pkey"] {
        assert!(accounts.contains(part), "no {part}:\n{plan}");
    }
    for part in ["Seq Scan", "Hash", "hashed SubPlan", "Merge", "Sort"] {
        assert!(!plan.contains(part), "{part}:\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_one_user_gets_the_events_of_their_charges() {
    let (db, clock, names) = (quiet_database().await, testkit::clock(), ["a", "b"]);
    let writes = warm(&db, &clock, &names).await;
    clock.advance(Duration::SECOND);
    let of_a = Receiver { only_user_id: Some(testkit::user("a")), event_types: None };
    receive(&db, &clock, Some(&of_a)).await;
    for name in ["b", "a", "b", "a"] {
        assert!(run(&writes, by_service(&testkit::user(name), "1")).await.result.is_ok());
    }
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.events WHERE user_id = 'a'").await, 2);
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.events").await, 2);
}

/// The statement reads the edition after the wait, and not as it was when the statement began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_that_waits_for_a_change_of_the_receivers_sees_it() {
    let (db, clock, a) = (quiet_database().await, testkit::clock(), testkit::user("a"));
    let writes = warm(&db, &clock, &["a"]).await;
    assert!(run(&writes, by_service(&a, "1")).await.result.is_ok());
    clock.advance(Duration::SECOND);
    let mut change = Tx::begin(db.pool()).await.unwrap();
    assert!(webhooks::configure(&mut change, &clock, "tests", Some(&EVERYTHING)).await.unwrap());
    let committed = async {
        db.wait_for_waiting(1).await;
        change.commit().await.unwrap();
    };
    let (charged, ()) = futures_util::join!(run(&writes, by_service(&a, "1")), committed);
    assert!(charged.result.is_ok());
    assert_eq!(db.ask("SELECT count(*) FROM webhooks.events").await, 1);
}

/// Two processes and everything else that changes the accounts: every credit is spent once. The audits look when the database is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_charge_the_same_accounts_and_every_credit_is_spent_once() {
    let (db, clock) = (quiet_database().await, testkit::clock());
    let names = ["a", "b", "c"];
    let one = warm(&db, &clock, &names).await;
    let other = Writes::start(db.second_pool(), Arc::new(clock.clone()), Defaults::default());
    assert!(run(&other, by_service(&testkit::user("a"), "0.5")).await.result.is_ok());
    let mut charges = Vec::new();
    for turn in 0..240 {
        let (writes, user) = (if turn % 2 == 0 { &one } else { &other }, testkit::user(names[turn % 3]));
        let command = match turn % 30 {
            29 => Command {
                action: Action::Hold {
                    hold_id: kernel::Ids::uuid(&RandomIds),
                    amount: "1".parse().unwrap(),
                    mode: credits::HoldMode::Exact,
                    ttl: Duration::minutes(1),
                },
                ..by_service(&user, "1")
            },
            _ => by_service(&user, "1"),
        };
        charges.push(async move {
            let is_charge = matches!(command.action, Action::Consume { .. });
            is_charge && run(writes, command).await.result.is_ok()
        });
    }
    let done = join_all(charges).await.into_iter().filter(|done| *done).count();
    let spent =
        db.ask("SELECT count(*) FROM credits.entries WHERE type = 'consume' AND amount = 1000000").await;
    assert_eq!(i64::try_from(done).unwrap() + 3, spent, "with the first one of each account");
    let left = "SELECT sum(posted - held) FROM credits.accounts";
    assert!(db.ask(left).await < 3_000_000, "an account has credit although charges were refused");
}

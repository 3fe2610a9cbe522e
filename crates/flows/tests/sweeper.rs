//! What is due is booked also where nobody asks, and damage stays where it is.

use std::sync::Arc;

use credits::Defaults;
use diesel_async::SimpleAsyncConnection as _;
use flows::sweeper::{Round, Sweeper};
use kernel::{Ids as _, ManualClock, RandomIds, UserId};
use testkit::TestDb;

use crate::{
    database,
    operations::{consume, run, signed_up, writes},
};

fn sweeper(db: &TestDb, clock: &ManualClock) -> Sweeper {
    Sweeper::new(db.pool().clone(), Arc::new(clock.clone()), Defaults::default())
}

fn round(booked: usize, failed: usize) -> Round {
    Round { booked, failed }
}

/// A hold of a minute.
fn hold(user: &UserId, amount: &str) -> credits::Command {
    credits::Command {
        action: credits::Action::Hold {
            hold_id: RandomIds.uuid(),
            amount: amount.parse().unwrap(),
            mode: credits::HoldMode::Exact,
            ttl: time::Duration::MINUTE,
        },
        ..consume(user.clone(), "1")
    }
}

/// Does to stored data what no rule of the service allows; the test is not audited then.
async fn damage(db: &mut TestDb, sql: &str) {
    db.forgo_audits();
    db.run(sql).await;
}

/// Users with a hold of 20 each, whose minute is over.
async fn with_ended_holds(db: &TestDb, clock: &ManualClock, names: &[&str]) {
    let writes = writes(db, clock);
    for name in names {
        signed_up(db, clock, name, "50").await;
        let held = run(&writes, hold(&testkit::user(name), "20")).await;
        assert!(held.result.is_ok());
    }
    clock.advance(time::Duration::minutes(2));
}

#[tokio::test]
async fn what_is_due_is_swept_with_its_events() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "50").await;
    let writes = writes(&db, &clock);
    assert!(run(&writes, hold(&user, "20")).await.result.is_ok());
    assert!(run(&writes, consume(user.clone(), "5")).await.result.is_ok());
    let mut sweeper = sweeper(&db, &clock);
    assert_eq!(sweeper.round().await.unwrap(), Round::default());
    clock.advance(time::Duration::minutes(2));
    assert_eq!(sweeper.round().await.unwrap(), round(1, 0));
    assert_eq!(sweeper.round().await.unwrap(), Round::default());
    let mut conn = db.pool().get().await.unwrap();
    let events = webhooks::newest(&mut conn, &user, 10).await.unwrap();
    let types: Vec<_> = events.iter().rev().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["user_created", "credit_granted", "credit_consumed", "hold_expired"]);
    assert!(events[1].payload.as_json().contains(r#""balance_after": 45.0"#), "{:?}", events[1]);
}

/// The newest event of each user.
async fn newest(db: &TestDb, names: &[&str]) -> Vec<String> {
    let mut conn = db.connect().await;
    let mut types = Vec::new();
    for name in names {
        let events = webhooks::newest(&mut conn, &testkit::user(name), 1).await.unwrap();
        types.push(events[0].event_type.clone());
    }
    types
}

#[tokio::test]
async fn a_damaged_account_is_set_aside_and_the_others_are_swept() {
    let (mut db, clock) = (database().await, testkit::clock());
    with_ended_holds(&db, &clock, &["a", "b", "c"]).await;
    let spoil = "UPDATE credits.accounts SET posted = posted - 1 WHERE user_id = 'b'";
    damage(&mut db, spoil).await;
    let mut sweeper = sweeper(&db, &clock);
    assert_eq!(sweeper.round().await.unwrap(), round(2, 1));
    let types = newest(&db, &["a", "b", "c"]).await;
    assert_eq!(types, ["hold_expired", "credit_granted", "hold_expired"]);
    // It is not even looked for, so that many like it cannot fill a page.
    assert_eq!(sweeper.round().await.unwrap(), Round::default());
    clock.advance(time::Duration::minutes(11));
    assert_eq!(sweeper.round().await.unwrap(), round(0, 1));
    let mend = "UPDATE credits.accounts SET posted = posted + 1 WHERE user_id = 'b'";
    damage(&mut db, mend).await;
    clock.advance(time::Duration::minutes(11));
    assert_eq!(sweeper.round().await.unwrap(), round(1, 0));
    assert_eq!(newest(&db, &["b"]).await, ["hold_expired"]);
}

#[tokio::test]
async fn a_page_of_damaged_accounts_hides_nobody_behind_it() {
    let (mut db, clock) = (database().await, testkit::clock());
    with_ended_holds(&db, &clock, &["a", "b"]).await;
    // Holds that ended long before, of accounts that cannot be booked: more than a round finds.
    let crowd = "UPDATE credits.accounts SET posted = posted - 1 WHERE user_id = 'b'; \
         INSERT INTO credits.accounts SELECT (jsonb_populate_record(a, jsonb_build_object('user_id', 'crowd' || n))).* \
         FROM credits.accounts a, generate_series(1, 300) AS n WHERE a.user_id = 'b'; \
         INSERT INTO credits.holds (user_id, id, requested, amount, entry_seq, expires_at, created_at) \
         SELECT 'crowd' || n, id, requested, amount, entry_seq, expires_at - interval '1 h', created_at - interval '1 h' \
         FROM credits.holds, generate_series(1, 300) AS n WHERE user_id = 'b'";
    damage(&mut db, crowd).await;
    let mut sweeper = sweeper(&db, &clock);
    assert_eq!(sweeper.round().await.unwrap(), round(0, 256));
    assert_eq!(sweeper.round().await.unwrap(), round(1, 45));
    assert_eq!(newest(&db, &["a"]).await, ["hold_expired"]);
    assert_eq!(sweeper.round().await.unwrap(), Round::default());
}

#[tokio::test]
async fn an_account_whose_figures_hide_what_is_due_is_set_aside_too() {
    let (mut db, clock) = (database().await, testkit::clock());
    with_ended_holds(&db, &clock, &["a"]).await;
    let hide = "UPDATE credits.accounts SET held = 0; UPDATE credits.grants SET held = 0";
    damage(&mut db, hide).await;
    let mut sweeper = sweeper(&db, &clock);
    assert_eq!(sweeper.round().await.unwrap(), Round::default(), "somebody else may have been faster");
    assert_eq!(sweeper.round().await.unwrap(), round(0, 1));
    assert_eq!(sweeper.round().await.unwrap(), Round::default());
}

#[tokio::test]
async fn a_server_that_only_reads_sets_nobody_aside() {
    let (db, clock) = (database().await, testkit::clock());
    with_ended_holds(&db, &clock, &["a"]).await;
    // Connected before the change, so that it can take it back.
    let mut admin = db.connect_as_superuser().await;
    let (_, name) = db.url().rsplit_once('/').unwrap();
    let only_reads = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    admin.batch_execute(&only_reads).await.unwrap();
    // All its connections begin after the change.
    let mut sweeper = Sweeper::new(db.pool_of(2), Arc::new(clock.clone()), Defaults::default());
    assert!(sweeper.round().await.is_err());
    let writes_again = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    admin.batch_execute(&writes_again).await.unwrap();
    assert_eq!(sweeper.round().await.unwrap(), round(1, 0));
    assert_eq!(newest(&db, &["a"]).await, ["hold_expired"]);
}

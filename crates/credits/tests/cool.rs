//! Heads of accounts written back: no figure changes, and concurrent changes are kept.

use credits::{Action, Command, NewGrant, NewGrantKind, cool};
use kernel::SystemClock;
use pg::Tx;
use testkit::{TestDb, ask_texts};
use tokio::sync::Notify;

use crate::support::{command, consume, credits, database, done, hold, open, recharge, run};

const HEADS: &str = "SELECT count(*) FROM credits.accounts WHERE head_grant_id IS NOT NULL";

/// Credit that each grant has left, as all readers see it.
async fn remaining(db: &TestDb) -> Vec<String> {
    let figures =
        "SELECT concat_ws(' ', user_id, id, remaining) FROM credits.current_grants ORDER BY user_id, id";
    ask_texts(&mut *db.connect().await, figures).await.unwrap()
}

/// This many accounts with a head that has been charged.
async fn charged(db: &TestDb, count: usize) {
    let users: Vec<_> = (0..count).map(|number| testkit::user(&format!("user-{number:03}"))).collect();
    let opened: Vec<Command> = users.iter().map(|user| open(user, credits(10))).collect();
    let spent: Vec<Command> = users.iter().map(|user| consume(user, credits(3))).collect();
    for commands in [opened, spent] {
        assert!(run(db.pool(), &SystemClock, &commands).await.iter().all(Result::is_ok));
    }
    assert_eq!(db.ask(HEADS).await, i64::try_from(count).unwrap());
}

#[tokio::test]
async fn all_heads_are_written_back_and_no_figure_changes() {
    let db = database().await;
    assert_eq!(cool(db.pool(), |_| ()).await.unwrap(), 0);
    // Ranges have 200 accounts.
    charged(&db, 401).await;
    let (holder, several) = (testkit::user("holder"), testkit::user("several"));
    let commands = [
        open(&holder, credits(10)),
        consume(&holder, credits(1)),
        hold(&holder, credits(2)).1,
        open(&several, credits(10)),
        recharge(&several, credits(5), None),
        consume(&several, credits(12)),
    ];
    run(db.pool(), &SystemClock, &commands).await;
    let before = remaining(&db).await;
    assert_eq!(db.ask(HEADS).await, 402, "held credit has no head");

    let mut told = Vec::new();
    assert_eq!(cool(db.pool(), |so_far| told.push(so_far)).await.unwrap(), 402);
    assert_eq!((told.len(), told.last()), (3, Some(&402)));
    assert_eq!(db.ask(HEADS).await, 0);
    assert_eq!(remaining(&db).await, before);
    let other = "SELECT count(*) FROM credits.current_grants c JOIN credits.grants g USING (user_id, id) \
         WHERE c.remaining <> g.stored_remaining";
    assert_eq!(db.ask(other).await, 0, "grants have their own figures");
    testkit::audit_now(&db);
    assert_eq!(cool(db.pool(), |_| ()).await.unwrap(), 0, "nothing is left");

    let spent = done(db.pool(), &SystemClock, consume(&several, credits(1))).await;
    assert_eq!(spent.balance.posted, credits(2));
    assert_eq!(db.ask(HEADS).await, 1, "a charge makes a head again");
    assert_eq!(cool(db.pool(), |_| ()).await.unwrap(), 1);
}

/// The lock and the grants are read by two statements. In one, the new head would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_becomes_the_head_while_the_account_is_locked_is_written() {
    let db = database().await;
    charged(&db, 1).await;
    let user = testkit::user("user-000");
    let mut first = Tx::begin(db.pool()).await.unwrap();
    let new = NewGrant { priority: 1, ..NewGrant::new(NewGrantKind::Promo, credits(5)) };
    let commands = [command(&user, Action::Grant(new)), consume(&user, credits(1))];
    let defaults = credits::Defaults::default();
    credits::execute(&mut first, &SystemClock, defaults, &commands).await.unwrap();
    let pool = db.pool().clone();
    let waiting = tokio::spawn(async move { cool(&pool, |_| ()).await });
    db.wait_for_waiting(1).await;
    first.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(remaining(&db).await, ["user-000 1 7000000", "user-000 2 4000000"]);
    assert_eq!(db.ask(HEADS).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_leaves_whole_ranges_and_the_next_one_goes_on() {
    let db = database().await;
    charged(&db, 250).await;
    let before = remaining(&db).await;
    let mut first = Tx::begin(db.pool()).await.unwrap();
    let defaults = credits::Defaults::default();
    let last = consume(&testkit::user("user-249"), credits(1));
    credits::execute(&mut first, &SystemClock, defaults, &[last]).await.unwrap();
    let range = Notify::new();
    tokio::select! {
        _ = cool(db.pool(), |_| range.notify_one()) => panic!("it did not wait for the account that is locked"),
        () = range.notified() => {}
    }
    first.rollback().await;
    assert_eq!(db.ask(HEADS).await, 50);
    assert_eq!(remaining(&db).await, before);
    assert_eq!(cool(db.pool(), |_| ()).await.unwrap(), 50);
    assert_eq!(remaining(&db).await, before);
}

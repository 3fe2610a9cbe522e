//! Many connections at once: nothing is spent twice, nothing is lost, nobody is locked out.

use std::sync::Arc;

use credits::{Action, Command, NewGrant, NewGrantKind, Refusal, balances, execute};
use futures_util::future::join_all;
use kernel::{Credits, SystemClock, UserId};
use pg::{Pool, Tx};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use crate::{
    generator::{self, op},
    support::{command, consume, credits, database, done, open, recharge, run},
};

/// Runs each command in a transaction of its own, all at the same time.
async fn all_at_once(pool: &Pool, commands: Vec<Command>) -> Vec<Result<credits::Applied, Refusal>> {
    let tasks = commands.into_iter().map(|command| {
        let pool = pool.clone();
        tokio::spawn(async move { run(&pool, &SystemClock, &[command]).await.remove(0) })
    });
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

async fn posted(pool: &Pool, user: &UserId) -> Credits {
    let mut conn = pool.get().await.unwrap();
    let found = balances(&mut conn, &SystemClock, std::slice::from_ref(user))
        .await
        .unwrap();
    found[0].unwrap().posted
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_consumes_end_at_the_exact_balance() {
    let (db, user) = (database().await, testkit::user("busy"));
    let pool = db.pool_of(20);
    done(&pool, &SystemClock, open(&user, credits(1000))).await;
    done(&pool, &SystemClock, recharge(&user, credits(500), None)).await;
    let outcomes = all_at_once(&pool, (0..200).map(|_| consume(&user, credits(7))).collect()).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(posted(&pool, &user).await, credits(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_consumes_succeed_as_often_as_they_can_be_paid() {
    let (db, user) = (database().await, testkit::user("poor"));
    let pool = db.pool_of(20);
    done(&pool, &SystemClock, open(&user, credits(40))).await;
    let outcomes = all_at_once(&pool, (0..60).map(|_| consume(&user, credits(3))).collect()).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 13);
    let short = |outcome: &&Result<_, Refusal>| matches!(outcome, Err(Refusal::InsufficientCredits { .. }));
    assert_eq!(outcomes.iter().filter(short).count(), 47);
    assert_eq!(posted(&pool, &user).await, credits(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_recharges_of_one_payment_credit_once() {
    let (db, user) = (database().await, testkit::user("payer"));
    let pool = db.pool_of(20);
    done(&pool, &SystemClock, open(&user, Credits::ZERO)).await;
    let outcomes = all_at_once(
        &pool,
        (0..30)
            .map(|_| recharge(&user, credits(5), Some("pi_1")))
            .collect(),
    )
    .await;
    let applied: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(applied.iter().filter(|applied| !applied.replayed).count(), 1);
    assert!(
        applied
            .iter()
            .all(|one| one.entry == applied[0].entry && one.entry.is_some())
    );
    assert_eq!(posted(&pool, &user).await, credits(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_openings_make_one_account_with_one_grant() {
    let (db, user) = (database().await, testkit::user("new"));
    let pool = db.pool_of(20);
    let outcomes = all_at_once(&pool, (0..30).map(|_| open(&user, credits(1000))).collect()).await;
    let applied: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(applied.iter().filter(|applied| !applied.replayed).count(), 1);
    assert!(
        applied
            .iter()
            .all(|one| one.entry == applied[0].entry && one.balance.posted == credits(1000))
    );
}

/// The lock and the grants are read by two statements. In one, the waiting batch would see the new balance with old grants.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_waited_sees_the_grants_of_the_one_before() {
    let (db, user) = (database().await, testkit::user("waiting"));
    done(db.pool(), &SystemClock, open(&user, credits(10))).await;
    let mut first = Tx::begin(db.pool()).await.unwrap();
    let outcomes = execute(&mut first, &SystemClock, &[recharge(&user, credits(90), None)])
        .await
        .unwrap();
    let before = outcomes[0].as_ref().unwrap().entry.as_ref().unwrap().created_at;

    let (pool, spending) = (db.pool().clone(), consume(&user, credits(100)));
    let waiting = tokio::spawn(async move { run(&pool, &SystemClock, &[spending]).await.remove(0) });
    wait_until_one_waits(&db).await;
    first.commit().await.unwrap();
    let spent = waiting.await.unwrap().unwrap();
    assert_eq!(spent.balance.posted, Credits::ZERO);
    assert!(spent.entry.unwrap().created_at > before);
}

/// L16 and, by the audits that end the test, the rest: random batches over shared accounts from two pools.
#[tokio::test(flavor = "multi_thread")]
async fn random_batches_of_two_processes_neither_deadlock_nor_unbalance() {
    let db = database().await;
    let users: Arc<Vec<UserId>> = Arc::new(
        (0..6)
            .map(|number| testkit::user(&format!("user-{number}")))
            .collect(),
    );
    let (one, two) = (db.pool_of(4), db.pool_of(4));
    let mut runner = TestRunner::deterministic();
    let mut tasks = Vec::new();
    for task in 0..8_usize {
        let pool = if task % 2 == 0 { one.clone() } else { two.clone() };
        let batches: Vec<Vec<(usize, generator::Op)>> = (0..12)
            .map(|_| {
                let batch = proptest::collection::vec((0..users.len(), op()), 1..12);
                batch.new_tree(&mut runner).unwrap().current()
            })
            .collect();
        let users = Arc::clone(&users);
        tasks.push(tokio::spawn(async move {
            for (number, batch) in batches.iter().enumerate() {
                let now = testkit::instant();
                let name = |place: usize| task * 10_000 + number * 100 + place;
                let commands: Vec<Command> = batch
                    .iter()
                    .enumerate()
                    .map(|(place, (user, op))| generator::command(&users[*user], name(place), now, op))
                    .collect();
                run(&pool, &testkit::clock(), &commands).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut conn = db.connect().await;
    let found = balances(&mut conn, &testkit::clock(), &users).await.unwrap();
    assert!(
        found.iter().filter(|balance| balance.is_some()).count() > 3,
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_given_in_parallel_are_numbered_without_a_gap() {
    let (db, user) = (database().await, testkit::user("gifted"));
    let pool = db.pool_of(10);
    done(&pool, &SystemClock, open(&user, Credits::ZERO)).await;
    let gift = || {
        command(
            &user,
            Action::Grant(NewGrant::new(NewGrantKind::Promo, credits(1))),
        )
    };
    let outcomes = all_at_once(&pool, (0..40).map(|_| gift()).collect()).await;
    let mut seqs: Vec<i64> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().unwrap().entry.as_ref().unwrap().seq)
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

/// Waits, with a deadline, until a statement of this database waits for a lock.
async fn wait_until_one_waits(db: &testkit::TestDb) {
    use diesel_async::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Waiting {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        waiting: i64,
    }
    let mut conn = db.connect().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let found: Waiting = pg::sql(
            "SELECT count(*) AS waiting FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .get_result(&mut conn)
        .await
        .unwrap();
        if found.waiting > 0 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "nobody waits");
        tokio::task::yield_now().await;
    }
}

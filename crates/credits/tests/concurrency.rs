//! Many connections at once: nothing is spent twice, nothing is lost, nobody is locked out.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use credits::{
    Action, Command, NewGrant, NewGrantKind, Refusal, balances,
    core::{AccountState, apply, place},
    execute,
};
use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use kernel::{Clock, Credits, ManualClock, SystemClock, UserId};
use pg::{Pool, Tx};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    generator::{self, Names, Op, op},
    support::{command, consume, credits, database, done, open, recharge, run, transaction_id},
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
    let conn = pool.get().await.unwrap();
    let found = balances(&conn, &SystemClock, std::slice::from_ref(user)).await.unwrap();
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
    let outcomes =
        all_at_once(&pool, (0..30).map(|_| recharge(&user, credits(5), Some("pi_1"))).collect()).await;
    let applied: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(applied.iter().filter(|applied| !applied.replayed).count(), 1);
    assert!(applied.iter().all(|one| one.entry == applied[0].entry && one.entry.is_some()));
    assert_eq!(posted(&pool, &user).await, credits(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_openings_make_one_account_with_one_grant() {
    let (db, user) = (database().await, testkit::user("new"));
    let pool = db.pool_of(20);
    let outcomes = all_at_once(&pool, (0..30).map(|_| open(&user, credits(1000))).collect()).await;
    let applied: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(applied.iter().filter(|applied| !applied.replayed).count(), 1);
    assert!(applied.iter().all(|one| one.entry == applied[0].entry && one.balance.posted == credits(1000)));
}

/// The lock and the grants are read by two statements. In one, the waiting batch would see the new balance with old grants.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_waited_sees_the_grants_of_the_one_before() {
    let (db, user) = (database().await, testkit::user("waiting"));
    done(db.pool(), &SystemClock, open(&user, credits(10))).await;
    let mut first = Tx::begin(db.pool()).await.unwrap();
    let outcomes = execute(
        &mut first,
        &SystemClock,
        credits::Defaults::default(),
        &[recharge(&user, credits(90), None)],
    )
    .await
    .unwrap();
    let before = outcomes.outcomes[0].result.as_ref().unwrap().entry.as_ref().unwrap().created_at;

    let (pool, spending) = (db.pool().clone(), consume(&user, credits(100)));
    let waiting = tokio::spawn(async move { run(&pool, &SystemClock, &[spending]).await.remove(0) });
    db.wait_for_waiting(1).await;
    first.commit().await.unwrap();
    let spent = waiting.await.unwrap().unwrap();
    assert_eq!(spent.balance.posted, Credits::ZERO);
    assert!(spent.entry.unwrap().created_at > before);
}

/// L1-L6, L10, L11, L16 and L18, and that the history of each account is one that could have happened in this order.
///
/// Random batches over shared accounts from two pools, which resolve the holds and refund the charges of each other, while
/// time moves on and a sweeper sweeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_batches_of_two_processes_make_a_history_of_one() {
    let (db, clock) = (database().await, testkit::clock());
    let users: Vec<UserId> = (0..4).map(|number| testkit::user(&format!("user-{number}"))).collect();
    let openings: Vec<Command> = users.iter().map(|user| open(user, Credits::from_micro(200))).collect();
    run(db.pool(), &clock, &openings).await;
    let shared = Arc::new(Shared {
        clock: clock.clone(),
        names: Mutex::new(vec![Names::default(); users.len()]),
        users,
        done: Mutex::new(openings),
    });
    let (one, two) = (db.pool_of(4), db.pool_of(4));
    let mut runner = TestRunner::deterministic();
    let mut tasks = Vec::new();
    for task in 1..9_usize {
        let pool = if task % 2 == 0 { one.clone() } else { two.clone() };
        let mut some = || {
            let item = (0..4_usize, op());
            let batch = proptest::collection::vec(item, 1..12);
            batch.new_tree(&mut runner).unwrap().current()
        };
        let batches: Vec<_> = (0..14).map(|_| some()).collect();
        tasks.push(tokio::spawn(work(Arc::clone(&shared), pool, task * 10_000, batches)));
    }
    tasks.push(tokio::spawn(housekeeping(Arc::clone(&shared), one.clone())));
    for task in tasks {
        task.await.unwrap();
    }
    let done = shared.done.lock().unwrap().clone();
    for user in &shared.users {
        let stored = journal_of(&db, user).await;
        assert_eq!(retold(user, &done, &stored), stored);
        assert!(stored.len() > 40, "{}", stored.len());
    }
}

/// What all tasks know.
struct Shared {
    clock: ManualClock,
    users: Vec<UserId>,
    names: Mutex<Vec<Names>>,
    /// Commands that were sent.
    done: Mutex<Vec<Command>>,
}

async fn work(shared: Arc<Shared>, pool: Pool, first: usize, batches: Vec<Vec<(usize, Op)>>) {
    for (number, batch) in batches.iter().enumerate() {
        shared.clock.advance(Duration::seconds(1));
        let now = shared.clock.now();
        let commands: Vec<Command> = {
            let mut names = shared.names.lock().unwrap();
            let items = batch.iter().enumerate();
            let command = |(place, (user, op)): (usize, &(usize, Op))| {
                let name = first + number * 100 + place;
                let op = told_by_entries(op);
                let command = generator::command(&shared.users[*user], &names[*user], name, now, &op);
                names[*user].note(name, &op);
                command
            };
            items.map(command).collect()
        };
        shared.done.lock().unwrap().extend(commands.iter().cloned());
        let results = run(&pool, &shared.clock, &commands).await;
        let mut names = shared.names.lock().unwrap();
        for (place, ((user, _), result)) in batch.iter().zip(results).enumerate() {
            if let Some(entry) = result.ok().and_then(|applied| applied.entry) {
                names[*user].note_transaction(first + number * 100 + place, entry.transaction_id);
            }
        }
    }
}

/// What leaves no entry of its own cannot be placed in the history afterwards, so it is left out.
fn told_by_entries(op: &Op) -> Op {
    match op.clone() {
        Op::Give { kind, amount, priority, ends, reference, .. } => {
            Op::Give { kind, amount, priority, begins: None, ends, reference }
        }
        Op::Capture { back, amount, by_user } => {
            Op::Capture { by_user, back, amount: amount.filter(|amount| *amount != 0) }
        }
        op => op,
    }
}

async fn housekeeping(shared: Arc<Shared>, pool: Pool) {
    for _ in 0..30 {
        let mut tx = Tx::begin(&pool).await.unwrap();
        credits::sweep(&mut tx, &shared.clock, credits::Defaults::default(), 2).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[derive(Debug, PartialEq, Eq, QueryableByName)]
struct EntryFacts {
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = SqlUuid)]
    transaction_id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = BigInt)]
    balance_after: i64,
    #[diesel(sql_type = BigInt)]
    held_after: i64,
    #[diesel(sql_type = Timestamptz)]
    created_at: OffsetDateTime,
    /// Grants with their changes, in the order of their ids.
    #[diesel(sql_type = Text)]
    lines: String,
}

async fn journal_of(db: &testkit::TestDb, user: &UserId) -> Vec<EntryFacts> {
    let mut conn = db.connect().await;
    pg::sql(
        "SELECT e.seq, e.transaction_id, e.type AS kind, e.amount, e.balance_after, e.held_after, e.created_at, \
         string_agg(format('%s:%s:%s', l.grant_id, l.delta, l.held_delta), ' ' ORDER BY l.grant_id) AS lines \
         FROM credits.entries e JOIN credits.entry_grants l ON l.user_id = e.user_id AND l.seq = e.seq \
         WHERE e.user_id = $1 GROUP BY e.user_id, e.seq ORDER BY e.seq",
    )
    .bind::<Text, _>(user.as_str())
    .load(&mut conn)
    .await
    .unwrap()
}

/// The journal that the core makes of the commands which took effect, in the order of their entries.
fn retold(user: &UserId, done: &[Command], stored: &[EntryFacts]) -> Vec<EntryFacts> {
    let mut state = AccountState::fresh(user.clone(), testkit::instant());
    let mut seen = BTreeSet::new();
    for told in stored {
        let id = told.transaction_id;
        let names = |command: &Command| place(id).map(|place| transaction_id(place, command) == id);
        let of = |command: &&Command| command.user_id == *user && names(command) == Some(true);
        if let Some(command) = done.iter().find(of)
            && seen.insert(told.transaction_id)
        {
            apply(&mut state, command, told.created_at).unwrap();
        }
    }
    // What came with time behind the last command.
    let last = stored.last().map_or(testkit::instant(), |told| told.created_at);
    apply(&mut state, &command(user, Action::ApplyDue), last).unwrap();
    let tell = |entry: &credits::core::JournalEntry| {
        let mut lines = entry.lines.clone();
        lines.sort_by_key(|line| line.grant_id);
        let line = |line: &credits::core::Line| {
            format!("{}:{}:{}", line.grant_id, line.delta.micro(), line.held_delta.micro())
        };
        EntryFacts {
            seq: entry.seq,
            transaction_id: entry.transaction_id,
            kind: entry.kind.to_string(),
            amount: entry.amount.micro(),
            balance_after: entry.balance_after.micro(),
            held_after: entry.held_after.micro(),
            created_at: entry.created_at,
            lines: lines.iter().map(line).collect::<Vec<_>>().join(" "),
        }
    };
    state.journal().iter().map(tell).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_given_in_parallel_are_numbered_without_a_gap() {
    let (db, user) = (database().await, testkit::user("gifted"));
    let pool = db.pool_of(10);
    done(&pool, &SystemClock, open(&user, Credits::ZERO)).await;
    let gift = || command(&user, Action::Grant(NewGrant::new(NewGrantKind::Promo, credits(1))));
    let outcomes = all_at_once(&pool, (0..40).map(|_| gift()).collect()).await;
    let mut seqs: Vec<i64> =
        outcomes.iter().map(|outcome| outcome.as_ref().unwrap().entry.as_ref().unwrap().seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

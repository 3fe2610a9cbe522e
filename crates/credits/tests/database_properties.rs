//! Random batches on PostgreSQL: the same as one by one, and the same as in memory.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use credits::{
    Applied, Command, Refusal,
    core::{AccountState, Standing, Written, apply},
};
use diesel::{QueryableByName, sql_types::Text};
use diesel_async::RunQueryDsl;
use kernel::{Actor, Clock, Failure, ManualClock, UserId};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use testkit::TestDb;
use time::Duration;

use crate::{
    generator::{self, Op, op},
    support::{database, run},
};

/// Batches with the seconds that pass before each.
type Batches = Vec<(i64, Vec<(usize, Op)>)>;

const USERS: usize = 3;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

fn batches() -> impl Strategy<Value = Batches> {
    prop::collection::vec((0..40_i64, prop::collection::vec((0..USERS, op()), 1..10)), 1..7)
}

#[test]
fn batches_are_the_same_as_single_commands_and_as_the_core() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let db = runtime.block_on(database());
    let cases = AtomicUsize::new(0);
    TestRunner::new(Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    })
    .run(&batches(), |batches| {
        let case = cases.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(compare(&db, case, &batches));
        Ok(())
    })
    .unwrap();
}

async fn compare(db: &TestDb, case: usize, batches: &Batches) {
    let clock = testkit::clock();
    let users = |how: &str| -> Vec<UserId> {
        (0..USERS)
            .map(|number| testkit::user(&format!("case-{case}-{how}-{number}")))
            .collect()
    };
    let (batched, single) = (users("batched"), users("single"));
    let mut memory: BTreeMap<UserId, AccountState> = BTreeMap::new();
    let mut number = 0;
    for (wait, batch) in batches {
        clock.advance(Duration::seconds(*wait));
        let commands = |users: &[UserId]| -> Vec<Command> {
            let command = |(place, (user, op)): (usize, &(usize, Op))| {
                generator::command(&users[*user], number + place, clock.now(), op)
            };
            batch.iter().enumerate().map(command).collect()
        };
        let mut one_by_one = Vec::new();
        for command in commands(&single) {
            one_by_one.extend(run(db.pool(), &clock, &[command]).await);
        }
        let together = run(db.pool(), &clock, &commands(&batched)).await;
        let in_memory: Vec<String> = commands(&batched)
            .iter()
            .map(|command| in_memory(&mut memory, &clock, command))
            .collect();
        assert_eq!(words(&together), words(&one_by_one));
        assert_eq!(words(&together), in_memory);
        number += batch.len();
    }
    assert_eq!(stored(db, &batched).await, stored(db, &single).await);
    for user in &batched {
        check_balance(db, &clock, user, memory.get(user)).await;
    }
}

/// The outcomes without what must differ between users: ids, and the transaction ids of due items.
fn words(outcomes: &[Result<Applied, Refusal>]) -> Vec<String> {
    let word = |outcome: &Result<Applied, Refusal>| match outcome {
        Ok(applied) => {
            let entry = applied.entry.as_ref().map(|entry| {
                let by_command = (entry.actor != Actor::System).then_some(entry.transaction_id);
                let (before, after) = (entry.balance_before, entry.balance_after);
                (
                    entry.seq,
                    entry.kind,
                    entry.amount,
                    before,
                    after,
                    entry.created_at,
                    by_command,
                )
            });
            format!("{entry:?} {:?} {}", applied.balance, applied.replayed)
        }
        Err(refusal) => refusal.code().to_owned(),
    };
    outcomes.iter().map(word).collect()
}

fn in_memory(memory: &mut BTreeMap<UserId, AccountState>, clock: &ManualClock, command: &Command) -> String {
    let now = clock.now();
    let known = memory
        .get(&command.user_id)
        .is_some_and(|state| state.standing == Standing::Open);
    let state = memory
        .entry(command.user_id.clone())
        .or_insert_with(|| AccountState::fresh(command.user_id.clone(), now));
    if !known {
        *state = AccountState::fresh(command.user_id.clone(), now);
    }
    match apply(state, command, now) {
        Ok(effect) => {
            let entry = match effect.entry {
                Written::Nothing => None,
                Written::Before(_) => panic!("nothing was stored before"),
                Written::Now(seq) => {
                    let entry = state.journal().iter().find(|entry| entry.seq == seq).unwrap();
                    let by_command = (entry.actor != Actor::System).then_some(entry.transaction_id);
                    let (before, after) = (entry.balance_before, entry.balance_after);
                    Some((
                        entry.seq,
                        entry.kind,
                        entry.amount,
                        before,
                        after,
                        entry.created_at,
                        by_command,
                    ))
                }
            };
            format!("{entry:?} {:?} {}", effect.balance, effect.replayed)
        }
        Err(credits::core::Stop::Refused(refusal)) => refusal.code().to_owned(),
        Err(credits::core::Stop::Broken(fault)) => panic!("{fault}"),
    }
}

/// Everything that is stored about the users, but for what must differ.
async fn stored(db: &TestDb, users: &[UserId]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for user in users {
        let mut conn = db.pool().get().await.unwrap();
        let lines: Vec<Line> = pg::sql(
            "SELECT line FROM ( \
             SELECT 1 AS part, 0 AS a, 0 AS b, (to_jsonb(t) - 'user_id')::text AS line FROM credits.accounts t WHERE user_id = $1 \
             UNION ALL SELECT 2, id, 0, (to_jsonb(t) - 'user_id')::text FROM credits.grants t WHERE user_id = $1 \
             UNION ALL SELECT 3, seq, 0, (to_jsonb(t) - 'user_id' - 'id' - CASE actor WHEN 'system' THEN 'transaction_id' \
               ELSE '' END)::text FROM credits.entries t WHERE user_id = $1 \
             UNION ALL SELECT 4, seq, grant_id, (to_jsonb(t) - 'user_id')::text FROM credits.entry_grants t WHERE user_id = $1 \
             ) AS lines ORDER BY part, a, b",
        )
        .bind::<Text, _>(user.as_str())
        .load(&mut conn)
        .await
        .unwrap();
        all.push(lines.into_iter().map(|line| line.line).collect());
    }
    all
}

/// A read shows now and later what the core would make of it, and writes nothing.
async fn check_balance(db: &TestDb, clock: &ManualClock, user: &UserId, state: Option<&AccountState>) {
    let mut conn = db.pool().get().await.unwrap();
    let later = ManualClock::at(clock.now());
    for _ in 0..3 {
        let found = credits::balances(&mut conn, &later, std::slice::from_ref(user))
            .await
            .unwrap();
        let expected = state
            .filter(|state| state.standing == Standing::Open)
            .map(|state| credits::core::view(state, later.now().max(state.account.as_of)).unwrap());
        assert_eq!(found, [expected]);
        later.advance(Duration::seconds(30));
    }
}

//! One effect a key: repeats, conflicts, what is remembered, and what is left after pruning.

use credits::{
    Action, Applied, Command, HoldMode, HoldStatus, NewGrant, NewGrantKind, Outcome, PeriodFault, Refusal,
    Replay, prune_idempotency,
};
use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join_all;
use kernel::{Clock, Credits, Failure, FreeForm, Kind, SystemClock};
use testkit::TestDb;
use time::Duration;

use crate::support::{
    answers, capture, command, consume, credits, database, done, execute, hold, open, recharge, refund,
    release, under,
};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn entries(db: &TestDb) -> i64 {
    let mut conn = db.connect().await;
    let found: Count = pg::sql("SELECT count(*) AS count FROM credits.entries")
        .get_result(&mut conn)
        .await
        .unwrap();
    found.count
}

async fn answer(db: &TestDb, clock: &dyn Clock, command: &Command) -> Outcome {
    answers(db.pool(), clock, std::slice::from_ref(command))
        .await
        .remove(0)
}

fn repeat(outcome: &Outcome) -> Outcome {
    Outcome {
        replay: Replay::ByKey,
        ..outcome.clone()
    }
}

/// The refusals that HTTP contract 1.11 wants remembered, as far as the ledger makes them.
const REMEMBERED: [&str; 7] = [
    "ReferenceConflictException",
    "HoldNotOpenException",
    "RefundExceedsChargeException",
    "TransactionNotFoundException",
    "InsufficientCreditsException",
    "HoldNotFoundException",
    "BalanceLimitExceededException",
];

fn refusals(outcomes: &[Outcome]) -> Vec<&'static str> {
    let refused = |outcome: &Outcome| outcome.result.as_ref().err().map(Failure::code);
    outcomes.iter().filter_map(refused).collect()
}

#[tokio::test]
async fn a_repeat_is_answered_with_everything_that_was_answered_first() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
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
    let (hold_id, held) = hold(&user, credits(20));
    let (other_id, other) = hold(&user, credits(5));
    let charge = noted(consume(&user, credits(3)));
    let commands = [
        charge.clone(),
        noted(recharge(&user, credits(10), Some("pi_1"))),
        recharge(&user, credits(10), Some("pi_1")), // a replay by reference
        recharge(&user, credits(11), Some("pi_1")), // a conflict
        noted(command(&user, Action::Grant(scheduled))),
        noted(held),
        other,
        capture(&user, hold_id, Some(credits(30))),
        release(&user, other_id),
        capture(&user, other_id, None), // not open
        refund(&user, charge.transaction_id, Some(credits(1))),
        refund(&user, charge.transaction_id, Some(credits(3))), // too much
        refund(&user, hold_id, None),                           // no such charge
        consume(&user, credits(1_000)),
        release(&user, charge.transaction_id), // no such hold
        recharge(&user, Credits::MAX, None),   // over the limit
        command(&user, Action::ApplyDue),
    ];
    let mut first = Vec::new();
    for (number, command) in commands.iter().enumerate() {
        clock.advance(Duration::seconds(1));
        first.push(answer(&db, &clock, &under(command.clone(), &format!("k{number}"), 1)).await);
    }
    assert_eq!(refusals(&first), REMEMBERED);
    let recharged = first[1].result.as_ref().unwrap();
    assert_eq!(
        recharged.grant.as_ref().unwrap().metadata.as_json(),
        r#"{"a": [100], "b": 1.50}"#
    );
    let held = first[5].result.as_ref().unwrap().hold.as_ref().unwrap();
    assert_eq!(held.metadata.as_json(), r#"{"a": [100], "b": 1.50}"#);

    // Hours later everything is different, and all of it is answered as it was.
    clock.advance(Duration::hours(5));
    done(db.pool(), &clock, consume(&user, credits(1))).await;
    let before = entries(&db).await;
    for (number, (command, first)) in commands.iter().zip(&first).enumerate() {
        let again = Command {
            transaction_id: uuid::Uuid::from_u128(77),
            ..under(command.clone(), &format!("k{number}"), 1)
        };
        assert_eq!(answer(&db, &clock, &again).await, repeat(first), "{number}");
    }
    assert_eq!(entries(&db).await, before);
}

#[tokio::test]
async fn another_request_under_a_key_is_a_conflict() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(10))).await;
    let first = answer(&db, &clock, &under(consume(&user, credits(1)), "k", 1)).await;
    clock.advance(Duration::seconds(5));
    let other = answer(&db, &clock, &under(consume(&user, credits(2)), "k", 2)).await;
    let refusal = other.result.unwrap_err();
    let first_used_at = first.at;
    assert_eq!(refusal, Refusal::IdempotencyConflict { first_used_at });
    assert_eq!(
        (refusal.code(), refusal.kind()),
        ("IdempotencyConflictException", Kind::Invalid)
    );
    assert_eq!(other.replay, Replay::First);
    // The key of one user says nothing about another.
    let other = testkit::user("other");
    done(db.pool(), &clock, open(&other, credits(10))).await;
    assert!(
        answer(&db, &clock, &under(consume(&other, credits(2)), "k", 2))
            .await
            .result
            .is_ok()
    );
}

#[tokio::test]
async fn the_second_in_a_batch_sees_the_first() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(10))).await;
    let batch = [
        under(consume(&user, credits(4)), "k", 1),
        consume(&user, credits(1)),
        under(consume(&user, credits(4)), "k", 1),
        under(consume(&user, credits(4)), "k", 2),
        under(consume(&user, credits(50)), "too much", 1),
        recharge(&user, credits(90), None),
        under(consume(&user, credits(50)), "too much", 1),
    ];
    let executed = execute(db.pool(), &clock, &batch).await;
    let outcomes = &executed.outcomes;
    assert_eq!(outcomes[2], repeat(&outcomes[0]));
    assert!(matches!(
        outcomes[3].result,
        Err(Refusal::IdempotencyConflict { .. })
    ));
    // A refusal is remembered: by now it could be paid.
    assert!(matches!(
        outcomes[4].result,
        Err(Refusal::InsufficientCredits { .. })
    ));
    assert_eq!(outcomes[6], repeat(&outcomes[4]));
    assert_eq!(executed.entries.len(), 3);
}

#[tokio::test]
async fn what_did_not_depend_on_the_account_is_not_remembered() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    let spending = under(consume(&user, credits(1)), "k", 1);
    assert!(matches!(
        answer(&db, &clock, &spending).await.result,
        Err(Refusal::UserNotFound { .. })
    ));
    done(db.pool(), &clock, open(&user, credits(10))).await;
    let nothing = under(consume(&user, Credits::ZERO), "k", 1);
    assert!(matches!(
        answer(&db, &clock, &nothing).await.result,
        Err(Refusal::InvalidAmount { .. })
    ));
    let past = NewGrant {
        expires_at: Some(clock.now()),
        ..NewGrant::new(NewGrantKind::Promo, credits(1))
    };
    let past = under(command(&user, Action::Grant(past)), "k", 1);
    assert_eq!(
        answer(&db, &clock, &past).await.result,
        Err(Refusal::InvalidPeriod(PeriodFault::Expiry))
    );
    let first = answer(&db, &clock, &spending).await;
    assert!(first.result.is_ok() && first.replay == Replay::First);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_equal_requests_at_once_have_one_effect() {
    let (db, user) = (database().await, testkit::user("hasty"));
    done(db.pool(), &SystemClock, open(&user, credits(100))).await;
    let (one, two) = (db.pool_of(10), db.pool_of(10));
    let tasks = (0..50).map(|number| {
        let pool = if number % 2 == 0 { one.clone() } else { two.clone() };
        let command = under(consume(&user, credits(3)), "k", 1);
        tokio::spawn(async move { answers(&pool, &SystemClock, &[command]).await.remove(0) })
    });
    let outcomes: Vec<Outcome> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    let first: Vec<&Outcome> = outcomes
        .iter()
        .filter(|one| one.replay == Replay::First)
        .collect();
    assert_eq!(first.len(), 1);
    let repeats = outcomes.iter().filter(|one| one.replay == Replay::ByKey);
    assert!(repeats.clone().all(|one| *one == repeat(first[0])));
    assert_eq!((repeats.count(), entries(&db).await), (49, 2));
}

#[tokio::test]
async fn pruning_forgets_refusals_and_never_that_something_was_done() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let (hold_id, held) = hold(&user, credits(20));
    let (zero_id, zero) = hold(&user, credits(2));
    done(db.pool(), &clock, zero).await;
    let uncollected = Action::ConsumeUncollected {
        amount: credits(500),
        usage_record_id: None,
    };
    let commands = [
        consume(&user, credits(3)),
        recharge(&user, credits(10), Some("pi_1")),
        held,
        capture(&user, hold_id, Some(credits(5))),
        capture(&user, zero_id, Some(Credits::ZERO)),
        command(&user, uncollected),
        consume(&user, credits(1_000)),
    ];
    let commands: Vec<Command> = commands
        .into_iter()
        .enumerate()
        .map(|(number, command)| under(command, &format!("k{number}"), 1))
        .collect();
    let mut first = Vec::new();
    for command in &commands {
        first.push(answer(&db, &clock, command).await);
    }
    let mut conn = db.connect().await;
    let day = Duration::DAY;
    let none = prune_idempotency(&mut conn, &clock, day, 100).await.unwrap();
    assert_eq!((none.refusals, none.successes), (0, 0));
    clock.advance(Duration::days(8));
    let some = prune_idempotency(&mut conn, &clock, day, 4).await.unwrap();
    assert_eq!(some.refusals + some.successes, 4);
    let rest = prune_idempotency(&mut conn, &clock, day, 4).await.unwrap();
    let all = (some.refusals + rest.refusals, some.successes + rest.successes);
    assert_eq!(all, (1, 6));

    let before = entries(&db).await;
    for (command, first) in commands.iter().zip(&first).take(6) {
        let again = answer(&db, &clock, command).await;
        assert_eq!((again.at, again.replay), (first.at, Replay::ByKey));
        let (again, first) = (again.result.unwrap(), first.result.as_ref().unwrap());
        assert_eq!(
            (&again.entry, again.uncollected),
            (&first.entry, first.uncollected)
        );
        let left = |applied: &Applied| (applied.balance.posted, applied.balance.held);
        if first.entry.is_some() {
            assert_eq!(left(&again), left(first));
        }
        assert_eq!(again.hold.is_some(), first.hold.is_some());
        assert_eq!(again.grant.is_some(), first.grant.is_some());
        assert!(!again.replayed);
    }
    let shown = answer(&db, &clock, &commands[2])
        .await
        .result
        .unwrap()
        .hold
        .unwrap();
    assert_eq!(shown.status, HoldStatus::Captured); // as it is now, not as it was
    assert_eq!(entries(&db).await, before);
    // The refusal is forgotten: the key is free.
    let again = answer(&db, &clock, &commands[6]).await;
    assert_eq!(again.replay, Replay::First);
    let other = answer(&db, &clock, &under(consume(&user, credits(9)), "k0", 2)).await;
    assert!(matches!(other.result, Err(Refusal::IdempotencyConflict { .. })));
}

/// Outcomes of `successes` charges, and behind them of `refusals` refusals, as old as `age`.
async fn remember(db: &TestDb, successes: i64, refusals: i64, age: &str) {
    let mut conn = db.connect().await;
    let rows = format!(
        "INSERT INTO credits.idempotency (user_id, key, fingerprint, created_at, transaction_id, outcome) \
         SELECT 'someone', 'k' || n, sha256('x'), clock_timestamp() - interval '{age}' + n * interval '1 ms', \
           CASE WHEN n <= {successes} THEN gen_random_uuid() END, '{{}}' \
         FROM generate_series(1, {successes} + {refusals}) AS n"
    );
    conn.batch_execute(&rows).await.unwrap();
    conn.batch_execute("ANALYZE credits.idempotency").await.unwrap();
}

#[tokio::test]
async fn pruning_reads_what_it_prunes_and_no_more() {
    const ROUND: i64 = 100;
    let db = database().await;
    remember(&db, 3_000, 2, "9 days").await;
    // As the service has it: the settings of its sessions decide about plans.
    let mut conn = db.connect().await;
    conn.batch_execute("BEGIN").await.unwrap();
    let week = Duration::WEEK;
    let pruned = prune_idempotency(&mut conn, &SystemClock, week, ROUND)
        .await
        .unwrap();
    assert_eq!((pruned.refusals, pruned.successes), (0, 100));
    let read: Count = pg::sql(
        "SELECT seq_tup_read + idx_tup_fetch AS count FROM pg_stat_xact_user_tables \
         WHERE relid = 'credits.idempotency'::regclass",
    )
    .get_result(&mut conn)
    .await
    .unwrap();
    // Each row is found, and then fetched to be changed.
    assert!(read.count <= 4 * ROUND, "{} rows were read", read.count);
    conn.batch_execute("ROLLBACK").await.unwrap();

    let (mut rounds, mut sum) = (0, (0, 0));
    loop {
        let pruned = prune_idempotency(&mut conn, &SystemClock, week, 1_000)
            .await
            .unwrap();
        if pruned == credits::Pruned::default() {
            break;
        }
        rounds += 1;
        sum = (sum.0 + pruned.refusals, sum.1 + pruned.successes);
    }
    assert_eq!((rounds, sum), (4, (2, 3_000)));
}

/// A gateway that lives ten years ahead.
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> time::OffsetDateTime {
        SystemClock.now() + Duration::days(3_650)
    }
}

#[tokio::test]
async fn a_gateway_with_a_wrong_clock_forgets_nothing_early() {
    let db = database().await;
    remember(&db, 2, 2, "1 hour").await;
    let mut conn = db.connect().await;
    let early = prune_idempotency(&mut conn, &Ahead, Duration::DAY, 10).await;
    assert_eq!(early.unwrap(), credits::Pruned::default());
    let never = prune_idempotency(&mut conn, &Ahead, Duration::MAX, 10).await;
    assert_eq!(never.unwrap(), credits::Pruned::default());
    let due = prune_idempotency(&mut conn, &Ahead, Duration::MINUTE, 10)
        .await
        .unwrap();
    assert_eq!((due.refusals, due.successes), (2, 2));
}

#[tokio::test]
async fn an_outcome_of_a_later_version_is_not_guessed_at() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("someone"));
    done(db.pool(), &clock, open(&user, credits(100))).await;
    let clamped = Action::Hold {
        hold_id: uuid::Uuid::from_u128(5),
        amount: credits(1_000),
        mode: HoldMode::Clamp,
        ttl: Duration::minutes(1),
    };
    let command = under(command(&user, clamped), "k", 1);
    answer(&db, &clock, &command).await;
    let mut conn = db.connect().await;
    pg::sql("UPDATE credits.idempotency SET outcome = jsonb_set(outcome, '{v}', '2')")
        .execute(&mut conn)
        .await
        .unwrap();
    let mut tx = pg::Tx::begin(db.pool()).await.unwrap();
    let error = credits::execute(&mut tx, &clock, credits::Defaults::default(), &[command])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

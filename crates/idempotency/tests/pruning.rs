//! Rows that are pruned, and rows that stay.

use diesel_async::SimpleAsyncConnection;
use idempotency::{Content, KeyStatus, Pruned, prune};
use kernel::{CallerClass, Clock, SystemClock};
use testkit::TestDb;
use time::Duration;

use crate::{Request, database, looked_up, refusal, rows_read, store, success};

#[tokio::test]
async fn pruning_forgets_refusals_and_never_that_something_was_done() {
    let (db, clock) = (database().await, testkit::clock());
    let keys = ["a", "b", "c", "d"].map(|key| Request::new("someone", key, 1, CallerClass::User));
    for (nth, request) in (1_u128..).zip(&keys) {
        clock.advance(Duration::SECOND);
        let answer = if nth == 4 { refusal(clock.now()) } else { success(nth, clock.now()) };
        store(&db, request, answer).await;
    }
    // Another class has used one of the keys too: its answer is its own.
    let service = Request::new("someone", "d", 2, CallerClass::Service);
    clock.advance(Duration::days(3));
    store(&db, &service, success(5, clock.now())).await;
    let mut conn = db.connect().await;
    let week = Duration::WEEK;
    assert_eq!(prune(&mut conn, &clock, week, 100).await.unwrap(), Pruned::default());
    clock.advance(Duration::days(5));
    let some = prune(&mut conn, &clock, week, 2).await.unwrap();
    assert_eq!(some, Pruned { refusals: 0, successes: 2 });
    let rest = prune(&mut conn, &clock, week, 100).await.unwrap();
    assert_eq!(rest, Pruned { refusals: 1, successes: 1 });
    assert_eq!(prune(&mut conn, &clock, week, 100).await.unwrap(), Pruned::default());

    let all: Vec<Request> = keys.iter().cloned().chain([service.clone()]).collect();
    let (tx, found) = looked_up(&db, &all).await;
    for (nth, request) in (1_u128..).zip(&keys[..3]) {
        let KeyStatus::Answered(answer) = found.status(request.keyed()) else { panic!() };
        let Content::Pruned(link) = answer.content else { panic!("{answer:?}") };
        assert_eq!(link.transaction_id.as_u128(), nth);
    }
    // The refusal is forgotten: its key is free.
    assert_eq!(found.status(keys[3].keyed()), KeyStatus::New);
    let KeyStatus::Answered(answer) = found.status(service.keyed()) else { panic!() };
    assert!(matches!(answer.content, Content::Whole { .. }));
    let other = Request::new("someone", "a", 2, CallerClass::User);
    assert!(matches!(found.status(other.keyed()), KeyStatus::Conflict(_)));
    tx.rollback().await;
}

/// Answers of `successes` charges, and behind them of `refusals` refusals, as old as `age`.
async fn remember(db: &TestDb, successes: i64, refusals: i64, age: &str) {
    let mut conn = db.connect().await;
    let rows = format!(
        "INSERT INTO idempotency.answers (user_id, key, caller, fingerprint, created_at, transaction_id, answer) \
         SELECT 'someone', 'k' || n, 'user', sha256('x'), clock_timestamp() - interval '{age}' + n * interval '1 ms', \
           CASE WHEN n <= {successes} THEN gen_random_uuid() END, '{{\"v\":1}}' \
         FROM generate_series(1, {successes} + {refusals}) AS n"
    );
    conn.batch_execute(&rows).await.unwrap();
    conn.batch_execute("ANALYZE idempotency.answers").await.unwrap();
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
    let pruned = prune(&mut conn, &SystemClock, week, ROUND).await.unwrap();
    assert_eq!((pruned.refusals, pruned.successes), (0, 100));
    let read = rows_read(&mut conn).await;
    // Each row is found, and then fetched to be changed.
    assert!(read <= 4 * ROUND, "{read} rows were read");
    conn.batch_execute("ROLLBACK").await.unwrap();

    let (mut rounds, mut sum) = (0, (0, 0));
    loop {
        let pruned = prune(&mut conn, &SystemClock, week, 1_000).await.unwrap();
        if pruned == Pruned::default() {
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
    let early = prune(&mut conn, &Ahead, Duration::DAY, 10).await;
    assert_eq!(early.unwrap(), Pruned::default());
    let never = prune(&mut conn, &Ahead, Duration::MAX, 10).await;
    assert_eq!(never.unwrap(), Pruned::default());
    let due = prune(&mut conn, &Ahead, Duration::MINUTE, 10).await.unwrap();
    assert_eq!((due.refusals, due.successes), (2, 2));
}

//! The merged list: order, one runner at a time, no edited history, one transaction for each migration.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use pg::{DbError, Migration, Pool, Tx, migrate};
use testkit::TestDb;

use crate::support::{ask, ask_pool, backend_pid};

const FIRST: Migration = Migration {
    name: "20260101000000_create_shelves",
    up: "CREATE SCHEMA shelves; CREATE TABLE shelves.shelves (id bigint PRIMARY KEY)",
    down: "DROP SCHEMA shelves CASCADE",
};
const SECOND: Migration = Migration {
    name: "20260102000000_create_books",
    up: "CREATE SCHEMA books; CREATE TABLE books.books AS SELECT count(*) AS shelves FROM shelves.shelves",
    down: "DROP SCHEMA books CASCADE",
};
const THIRD: Migration = Migration {
    name: "20260103000000_add_height",
    up: "ALTER TABLE shelves.shelves ADD COLUMN height bigint; INSERT INTO shelves.shelves VALUES (1)",
    down: "ALTER TABLE shelves.shelves DROP COLUMN height",
};
const BROKEN: Migration =
    Migration { name: "20260104000000_break_down", up: "CREATE SCHEMA broken; SELECT 1 / 0", down: "" };

async fn empty() -> TestDb {
    TestDb::create(&[], &[]).await
}

async fn has_schema(pool: &Pool, name: &str) -> bool {
    ask_pool(pool, &format!("(to_regnamespace('{name}') IS NOT NULL)::int")).await == 1
}

#[tokio::test]
async fn lists_of_all_domains_run_as_one_in_order_of_name() {
    let db = empty().await;
    // Each list alone is in order; run one after the other, the second would fail.
    let lists: [&[Migration]; 2] = [&[SECOND], &[FIRST, THIRD]];
    let report = migrate::run(db.pool(), &lists).await.unwrap();
    assert_eq!(report.applied, [FIRST.name, SECOND.name, THIRD.name]);
    assert!(report.unknown.is_empty());
    let again = migrate::run(db.pool(), &lists).await.unwrap();
    assert_eq!(again, migrate::Report::default());
}

#[tokio::test]
async fn missing_migrations_are_told_without_changing_anything() {
    let db = TestDb::create(&[&[FIRST]], &[]).await;
    let fresh = migrate::pending(empty().await.pool(), &[&[FIRST]]).await.unwrap();
    assert_eq!(fresh, [FIRST.name]);
    let missing = migrate::pending(db.pool(), &[&[SECOND, FIRST]]).await.unwrap();
    assert_eq!(missing, [SECOND.name]);
    assert!(!has_schema(db.pool(), "books").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runners_that_start_together_apply_each_migration_once() {
    let db = empty().await;
    let runners: Vec<_> = (0..6)
        .map(|_| {
            let pool = db.second_pool();
            tokio::spawn(async move { migrate::run(&pool, &[&[FIRST, SECOND, THIRD]]).await })
        })
        .collect();
    let mut applied = Vec::new();
    for runner in runners {
        applied.extend(runner.await.unwrap().unwrap().applied);
    }
    // Several runners may have applied some each.
    applied.sort_unstable();
    assert_eq!(applied, [FIRST.name, SECOND.name, THIRD.name]);
    assert_eq!(ask_pool(db.pool(), "SELECT count(*) FROM shelves.shelves").await, 1);
}

#[tokio::test]
async fn edited_migration_is_refused_and_nothing_is_applied() {
    let db = TestDb::create(&[&[FIRST]], &[]).await;
    let edited = Migration { up: "CREATE SCHEMA shelves", ..FIRST };
    let error = migrate::run(db.pool(), &[&[edited, SECOND]]).await.unwrap_err();
    assert!(
        matches!(&error, DbError::Migration { name, problem } if name == FIRST.name && problem.contains("edited")),
        "{error:?}"
    );
    assert!(!has_schema(db.pool(), "books").await);
}

#[tokio::test]
async fn way_back_may_be_edited() {
    let db = TestDb::create(&[&[FIRST]], &[]).await;
    let edited = Migration { down: "DROP TABLE shelves.shelves; DROP SCHEMA shelves", ..FIRST };
    assert_eq!(migrate::run(db.pool(), &[&[edited]]).await.unwrap(), migrate::Report::default());
    assert_eq!(migrate::fingerprint(&[&[edited]]), migrate::fingerprint(&[&[FIRST]]));
}

#[tokio::test]
async fn failing_migration_is_named_and_leaves_those_before_it() {
    let db = empty().await;
    let error = migrate::run(db.pool(), &[&[FIRST, BROKEN]]).await.unwrap_err();
    assert!(
        matches!(&error, DbError::Migration { name, problem } if name == BROKEN.name && problem.contains("division")),
        "{error:?}"
    );
    assert!(!has_schema(db.pool(), "broken").await);
    let mended = Migration { up: "CREATE SCHEMA broken", ..BROKEN };
    let report = migrate::run(db.pool(), &[&[FIRST, mended]]).await.unwrap();
    assert_eq!(report.applied, [BROKEN.name]);
}

#[tokio::test]
async fn migrations_of_a_newer_program_are_reported_and_left_alone() {
    let db = TestDb::create(&[&[FIRST, SECOND]], &[]).await;
    let report = migrate::run(db.pool(), &[&[FIRST]]).await.unwrap();
    assert_eq!(report.unknown, [SECOND.name]);
    assert!(report.applied.is_empty());
}

#[test]
fn fingerprint_tells_lists_apart_and_ignores_how_they_are_split() {
    let whole = migrate::fingerprint(&[&[FIRST, SECOND]]);
    assert_eq!(whole, migrate::fingerprint(&[&[SECOND], &[FIRST]]));
    assert_ne!(whole, migrate::fingerprint(&[&[FIRST]]));
    assert_ne!(whole, migrate::fingerprint(&[&[FIRST, THIRD]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_lock_lets_others_pass_and_goes_on_later() {
    let db = TestDb::create(&[&[FIRST]], &[]).await;
    let mut holder = Tx::begin(db.pool()).await.unwrap();
    ask(holder.conn(), "SELECT count(*) FROM shelves.shelves").await.unwrap();
    let pool = db.second_pool();
    let run = tokio::spawn(async move { migrate::run(&pool, &[&[FIRST, THIRD]]).await });
    db.wait_for_waiting(1).await;
    // It is queued after the request of the migration, which does not get its lock while the holder is there.
    let mut reader = db.connect().await;
    let patient = "SET lock_timeout = 0; SET statement_timeout = '30s'";
    reader.batch_execute(patient).await.unwrap();
    ask(&mut reader, "SELECT count(*) FROM shelves.shelves").await.unwrap();
    holder.commit().await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, [THIRD.name]);
}

#[tokio::test]
async fn a_migration_that_gets_no_lock_is_named_with_the_session_that_has_it() {
    let db = TestDb::create(&[&[FIRST]], &[]).await;
    let mut holder = Tx::begin(db.pool()).await.unwrap();
    ask(holder.conn(), "SELECT count(*) FROM shelves.shelves").await.unwrap();
    let pid = backend_pid(holder.conn()).await;
    let patience = Duration::ZERO;
    let error = migrate::run_within(db.pool(), &[&[FIRST, THIRD]], patience).await.unwrap_err();
    let DbError::Migration { name, problem } = &error else { panic!("{error:?}") };
    assert_eq!(name, THIRD.name);
    for part in ["lock timeout", &format!("process {pid} "), "shelves.shelves"] {
        assert!(problem.contains(part), "{part}: {problem}");
    }
    holder.rollback().await;
    assert_eq!(migrate::run(db.pool(), &[&[FIRST, THIRD]]).await.unwrap().applied, [THIRD.name]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_whose_connection_is_lost_is_tried_again() {
    let db = TestDb::create(&[&[FIRST]], &[]).await;
    let mut holder = Tx::begin(db.pool()).await.unwrap();
    ask(holder.conn(), "SELECT count(*) FROM shelves.shelves").await.unwrap();
    let pool = db.second_pool();
    let run = tokio::spawn(async move { migrate::run(&pool, &[&[FIRST, THIRD]]).await });
    db.wait_for_waiting(1).await;
    let ended = "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND wait_event_type = 'Lock') AS ended";
    assert_eq!(ask_pool(db.pool(), ended).await, 1);
    holder.commit().await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, [THIRD.name]);
}

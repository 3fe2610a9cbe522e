//! The merged list: order, one runner at a time, no edited history, all or nothing.

use pg::{DbError, Migration, Pool, migrate};
use testkit::TestDb;

use crate::support::ask_pool;

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
const BROKEN: Migration = Migration {
    name: "20260104000000_break_down",
    up: "CREATE SCHEMA broken; SELECT 1 / 0",
    down: "",
};

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
    assert_eq!(applied, [FIRST.name, SECOND.name, THIRD.name]);
    assert_eq!(
        ask_pool(db.pool(), "SELECT count(*) FROM shelves.shelves").await,
        1
    );
}

#[tokio::test]
async fn edited_migration_is_refused_and_nothing_is_applied() {
    let db = TestDb::create(&[&[FIRST]], &[]).await;
    let edited = Migration {
        up: "CREATE SCHEMA shelves",
        ..FIRST
    };
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
    let edited = Migration {
        down: "DROP TABLE shelves.shelves; DROP SCHEMA shelves",
        ..FIRST
    };
    assert_eq!(
        migrate::run(db.pool(), &[&[edited]]).await.unwrap(),
        migrate::Report::default()
    );
    assert_eq!(
        migrate::fingerprint(&[&[edited]]),
        migrate::fingerprint(&[&[FIRST]])
    );
}

#[tokio::test]
async fn failing_migration_is_named_and_takes_back_those_before_it() {
    let db = empty().await;
    let error = migrate::run(db.pool(), &[&[FIRST, BROKEN]]).await.unwrap_err();
    assert!(
        matches!(&error, DbError::Migration { name, problem } if name == BROKEN.name && problem.contains("division")),
        "{error:?}"
    );
    for schema in ["shelves", "broken"] {
        assert!(!has_schema(db.pool(), schema).await, "{schema}");
    }
    assert_eq!(
        migrate::pending(db.pool(), &[&[FIRST]]).await.unwrap(),
        [FIRST.name]
    );
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

//! A small schema, questions with one number as answer, and waiting for a condition.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use pg::{DbError, Migration, Pool, Tx};
use testkit::TestDb;
pub use testkit::ask;

/// Notes with every kind of constraint. Committing one with the body `doomed` ends the server's own backend; one
/// with the body `waits` is committed when advisory lock 7 can be had.
pub const NOTES: &[Migration] = &[Migration {
    name: "20260101000000_create_notes",
    up: "CREATE SCHEMA notes;
        CREATE TABLE notes.notes (
            place bigint GENERATED ALWAYS AS IDENTITY,
            id bigint PRIMARY KEY,
            body text NOT NULL CONSTRAINT body_is_short CHECK (length(body) < 10),
            parent bigint CONSTRAINT parent_exists REFERENCES notes.notes DEFERRABLE INITIALLY DEFERRED);
        CREATE FUNCTION notes.end_backend() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER doomed AFTER INSERT ON notes.notes DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.body = 'doomed') EXECUTE FUNCTION notes.end_backend();
        CREATE FUNCTION notes.wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
            'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON notes.notes DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.body = 'waits') EXECUTE FUNCTION notes.wait();",
    down: "DROP SCHEMA notes CASCADE",
}];

pub async fn notes() -> TestDb {
    TestDb::create(&[NOTES], &[]).await
}

pub async fn ask_pool(pool: &Pool, expression: &str) -> i64 {
    ask(&mut pool.get().await.unwrap(), expression).await.unwrap()
}

pub async fn backend_pid(conn: &mut AsyncPgConnection) -> i64 {
    ask(conn, "pg_backend_pid()").await.unwrap()
}

pub async fn count_notes(pool: &Pool) -> i64 {
    ask_pool(pool, "SELECT count(*) FROM notes.notes").await
}

pub async fn insert(tx: &mut Tx, id: i64, body: &str) -> Result<(), DbError> {
    let sql = format!("INSERT INTO notes.notes (id, body) VALUES ({id}, '{body}')");
    Ok(tx.conn().batch_execute(&sql).await?)
}

/// Ends the server's side of another connection, as an administrator or a failover does.
pub async fn terminate(pool: &Pool, pid: i64) {
    ask_pool(pool, &format!("pg_terminate_backend({pid}::int)::int")).await;
    wait_until(pool, &format!("NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})")).await;
}

/// Asks until the condition, in SQL, holds.
pub async fn wait_until(pool: &Pool, condition: &str) {
    let mut deadline = testkit::Deadline::new();
    while ask_pool(pool, &format!("({condition})::int")).await == 0 {
        assert!(deadline.allows_another(), "waited until {condition}");
        tokio::task::yield_now().await;
    }
}

/// Makes commits of notes with the body `waits` wait until the transaction ends.
pub async fn hold_commits(db: &TestDb) -> Tx {
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(7)";
    tx.conn().batch_execute(lock).await.unwrap();
    tx
}

/// Waits until a commit waits for [`hold_commits`].
pub async fn wait_for_commit(db: &TestDb) {
    let waits = "EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database \
        WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted)";
    wait_until(db.pool(), waits).await;
}

/// Runs each test with one worker a lane, and with two as the service has it.
macro_rules! with_one_and_two_workers {
    ($($test:ident),* $(,)?) => {
        mod with_one_worker {
            $(#[tokio::test] async fn $test() { super::$test(1).await; })*
        }
        mod with_two_workers {
            $(#[tokio::test] async fn $test() { super::$test(2).await; })*
        }
    };
}

pub(crate) use with_one_and_two_workers;

//! Failures of a real server, told apart by what a caller can do.

use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use pg::{Attempts, DbError, PoolSettings, Tx, pool::Pool};

use crate::support::{ask, ask_pool, backend_pid, count_notes, insert, notes, terminate, wait_until};

async fn failure(conn: &mut AsyncPgConnection, sql: &str) -> DbError {
    DbError::from(conn.batch_execute(sql).await.unwrap_err())
}

fn constraint(error: &DbError) -> &str {
    match error {
        DbError::Constraint { constraint, .. } => constraint,
        other => panic!("no constraint: {other:?}"),
    }
}

#[tokio::test]
async fn violated_constraints_are_named() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let insert = "INSERT INTO notes.notes (id, body) VALUES ";
    conn.batch_execute(&format!("{insert} (1, 'a')")).await.unwrap();
    for (values, name) in
        [("(1, 'b')", "notes_pkey"), ("(2, 'much too long')", "body_is_short"), ("(3, NULL)", "unnamed")]
    {
        let error = failure(&mut conn, &format!("{insert} {values}")).await;
        assert_eq!(constraint(&error), name);
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn deferred_constraint_refuses_the_commit_and_nothing_is_done() {
    let db = notes().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    tx.conn().batch_execute("INSERT INTO notes.notes (id, body, parent) VALUES (1, 'a', 99)").await.unwrap();
    assert_eq!(constraint(&tx.commit().await.unwrap_err()), "parent_exists");
    assert_eq!(count_notes(db.pool()).await, 0);
}

#[tokio::test]
async fn faulty_statements_and_bindings_are_never_tried_again() {
    let db = notes().await;
    let mut conn = db.connect().await;
    for sql in ["SELECT nothing", "SELEC", "SELECT 1 / 0"] {
        let error = failure(&mut conn, sql).await;
        assert!(matches!(error, DbError::Statement(_)), "{sql}: {error:?}");
    }
    let unbound = DbError::from(pg::sql("SELECT $1::bigint").execute(&mut conn).await.unwrap_err());
    assert!(matches!(unbound, DbError::Statement(_)), "{unbound:?}");
}

#[tokio::test]
async fn what_the_server_cannot_do_for_now_is_told_apart_and_not_tried_again() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let raise = |code: &str, message: &str| {
        format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = '{message}'; END $$")
    };
    for sql in [
        "SET statement_timeout = 10; SELECT pg_sleep(60)".to_owned(),
        "SET TRANSACTION READ ONLY; CREATE TABLE notes.more ()".to_owned(),
        raise("disk_full", "could not extend file \"base/1/2\": No space left on device"),
        raise("out_of_memory", "out of memory"),
    ] {
        let error = failure(&mut conn, &sql).await;
        assert!(matches!(error, DbError::NotNow(_)), "{sql}: {error:?}");
        assert!(error.is_unavailable(), "{sql}");
        assert!(!error.is_transient(), "{sql}");
        assert!(!Attempts::up_to(3).again(&error).await, "{sql}");
    }
}

#[tokio::test]
async fn deadlock_is_contention_for_exactly_one_of_two() {
    let db = notes().await;
    let name = db.url().rsplit_once('/').unwrap().1;
    db.run_as_superuser(&format!("ALTER DATABASE {name} SET deadlock_timeout = '20ms'")).await;
    let pool = db.second_pool();
    let (mut one, mut two) = (Tx::begin(&pool).await.unwrap(), Tx::begin(&pool).await.unwrap());
    let lock = |key: i32| format!("SELECT pg_advisory_xact_lock({key})");
    one.conn().batch_execute(&lock(1)).await.unwrap();
    two.conn().batch_execute(&lock(2)).await.unwrap();
    let (of_two, of_one) = (lock(1), lock(2));
    let results = tokio::join!(one.conn().batch_execute(&of_one), async {
        let result = two.conn().batch_execute(&of_two).await;
        if result.is_err() {
            two.rollback().await; // the other one waits for this
        }
        result
    });
    let errors: Vec<DbError> =
        [results.0.err(), results.1.err()].into_iter().flatten().map(DbError::from).collect();
    assert!(matches!(errors.as_slice(), [DbError::Contention(_)]), "{errors:?}");
    assert!(errors.iter().all(DbError::is_transient));
}

#[tokio::test]
async fn waiting_too_long_for_a_lock_is_told_apart_and_not_waited_for_again() {
    let db = notes().await;
    let mut holder = Tx::begin(db.pool()).await.unwrap();
    holder.conn().batch_execute("LOCK TABLE notes.notes").await.unwrap();
    let mut conn = db.connect().await;
    conn.batch_execute("SET lock_timeout = 10").await.unwrap();
    let error = failure(&mut conn, "SELECT * FROM notes.notes").await;
    assert!(matches!(error, DbError::LockTimeout(_)), "{error:?}");
    assert!(error.is_transient());
    assert!(!Attempts::up_to(3).again(&error).await);
    holder.rollback().await;
}

/// Whatever the server's language: a text that is not understood claims nothing.
#[tokio::test]
async fn a_deadlock_in_foreign_words_is_a_failed_statement() {
    let db = notes().await;
    let mut conn = db.connect().await;
    for code in ["deadlock_detected", "lock_not_available"] {
        let raise =
            format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'Verklemmung'; END $$");
        let error = failure(&mut conn, &raise).await;
        assert!(matches!(error, DbError::Statement(_)), "{error:?}");
        assert!(!error.is_transient());
    }
}

/// A role that may not choose the language is not refused for it: see `connect.rs`.
#[tokio::test]
async fn sessions_speak_english_where_they_may() {
    let db = notes().await;
    let superuser = || Pool::new(&PoolSettings::new(db.superuser_url())).unwrap();
    let name = db.url().rsplit_once('/').unwrap().1;
    db.run_as_superuser(&format!("ALTER DATABASE {name} SET lc_messages = 'POSIX'")).await;
    let speaks = |language: &str| format!("(current_setting('lc_messages') = '{language}')::int");
    assert_eq!(ask_pool(&superuser(), &speaks("C")).await, 1);
    assert_eq!(ask_pool(&db.second_pool(), &speaks("POSIX")).await, 1);
    assert_eq!(pg::foreign_language(&mut *db.connect().await).await.unwrap(), None);
}

#[tokio::test]
async fn serialization_failure_is_contention_and_the_connection_stays_good() {
    let db = notes().await;
    let pool = db.pool_of(1);
    let mut first = Tx::begin(db.pool()).await.unwrap();
    insert(&mut first, 1, "a").await.unwrap();
    first.commit().await.unwrap();

    let mut tx = Tx::begin(&pool).await.unwrap();
    let pid = backend_pid_in_snapshot(&mut tx).await;
    let mut other = Tx::begin(db.pool()).await.unwrap();
    let change = "UPDATE notes.notes SET body = 'b' WHERE id = 1";
    other.conn().batch_execute(change).await.unwrap();
    other.commit().await.unwrap();
    let error = failure(tx.conn(), change).await;
    assert!(matches!(error, DbError::Contention(_)), "{error:?}");
    tx.rollback().await;
    assert_eq!(backend_pid(&mut pool.get().await.unwrap()).await, pid);
}

async fn backend_pid_in_snapshot(tx: &mut Tx) -> i64 {
    tx.conn().batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    backend_pid(tx.conn()).await
}

#[tokio::test]
async fn connection_killed_before_the_commit_is_lost_and_nothing_was_done() {
    let db = notes().await;
    let mut tx = Tx::begin(&db.second_pool()).await.unwrap();
    insert(&mut tx, 1, "a").await.unwrap();
    let pid = backend_pid(tx.conn()).await;
    terminate(db.pool(), pid).await;
    let error = insert(&mut tx, 2, "b").await.unwrap_err();
    assert!(matches!(error, DbError::Lost(_)), "{error:?}");
    assert!(error.is_transient());
    drop(tx);
    assert_eq!(count_notes(db.pool()).await, 0);
}

#[tokio::test]
async fn connection_killed_while_a_statement_runs_is_lost() {
    let db = notes().await;
    let mut conn = db.connect().await;
    let pid = backend_pid(&mut conn).await;
    let (error, ()) = tokio::join!(failure(&mut conn, "SELECT pg_sleep(60)"), async {
        wait_until(
            db.pool(),
            &format!("EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep')"),
        )
        .await;
        terminate(db.pool(), pid).await;
    });
    assert!(matches!(error, DbError::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn connection_killed_in_the_commit_leaves_the_outcome_unknown() {
    let db = notes().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    insert(&mut tx, 1, "doomed").await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, DbError::OutcomeUnknown(_)), "{error:?}");
    assert!(!error.is_transient(), "what may have happened must not be done again");
}

#[tokio::test]
async fn killed_idle_connection_is_replaced() {
    let db = notes().await;
    let pool = db.pool_of(1);
    let pid = backend_pid(&mut pool.get().await.unwrap()).await;
    terminate(db.pool(), pid).await;
    // The server closes its end at once; until this end has seen it, a borrower may still meet the closed connection.
    let mut deadline = testkit::Deadline::new();
    let replaced = loop {
        match ask(&mut pool.get().await.unwrap(), "pg_backend_pid()").await {
            Ok(other) => break other,
            Err(error) => assert!(matches!(error, DbError::Lost(_)), "{error:?}"),
        }
        assert!(deadline.allows_another(), "the dead connection stays in the pool");
        tokio::task::yield_now().await;
    };
    assert_ne!(replaced, pid);
}

#[tokio::test]
async fn server_that_is_not_there_is_a_connect_error() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().to_str().unwrap().replace('/', "%2F");
    let pool = Pool::new(&PoolSettings::new(format!("postgresql://app@{host}/app"))).unwrap();
    let error = Tx::begin(&pool).await.unwrap_err();
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    assert!(error.is_transient());
}

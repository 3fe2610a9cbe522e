//! A transaction is committed or rolled back, never left open.

use diesel_async::SimpleAsyncConnection;
use pg::{DbError, Tx};

use crate::support::{ask_pool, backend_pid, count_notes, insert, notes, wait_until};

#[tokio::test]
async fn committed_work_is_seen_by_others_and_not_before() {
    let db = notes().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    insert(&mut tx, 1, "a").await.unwrap();
    assert_eq!(count_notes(db.pool()).await, 0);
    tx.commit().await.unwrap();
    assert_eq!(count_notes(db.pool()).await, 1);
}

#[tokio::test]
async fn rolled_back_work_is_gone_and_the_connection_is_kept() {
    let db = notes().await;
    let pool = db.pool_of(1);
    let mut tx = Tx::begin(&pool).await.unwrap();
    insert(&mut tx, 1, "a").await.unwrap();
    let pid = backend_pid(tx.conn()).await;
    tx.rollback().await;
    assert_eq!(count_notes(&pool).await, 0);
    assert_eq!(backend_pid(&mut pool.get().await.unwrap()).await, pid);
}

#[tokio::test]
async fn dropped_transaction_is_rolled_back_and_its_connection_discarded() {
    let db = notes().await;
    let pool = db.pool_of(1);
    let mut tx = Tx::begin(&pool).await.unwrap();
    insert(&mut tx, 1, "a").await.unwrap();
    let pid = backend_pid(tx.conn()).await;
    drop(tx);
    wait_until(db.pool(), &format!("NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})")).await;
    assert_eq!(pool.status().busy, 0);
    assert_ne!(backend_pid(&mut pool.get().await.unwrap()).await, pid);
    assert_eq!(count_notes(db.pool()).await, 0);
}

#[tokio::test]
async fn transaction_abandoned_in_the_middle_of_a_statement_does_nothing() {
    let db = notes().await;
    let mut holder = Tx::begin(db.pool()).await.unwrap();
    holder.conn().batch_execute("SELECT pg_advisory_xact_lock(1)").await.unwrap();
    let pool = db.second_pool();
    let abandoned = tokio::spawn(async move {
        let mut tx = Tx::begin(&pool).await.unwrap();
        let sql = "SELECT pg_advisory_xact_lock(1); INSERT INTO notes.notes (id, body) VALUES (1, 'a')";
        tx.conn().batch_execute(sql).await.unwrap();
        tx.commit().await.unwrap();
    });
    wait_until(db.pool(), "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)").await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    holder.commit().await.unwrap();
    let others = "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND \
        (state <> 'idle' AND pid <> pg_backend_pid()))";
    wait_until(db.pool(), others).await;
    assert_eq!(count_notes(db.pool()).await, 0);
}

#[tokio::test]
async fn commit_after_an_ignored_failure_is_an_error_and_does_nothing() {
    let db = notes().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    insert(&mut tx, 1, "a").await.unwrap();
    assert!(insert(&mut tx, 1, "again").await.is_err());
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, DbError::Statement(_)), "{error:?}");
    assert_eq!(count_notes(db.pool()).await, 0);
}

#[tokio::test]
async fn every_session_has_time_limits_and_speaks_utc() {
    let db = notes().await;
    let setting = |name: &str| format!("SELECT setting FROM pg_settings WHERE name = '{name}'");
    for (name, limit_ms) in [
        ("statement_timeout", 20_000),
        ("lock_timeout", 2_000),
        ("idle_in_transaction_session_timeout", 60_000),
    ] {
        assert_eq!(ask_pool(db.pool(), &setting(name)).await, limit_ms, "{name}");
    }
    let utc =
        "(current_setting('TimeZone') = 'UTC' AND current_setting('application_name') = 'user-service')::int";
    assert_eq!(ask_pool(db.pool(), utc).await, 1);
}

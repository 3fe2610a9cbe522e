//! Servers and networks that go silent without closing anything.

use std::{process::Command, time::Duration};

use diesel_async::SimpleAsyncConnection as _;
use pg::{DbError, Pool, PoolSettings, Tx, pool::chain};
use testkit::Proxy;

use crate::support::{ask, ask_pool, backend_pid, count_notes, insert, notes, wait_until};

/// Statements get half a second, so that silence ends after three and a half.
fn settings(url: &str) -> PoolSettings {
    let mut settings = PoolSettings::new(url);
    settings.statement_timeout = Duration::from_secs(2);
    settings.connect_timeout = Duration::from_secs(10);
    settings
}

/// A process that does not run until this is dropped.
struct Stopped(i64);

impl Stopped {
    fn stop(pid: i64) -> Self {
        signal("-STOP", pid);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("-CONT", self.0);
    }
}

fn signal(signal: &str, pid: i64) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test]
async fn a_statement_without_an_answer_is_lost_and_new_connections_are_used_at_once() {
    let db = notes().await;
    let proxy = Proxy::start(&db).await;
    let pool = Pool::new(&settings(proxy.url())).unwrap();
    let (mut tx, idle) = (Tx::begin(&pool).await.unwrap(), pool.get().await.unwrap());
    let also_idle = pool.get().await.unwrap();
    insert(&mut tx, 1, "a").await.unwrap();
    drop((idle, also_idle));
    assert_eq!(pool.status().idle, 2);

    proxy.silence_old();
    let error = insert(&mut tx, 2, "b").await.unwrap_err();
    assert!(matches!(error, DbError::Lost(_)), "{error:?}");
    tx.abort(&error).await;
    // Those that were idle are silent too, and nobody gets one.
    for _ in 0..3 {
        let mut conn = pool.get().await.unwrap();
        ask(&mut conn, "1").await.unwrap();
        drop(conn);
        assert_eq!(pool.status().idle, 1);
    }
    drop(proxy);
    wait_until(
        db.pool(),
        "NOT EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'notes' \
         AND l.pid <> pg_backend_pid())",
    )
    .await;
    assert_eq!(count_notes(db.pool()).await, 0);
}

#[tokio::test]
async fn a_commit_without_an_answer_has_an_unknown_outcome() {
    let db = notes().await;
    let proxy = Proxy::start(&db).await;
    let pool = Pool::new(&settings(proxy.url())).unwrap();
    let mut tx = Tx::begin(&pool).await.unwrap();
    insert(&mut tx, 1, "a").await.unwrap();
    proxy.silence_old();
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, DbError::OutcomeUnknown(_)), "{error:?}");
    assert_eq!(ask_pool(&pool, "1").await, 1);
}

#[tokio::test]
async fn a_backend_that_stops_is_given_up_in_a_statement_and_in_a_commit() {
    let db = notes().await;
    let pool = Pool::new(&settings(db.url())).unwrap();
    let mut tx = Tx::begin(&pool).await.unwrap();
    let first = Stopped::stop(backend_pid(tx.conn()).await);
    let error = insert(&mut tx, 1, "a").await.unwrap_err();
    assert!(matches!(error, DbError::Lost(_)), "{error:?}");
    drop(tx);

    let mut tx = Tx::begin(&pool).await.unwrap();
    insert(&mut tx, 2, "b").await.unwrap();
    let second = Stopped::stop(backend_pid(tx.conn()).await);
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, DbError::OutcomeUnknown(_)), "{error:?}");
    assert_eq!(ask_pool(&pool, "1").await, 1);
    drop((first, second));
}

#[tokio::test]
async fn a_connection_that_nobody_answers_is_not_waited_for() {
    let db = notes().await;
    let proxy = Proxy::start(&db).await;
    let mut settings = settings(proxy.url());
    settings.connect_timeout = Duration::from_millis(100);
    proxy.silence_all();
    let pool = Pool::new(&settings).unwrap();
    let error = Tx::begin(&pool).await.unwrap_err();
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    assert!(chain(&error).contains("no connection within 0.1 s"), "{}", chain(&error));

    // The URL may say otherwise, also without any limit.
    proxy.let_new_through();
    let pool = Pool::new(&PoolSettings { url: format!("{}?connect_timeout=0", proxy.url()), ..settings });
    assert_eq!(ask_pool(&pool.unwrap(), "1").await, 1);
}

#[tokio::test]
async fn a_statement_that_was_given_more_time_gets_it_and_the_next_does_not() {
    let db = notes().await;
    let proxy = Proxy::start(&db).await;
    let mut settings = settings(proxy.url());
    settings.size_max = 1;
    let pool = Pool::new(&settings).unwrap();
    let mut tx = Tx::begin(&pool).await.unwrap();
    tx.limit_statements(Duration::from_secs(60)).await.unwrap();
    // Longer than the usual limit of the server and of the connection.
    tx.conn().batch_execute("SELECT pg_sleep(4)").await.unwrap();
    tx.limit_statements(Duration::ZERO).await.unwrap();
    tx.conn().batch_execute("SELECT pg_sleep(4)").await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = Tx::begin(&pool).await.unwrap();
    proxy.silence_old();
    let error = insert(&mut tx, 1, "a").await.unwrap_err();
    assert!(matches!(error, DbError::Lost(_)), "{error:?}");
}

//! One pool for many runtimes: where connections live, and what happens when there is none.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use pg::{DbError, Pool, PoolSettings};
use tokio::runtime::{Builder, Runtime};

use crate::support::{backend_pid, notes};

fn worker() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn connection_outlives_the_runtime_that_needed_it_first() {
    let main = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let db = main.block_on(notes());
    let pool = {
        let _inside = main.enter();
        db.pool_of(1)
    };
    // Each stands for an actix worker: a single-threaded runtime that stops while the pool goes on.
    let pids: Vec<i64> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                worker().block_on(async { backend_pid(&mut pool.get().await.unwrap()).await })
            })
            .join()
            .unwrap()
        })
        .collect();
    assert_eq!(pids, [pids[0]; 3], "the runtimes shared one connection");
}

#[test]
fn connection_borrowed_on_one_runtime_works_on_another() {
    let main = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let db = main.block_on(notes());
    let first = worker();
    let mut borrowed = first.block_on(db.pool().get()).unwrap();
    let pid = first.block_on(backend_pid(&mut borrowed));
    drop(first);
    assert_eq!(worker().block_on(backend_pid(&mut borrowed)), pid);
}

#[test]
fn several_runtimes_use_one_pool_at_the_same_time() {
    let main = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let db = main.block_on(notes());
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let pool = db.pool().clone();
            std::thread::spawn(move || {
                worker().block_on(async {
                    for _ in 0..25 {
                        backend_pid(&mut pool.get().await.unwrap()).await;
                    }
                });
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let status = db.pool().status();
    assert_eq!((status.busy, status.waiting), (0, 0));
    assert!(status.idle <= 4, "{status:?}");
}

#[tokio::test]
async fn caller_that_waits_too_long_gets_a_connect_error() {
    let db = notes().await;
    let mut settings = PoolSettings::new(db.url());
    settings.size_max = 1;
    settings.wait_timeout = Duration::from_millis(10);
    let pool = Pool::new(&settings).unwrap();
    let held = pool.get().await.unwrap();
    assert_eq!(pool.status().busy, 1);
    let error = pool.get().await.err().unwrap();
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    drop(held);
    assert!(pool.get().await.is_ok());
}

#[tokio::test]
async fn closed_pool_hands_out_nothing() {
    let db = notes().await;
    let pool = db.second_pool();
    pool.close();
    assert!(matches!(pool.get().await.err(), Some(DbError::Connect(_))));
}

#[test]
fn pool_needs_a_runtime_to_live_on() {
    let settings = PoolSettings::new("postgresql://app@localhost/app");
    assert!(matches!(Pool::new(&settings), Err(DbError::Connect(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_read_is_cancelled_and_its_connection_is_thrown_away() {
    use diesel_async::SimpleAsyncConnection as _;

    let db = testkit::TestDb::create(&[], &[]).await;
    let pool = db.pool_of(1);
    let reading = tokio::spawn({
        let pool = pool.clone();
        async move {
            pool.read(async |conn| {
                conn.batch_execute("SELECT pg_sleep(600)").await?;
                Ok::<(), pg::DbError>(())
            })
            .await
        }
    });
    let mut observer = db.connect().await;
    let mut sleepers = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
             AND datname = current_database() AND query LIKE '%pg_sleep(600)' AND pid <> pg_backend_pid()";
        testkit::ask(&mut observer, sql).await.unwrap()
    };
    while sleepers().await == 0 {}
    reading.abort();
    assert!(reading.await.unwrap_err().is_cancelled());
    // The only connection of the pool is free again at once, as another one.
    pool.read(async |conn| conn.batch_execute("SELECT 1").await.map_err(pg::DbError::from)).await.unwrap();
    while sleepers().await > 0 {}
}

#[tokio::test]
async fn a_sibling_is_not_exhausted_by_its_pool() {
    let db = testkit::TestDb::create(&[], &[]).await;
    let pool = db.pool_of(1);
    let _held = pool.get().await.unwrap();
    let home = tokio::runtime::Handle::current();
    let patience = pg::Patience {
        lock_timeout: Duration::from_millis(70),
        statement_timeout: Duration::from_millis(900),
    };
    let sibling = pool.sibling_on(home, 1, patience).unwrap();
    sibling.read(async |conn| conn.batch_execute("SELECT 1").await.map_err(pg::DbError::from)).await.unwrap();
    for (name, limit_ms) in [("lock_timeout", 70), ("statement_timeout", 900)] {
        let setting = format!("(SELECT setting FROM pg_settings WHERE name = '{name}')");
        assert_eq!(crate::support::ask_pool(&sibling, &setting).await, limit_ms, "{name}");
    }
}

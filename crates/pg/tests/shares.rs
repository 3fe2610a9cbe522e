//! How many connections a pool opens: no more than its size, also while some are closed, and shares leave some to others.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use futures_util::{FutureExt as _, try_join};
use pg::{BatchLimits, Coalescer, DbError, Lookup, Pool, PoolSettings, Rejected};
use testkit::TestDb;

use crate::support::{ask_pool, notes, wait_until};

#[tokio::test]
async fn users_of_a_share_wait_for_one_another_and_leave_the_rest() {
    let db = notes().await;
    let pool = db.pool_of(3);
    let lists = pool.share(2);
    let (first, second) = (lists.get().await.unwrap(), lists.get().await.unwrap());
    let mut third = std::pin::pin!(lists.get());
    assert!(futures_util::poll!(third.as_mut()).is_pending());
    assert_eq!(pool.status().waiting, 1, "who waits for a share is counted");
    drop(pool.get().await.unwrap());
    drop(first);
    drop((third.await.unwrap(), second));
    let status = pool.status();
    assert_eq!((status.busy, status.waiting), (0, 0));
}

#[tokio::test]
async fn caller_that_waits_too_long_for_a_share_gets_a_connect_error() {
    let db = notes().await;
    let mut settings = PoolSettings::new(db.url());
    settings.wait_timeout = Duration::from_millis(10);
    let share = Pool::new(&settings).unwrap().share(1);
    let held = share.get().await.unwrap();
    let error = share.get().await.err().unwrap();
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    drop(held);
    assert!(share.get().await.is_ok());
}

#[tokio::test]
async fn work_in_the_background_waits_for_its_place_as_long_as_it_takes() {
    let db = notes().await;
    let mut settings = PoolSettings::new(db.url());
    settings.wait_timeout = Duration::from_millis(10);
    let pool = Pool::new(&settings).unwrap();
    let (background, share) = (pool.background_share(1), pool.share(1));
    let held = (background.get().await.unwrap(), share.get().await.unwrap());
    let mut waits = std::pin::pin!(background.get());
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    assert_eq!(pool.status().waiting, 0, "no caller waits");
    // One that began later has given up.
    assert!(share.get().await.is_err());
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    drop(held);
    waits.await.unwrap();
}

/// A pool of one connection whose role may open no second one.
async fn lone_pool(db: &TestDb, role: &str) -> Pool {
    let make = format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 1 IN ROLE app");
    db.run_as_superuser(&make).await;
    let mut settings = PoolSettings::new(db.url().replace("://app@", &format!("://{role}@")));
    settings.size_max = 1;
    // On a busy machine the server may take its time to end a session.
    settings.connect_timeout = Duration::from_secs(30);
    settings.wait_timeout = Duration::from_secs(30);
    settings.statement_timeout = Duration::ZERO;
    Pool::new(&settings).unwrap()
}

/// Fails while another statement that was sent with it still runs.
async fn fail_beside_a_sleep(conn: &AsyncPgConnection) -> Result<(), DbError> {
    let (mut sleeping, mut failing) = (conn, conn);
    // Answered in this order.
    let failed = async {
        failing.batch_execute("SELECT 1/0").await?;
        Ok(())
    };
    let slept = async { Ok::<_, DbError>(sleeping.batch_execute("SELECT pg_sleep(600)").await?) };
    try_join!(failed, slept).map(drop)
}

/// Numbers are their own answers; that of a negative one fails.
struct Echo;

impl Lookup for Echo {
    type Item = i64;
    type Outcome = i64;

    async fn load(&self, conn: &mut AsyncPgConnection, items: &[i64]) -> Result<Vec<i64>, DbError> {
        if items.iter().any(|item| *item < 0) {
            fail_beside_a_sleep(conn).await?;
        }
        Ok(items.to_vec())
    }
}

#[tokio::test]
async fn a_lookup_that_fails_leaves_no_statement_and_no_connection_too_many() {
    let db = notes().await;
    let limits = BatchLimits {
        name: "test",
        lanes: 1,
        workers: 1,
        batch_items_max: 50,
        queue_items_max: 100,
        batch_bytes_max: 16 << 20,
        queue_bytes_max: 64 << 20,
        wait_max: Duration::from_secs(60),
    };
    let coalescer = Coalescer::start(lone_pool(&db, "shares_looks_up").await, Echo, limits);
    for number in 0..3 {
        assert_eq!(coalescer.ask("key", -1).await, Err(Rejected::Failed));
        assert_eq!(coalescer.ask("key", number).await, Ok(number));
    }
}

#[tokio::test]
async fn a_read_that_fails_leaves_no_statement_to_the_next_one() {
    let db = notes().await;
    let pool = lone_pool(&db, "shares_reads").await;
    let superuser = Pool::new(&PoolSettings::new(db.superuser_url())).unwrap();
    let error = pool.read(async |conn| fail_beside_a_sleep(conn).await).await.unwrap_err();
    assert!(matches!(error, DbError::Statement(_)), "{error:?}");
    let none_sleeps = "NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)' \
        AND usename = 'shares_reads')";
    wait_until(&superuser, none_sleeps).await;
    assert_eq!(ask_pool(&pool, "1").await, 1);
}

#[tokio::test]
async fn a_connection_is_kept_when_all_statements_of_a_failed_read_have_ended() {
    let db = notes().await;
    let pool = db.pool_of(1);
    let pid = "pg_backend_pid()";
    let mut kept = 0;
    for _ in 0..5 {
        let before = ask_pool(&pool, pid).await;
        let failing = pool.read(async |conn| Ok::<_, DbError>(conn.batch_execute("SELECT 1/0").await?));
        assert!(matches!(failing.await, Err(DbError::Statement(_))));
        kept += u32::from(ask_pool(&pool, pid).await == before);
    }
    // On a busy machine an answer may take so long that the connection is given up.
    assert!(kept > 0);
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_asked_again() {
    let db = notes().await;
    let one = lone_pool(&db, "shares_full").await;
    let mut settings = PoolSettings::new(db.url().replace("://app@", "://shares_full@"));
    settings.connect_timeout = Duration::from_secs(30);
    let two = Pool::new(&settings).unwrap();
    let held = one.get().await.unwrap();
    let mut waits = std::pin::pin!(two.get());
    let refused = tokio::time::timeout(Duration::from_millis(300), waits.as_mut()).await;
    assert!(refused.is_err(), "it goes on asking: {:?}", refused.map(|result| result.err()));
    drop(held);
    one.close();
    waits.await.unwrap();
}

#[tokio::test]
async fn a_server_that_stays_full_is_an_error_in_the_end() {
    let db = notes().await;
    let one = lone_pool(&db, "shares_stays_full").await;
    let mut settings = PoolSettings::new(db.url().replace("://app@", "://shares_stays_full@"));
    settings.connect_timeout = Duration::from_millis(500);
    let two = Pool::new(&settings).unwrap();
    let _held = one.get().await.unwrap();
    let error = two.get().await.err().unwrap();
    assert!(matches!(error, DbError::Connect(_)), "{error:?}");
    assert!(two.get().now_or_never().is_none(), "its place in the pool is free again");
}

#[tokio::test]
async fn an_abandoned_statement_keeps_its_place_until_it_has_ended() {
    let db = notes().await;
    let pool = lone_pool(&db, "shares_abandons").await;
    let superuser = Pool::new(&PoolSettings::new(db.superuser_url())).unwrap();
    for _ in 0..5 {
        let reading = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.read(async |conn| Ok::<(), DbError>(conn.batch_execute("SELECT pg_sleep(600)").await?))
                    .await
            }
        });
        let sleeps = "EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)' \
            AND usename = 'shares_abandons')";
        wait_until(&superuser, sleeps).await;
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        assert_eq!(ask_pool(&pool, "1").await, 1);
    }
}

#[tokio::test]
async fn a_connection_that_nobody_waits_for_any_more_is_not_opened() {
    // Accepts and says nothing: opening takes as long as it is allowed to.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut settings = PoolSettings::new(format!("postgresql://app@127.0.0.1:{port}/app"));
    settings.connect_timeout = Duration::from_secs(600);
    let pool = Pool::new(&settings).unwrap();
    let opening = tokio::spawn(async move { pool.get().await.map(drop) });
    let (mut accepted, _) = silent.accept().await.unwrap();
    opening.abort();
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut accepted, &mut rest);
    let closed = tokio::time::timeout(Duration::from_secs(30), closed).await;
    assert!(closed.is_ok(), "the connection is still being opened");
}

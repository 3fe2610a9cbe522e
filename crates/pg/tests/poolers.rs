//! Behind a transaction pooler each transaction has the settings of the service, and a pooler that would break it is refused.

use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use pg::{DbError, Pool, PoolSettings, Tx, server::Server, session::Stated};
use testkit::{Pooling, TestDb, skip_without};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::{
    sessions::{HOSTILE, assert_settings, hot, show},
    support::{backend_pid, terminate},
};

fn pool_at(url: &str) -> Pool {
    pool_of(url, 3)
}

fn pool_of(url: &str, size_max: usize) -> Pool {
    let mut settings = PoolSettings::new(url);
    settings.size_max = size_max;
    Pool::new(&settings).unwrap()
}

async fn hostile_database() -> TestDb {
    let db = TestDb::create(&[], &[]).await;
    db.set_defaults(HOSTILE).await;
    db
}

/// Every transaction and every read of both pools has the settings that travel, again and again.
async fn assert_settings_of_all(pool: &Pool) {
    for (pool, patience) in [(&hot(pool), "250ms"), (pool, "2s")] {
        for _ in 0..3 {
            let mut tx = Tx::begin(pool).await.unwrap();
            assert_settings(tx.conn(), &[Stated::WithBegin], patience).await;
            tx.commit().await.unwrap();
            let read = pool.read(async |conn| {
                assert_settings(conn, &[Stated::WithBegin], patience).await;
                Ok::<_, DbError>(())
            });
            read.await.unwrap();
        }
    }
}

#[tokio::test]
async fn settings_are_those_of_the_service_where_each_transaction_begins_with_none() {
    let db = hostile_database().await;
    let pooler = db.pooler(Pooling::Resetting).await;
    let pool = pool_at(pooler.url());
    let server = pg::server::examine(&pool).await.unwrap();
    assert!(server.is_pooled);
    let lacks = |name: &str| server.role_lacks.iter().any(|lack| lack.starts_with(name));
    assert!(lacks("timezone_abbreviations = Default"), "{server:?}");
    assert!(!lacks("jit") && !lacks("idle_session_timeout"), "{server:?}");
    assert_settings_of_all(&pool).await;
}

#[tokio::test]
async fn nothing_is_set_for_other_clients_of_a_pooler() {
    let db = hostile_database().await;
    let pooler = db.pooler(Pooling::Resetting).await;
    let pool = pool_at(pooler.url());
    pg::server::examine(&pool).await.unwrap();
    // A new connection: what it sends at its beginning would still be set before its first transaction ends.
    let hot = hot(&pool);
    let mut conn = hot.get().await.unwrap();
    assert_eq!(show(&mut conn, "current_setting('jit')").await, "on");
}

#[tokio::test]
async fn one_connection_does_not_rule_out_a_pooler() {
    let db = hostile_database().await;
    let pool = pool_of(db.url(), 1);
    assert!(pg::server::examine(&pool).await.unwrap().is_pooled);
    let mut conn = pool.get().await.unwrap();
    assert_eq!(show(&mut conn, "current_setting('jit')").await, "on");
    drop(conn);
    assert_settings_of_all(&pool).await;
}

/// The names of what was set for the session of another client, without those that PgBouncer sets for each.
async fn left_behind(url: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let serving = tokio::spawn(connection);
    let set = "SELECT name FROM pg_settings WHERE source = 'session' AND name NOT IN \
        ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings', 'IntervalStyle')";
    let answer = client.simple_query(set).await.unwrap();
    drop(client);
    serving.await.unwrap().unwrap();
    let names = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    names.collect()
}

/// Of any version, also when it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_to_other_clients_of_pgbouncer() {
    let db = hostile_database().await;
    for (sessions, connections) in [("1", 1), ("1", 3), ("5", 3)] {
        let Some(pgbouncer) = db.pgbouncer(&[("default_pool_size", sessions)]).await else {
            return skip_without("PgBouncer");
        };
        let pool = pool_of(pgbouncer.url(), connections);
        let examined = pg::server::examine(&pool).await;
        pool.close();
        drop(pool);
        let left = left_behind(pgbouncer.url()).await;
        assert_eq!(left, Vec::<String>::new(), "{sessions} {connections} {examined:?}");
    }
}

#[tokio::test]
async fn a_read_that_loses_its_connection_at_its_end_can_be_tried_again() {
    let db = hostile_database().await;
    let pooler = db.pooler(Pooling::Resetting).await;
    let pool = pool_at(pooler.url());
    pg::server::examine(&pool).await.unwrap();
    let reading = pool.read(async |conn| {
        let pid = backend_pid(conn).await;
        terminate(db.pool(), pid).await;
        Ok::<_, DbError>(())
    });
    let error = reading.await.unwrap_err();
    assert!(matches!(error, DbError::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn a_failed_read_through_a_pooler_leaves_no_transaction() {
    let db = hostile_database().await;
    let pooler = db.pooler(Pooling::Resetting).await;
    let pool = pool_at(pooler.url());
    pg::server::examine(&pool).await.unwrap();
    let failing = pool.read(async |conn| Ok::<_, DbError>(conn.batch_execute("SELECT 1/0").await?));
    assert!(matches!(failing.await, Err(DbError::Statement(_))));
    let mut admin = db.connect().await;
    let open = "(SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database())";
    assert_eq!(show(&mut admin, open).await, "0");
    assert_settings_of_all(&pool).await;
}

#[tokio::test]
async fn a_server_without_a_pooler_is_not_taken_for_one() {
    let db = hostile_database().await;
    let pool = pool_at(db.url());
    let server = pg::server::examine(&pool).await.unwrap();
    assert!(!server.is_pooled && server.role_lacks.is_empty(), "{server:?}");
    for _ in 0..3 {
        let mut conn = pool.get().await.unwrap();
        assert_settings(&mut conn, &[Stated::WithBegin, Stated::BySession], "2s").await;
        std::mem::forget(conn);
    }
}

#[tokio::test]
async fn a_pooler_that_loses_prepared_statements_is_refused() {
    let db = hostile_database().await;
    let pooler = db.pooler(Pooling::Swapping).await;
    assert_unfit(pg::server::examine(&pool_at(pooler.url())).await);
}

fn assert_unfit(examined: Result<Server, DbError>) {
    match examined {
        Err(DbError::Unfit(why)) => {
            assert!(why.contains("prepared statements") && why.contains("PgBouncer"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

/// The real one: Debian's 1.18 is refused, one that keeps statements works, whatever it does between transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_is_refused_or_works() {
    let keeping = [("max_prepared_statements", "100")];
    let db = hostile_database().await;
    for settings in [
        &[("default_pool_size", "5")][..],
        &[("default_pool_size", "1")],
        &[("default_pool_size", "5"), ("server_round_robin", "1")],
        &[
            ("default_pool_size", "5"),
            ("server_reset_query_always", "1"),
            ("server_reset_query", "DISCARD ALL"),
        ],
    ] {
        let Some(old) = db.pgbouncer(settings).await else {
            return skip_without("PgBouncer");
        };
        if !old.can_keep_statements() {
            assert_unfit(pg::server::examine(&pool_at(old.url())).await);
            continue;
        }
        drop(old);
        let off = [settings, &[("max_prepared_statements", "0")]].concat();
        let lossy = db.pgbouncer(&off).await.unwrap();
        assert_unfit(pg::server::examine(&pool_at(lossy.url())).await);
        let on = [settings, &keeping].concat();
        let kept = db.pgbouncer(&on).await.unwrap();
        let pool = pool_at(kept.url());
        assert!(pg::server::examine(&pool).await.unwrap().is_pooled, "{settings:?}");
        join_all((0..8).map(|_| assert_settings_of_all(&pool))).await;
    }
}

#[tokio::test]
async fn pgbouncer_in_session_mode_is_no_pooler() {
    let db = hostile_database().await;
    let Some(pgbouncer) = db.pgbouncer(&[("pool_mode", "session"), ("default_pool_size", "5")]).await else {
        return skip_without("PgBouncer");
    };
    let pool = pool_at(pgbouncer.url());
    assert!(!pg::server::examine(&pool).await.unwrap().is_pooled);
    let mut conn = pool.get().await.unwrap();
    assert_settings(&mut conn, &[Stated::WithBegin, Stated::BySession], "2s").await;
}

#[tokio::test]
async fn a_pooler_is_not_blamed_for_other_errors() {
    let db = hostile_database().await;
    let deny = "REVOKE EXECUTE ON FUNCTION pg_backend_pid() FROM PUBLIC";
    db.run_as_superuser(deny).await;
    let error = pg::server::examine(&pool_at(db.url())).await.unwrap_err();
    assert!(matches!(error, DbError::Statement(_)), "{error:?}");
}

#[tokio::test]
async fn hazards_of_a_server_are_named() {
    let db = TestDb::create(&[], &[]).await;
    let server = pg::server::examine(db.pool()).await.unwrap();
    assert_eq!(server.hazards, ["fsync = off", "full_page_writes = off"]);
}

#[tokio::test]
async fn a_server_without_triggers_is_refused() {
    let db = TestDb::create(&[], &[]).await;
    db.set_defaults(&[("session_replication_role", "replica")]).await;
    let error = pg::server::examine(&pool_at(db.url())).await.unwrap_err();
    assert!(matches!(&error, DbError::Unfit(why) if why.contains("session_replication_role")), "{error:?}");
}

//! What server, database and role have for defaults does not reach the service.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use pg::{
    Patience, Pool, PoolSettings, Tx,
    session::{SETTINGS, Stated},
};
use testkit::TestDb;

use crate::{server::Folder, support::ask_pool};

/// What the service does not want, one for each setting that it states.
pub const HOSTILE: &[(&str, &str)] = &[
    ("search_path", "'nowhere, pg_catalog'"),
    ("row_security", "on"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("DateStyle", "'SQL, DMY'"),
    ("IntervalStyle", "sql_standard"),
    ("standard_conforming_strings", "off"),
    ("jit", "on"),
    ("plan_cache_mode", "force_custom_plan"),
    ("enable_seqscan", "on"),
    ("enable_hashjoin", "on"),
    ("enable_mergejoin", "on"),
    ("enable_nestloop", "off"),
    ("enable_indexscan", "off"),
    ("enable_indexonlyscan", "off"),
    ("enable_bitmapscan", "off"),
    ("default_transaction_isolation", "'repeatable read'"),
    ("timezone_abbreviations", "'Australia'"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("quote_all_identifiers", "on"),
    ("bytea_output", "escape"),
    ("extra_float_digits", "'-5'"),
    ("exit_on_error", "on"),
    ("idle_session_timeout", "'1min'"),
    ("statement_timeout", "'3min'"),
    ("lock_timeout", "'3min'"),
    ("idle_in_transaction_session_timeout", "'3min'"),
    ("synchronous_commit", "off"),
];

/// A database in which the role of the service has other defaults, as an operator may set them.
async fn hostile_database(settings: &[(&str, &str)]) -> TestDb {
    let db = TestDb::create(&[], &[]).await;
    db.set_defaults(settings).await;
    db
}

pub async fn show(conn: &mut AsyncPgConnection, expression: &str) -> String {
    testkit::ask_texts(conn, &format!("SELECT {expression}")).await.unwrap().remove(0)
}

pub async fn assert_settings(conn: &mut AsyncPgConnection, stated: &[Stated], lock_timeout: &str) {
    let fixed = SETTINGS
        .iter()
        .filter(|setting| stated.contains(&setting.stated))
        .map(|setting| (setting.name, setting.value));
    let others = [
        ("statement_timeout", "20s"),
        ("lock_timeout", lock_timeout),
        ("idle_in_transaction_session_timeout", "1min"),
        ("synchronous_commit", "on"),
    ];
    let mut wrong = Vec::new();
    for (name, value) in fixed.chain(others) {
        let found = show(conn, &format!("current_setting('{name}')")).await;
        // `quote_all_identifiers` of the role is at work when a list is set.
        let found = found.replace('"', "");
        if found != value {
            wrong.push(format!("{name} is {found} instead of {value}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub fn hot(pool: &Pool) -> Pool {
    let patience =
        Patience { lock_timeout: Duration::from_millis(250), statement_timeout: Duration::from_secs(20) };
    pool.sibling_on(tokio::runtime::Handle::current(), 2, patience).unwrap()
}

const ALL: [Stated; 2] = [Stated::WithBegin, Stated::BySession];

#[tokio::test]
async fn defaults_of_the_role_reach_no_session_of_either_pool() {
    let db = hostile_database(HOSTILE).await;
    let pool = db.pool_of(2);
    for (pool, patience) in [(&hot(&pool), "250ms"), (&pool, "2s")] {
        assert_settings(&mut pool.get().await.unwrap(), &ALL, patience).await;
        let mut tx = Tx::begin(pool).await.unwrap();
        assert_settings(tx.conn(), &ALL, patience).await;
        assert_eq!(isolation(&mut tx).await, "read committed");
        tx.rollback().await;
        let mut tx = Tx::snapshot(pool).await.unwrap();
        assert_settings(tx.conn(), &ALL, patience).await;
        assert_eq!(isolation(&mut tx).await, "repeatable read");
        tx.rollback().await;
    }
}

async fn isolation(tx: &mut Tx) -> String {
    show(tx.conn(), "current_setting('transaction_isolation')").await
}

#[tokio::test]
async fn settings_that_a_pooler_resets_are_stated_again_with_each_transaction() {
    let db = hostile_database(HOSTILE).await;
    let pool = db.pool_of(1);
    for (pool, patience) in [(&hot(&pool), "250ms"), (&pool, "2s")] {
        for _ in 0..2 {
            pool.get().await.unwrap().batch_execute("RESET ALL").await.unwrap();
            let mut tx = Tx::begin(pool).await.unwrap();
            assert_settings(tx.conn(), &[Stated::WithBegin], patience).await;
            assert_eq!(isolation(&mut tx).await, "read committed");
            tx.commit().await.unwrap();
        }
        let mut conn = pool.get().await.unwrap();
        assert_eq!(
            show(&mut conn, "current_setting('jit')").await,
            "on",
            "SET LOCAL ends with the transaction"
        );
    }
}

#[tokio::test]
async fn commits_that_the_operator_made_stronger_stay_so() {
    for (set, found) in [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")] {
        let db = hostile_database(&[("synchronous_commit", set)]).await;
        let pool = db.pool_of(1);
        let setting = "current_setting('synchronous_commit')";
        assert_eq!(show(&mut pool.get().await.unwrap(), setting).await, found);
        pool.get().await.unwrap().batch_execute("RESET ALL").await.unwrap();
        let mut tx = Tx::begin(&pool).await.unwrap();
        assert_eq!(show(tx.conn(), setting).await, found);
        tx.rollback().await;
    }
}

/// Committed data is written, though the role says `off` and the background writer sleeps long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_survives_a_crash_of_the_server_whatever_the_role_says() {
    let server = Folder::new().start(&[("wal_writer_delay", "10s")]);
    let prepare = "CREATE TABLE public.kept (n int); GRANT ALL ON public.kept TO app; \
                   ALTER ROLE app SET synchronous_commit = off";
    server.run_as_superuser(prepare).await;

    let pool = Pool::new(&PoolSettings::new(server.role_url())).unwrap();
    let mut tx = Tx::begin(&pool).await.unwrap();
    tx.conn().batch_execute("INSERT INTO public.kept VALUES (1)").await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("INSERT INTO public.kept VALUES (2)").await.unwrap();
    drop((conn, pool));

    let server = tokio::task::spawn_blocking(|| server.crash_and_restart()).await.unwrap();
    let pool = Pool::new(&PoolSettings::new(server.role_url())).unwrap();
    let kept = "SELECT count(*) FROM public.kept";
    assert_eq!(ask_pool(&pool, kept).await, 2);
}

/// A database that an operator, or a host whose disk fills up, has made read-only is not written to.
#[tokio::test]
async fn a_database_that_was_made_read_only_stays_so() {
    let db = hostile_database(&[("default_transaction_read_only", "on")]).await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    let error = tx.conn().batch_execute("CREATE TABLE public.t ()").await.unwrap_err();
    assert!(matches!(pg::DbError::from(error), pg::DbError::NotNow(_)));
    tx.rollback().await;
}

/// Triggers that a default switches off are switched on again, where the role has the right to it.
#[tokio::test]
async fn triggers_are_on_where_the_role_may_switch_them() {
    let db = hostile_database(&[]).await;
    let setting = "current_setting('session_replication_role')";
    let mut conn = db.connect_as_superuser().await;
    let database = show(&mut conn, "current_database()").await;
    let off = format!("ALTER DATABASE {database} SET session_replication_role = replica");
    conn.batch_execute(&off).await.unwrap();
    assert_eq!(show(&mut *db.connect_as_superuser().await, setting).await, "origin");
    assert_eq!(show(&mut db.second_pool().get().await.unwrap(), setting).await, "replica");
}

#[test]
fn every_setting_has_a_hostile_value_here_and_a_reason_in_the_readme() {
    let readme = include_str!("../README.md");
    let others = ["statement_timeout", "lock_timeout", "synchronous_commit", "transaction_timeout"];
    for name in SETTINGS.iter().map(|setting| setting.name).chain(others) {
        assert!(readme.contains(&format!("`{name}`")), "{name} is missing in README.md");
        if name != "transaction_timeout" {
            assert!(HOSTILE.iter().any(|(hostile, _)| *hostile == name), "{name}");
        }
    }
}

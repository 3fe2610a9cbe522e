//! The migrations since the last release, beside traffic of the version before.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use pg::{Migration, Pool, migrate};
use testkit::TestDb;

/// The first time that belongs to no released migration.
const UNRELEASED: &str = "20261130";

fn split() -> (Vec<Migration>, Vec<Migration>) {
    migrate::merge(flows::MIGRATIONS).into_iter().partition(|migration| migration.name < UNRELEASED)
}

/// The schema of the version before, with a user who has an account.
async fn database_before() -> TestDb {
    let (before, _) = split();
    let db = TestDb::create(&[&before], &[]).await;
    db.connect()
        .await
        .batch_execute(
            "INSERT INTO identity.users (user_id, created_at, updated_at) VALUES ('a', now(), now()); \
             INSERT INTO credits.accounts (user_id, created_at, as_of) VALUES ('a', now(), now())",
        )
        .await
        .unwrap();
    db
}

/// The beginning of a batch of the version before: the users are read first.
const USERS: &str = "BEGIN; SET LOCAL lock_timeout = 0; SELECT * FROM identity.users WHERE user_id = 'a'";
/// Its further tables, in an order that differs from that of the migrations.
const FURTHER: &str = "SELECT * FROM credits.accounts WHERE user_id = 'a' FOR UPDATE; \
    SELECT * FROM credits.idempotency WHERE user_id = 'a'; SELECT * FROM credits.holds WHERE user_id = 'a'; \
    SELECT * FROM credits.budgets WHERE user_id = 'a'; SELECT * FROM usage.dedupe WHERE user_id = 'a'; \
    SELECT * FROM usage.records WHERE user_id = 'a'; \
    UPDATE credits.accounts SET as_of = now() WHERE user_id = 'a'; COMMIT";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_began_before_a_migration_and_the_migration_both_finish() {
    let db = database_before().await;
    let mut batch = db.connect().await;
    batch.batch_execute(USERS).await.unwrap();
    let pool = db.second_pool();
    let run = tokio::spawn(async move { migrate::run(&pool, flows::MIGRATIONS).await });
    db.wait_for_waiting(1).await;
    batch.batch_execute(FURTHER).await.unwrap();
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.applied.len(), split().1.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_go_through_beside_traffic_and_fail_no_transaction() {
    let db = database_before().await;
    let (done, traffic) = (Arc::new(AtomicBool::new(false)), db.pool_of(6));
    let batches: Vec<_> =
        (0..6).map(|_| tokio::spawn(batches_until(traffic.clone(), Arc::clone(&done)))).collect();
    let report = migrate::run(db.pool(), flows::MIGRATIONS).await;
    done.store(true, Ordering::Relaxed);
    for batch in batches {
        assert!(batch.await.unwrap() > 0);
    }
    assert_eq!(report.unwrap().applied.len(), split().1.len());
}

/// Does batches one after another and counts them.
async fn batches_until(pool: Pool, done: Arc<AtomicBool>) -> u64 {
    let mut conn = pool.get().await.unwrap();
    let mut count = 0;
    while count == 0 || !AtomicBool::load(&done, Ordering::Relaxed) {
        conn.batch_execute(USERS).await.unwrap();
        conn.batch_execute(FURTHER).await.unwrap();
        count += 1;
    }
    count
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Text)]
    locked: String,
}

/// Tables of before on which this transaction has a lock that keeps readers out, a partition as its table; with a mark
/// if it read the table.
const LOCKED: &str = "
SELECT DISTINCT coalesce(i.inhparent, l.relation)::regclass::text || CASE WHEN s.seq_scan > 0 THEN ' (scanned)' ELSE '' END AS locked
FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation LEFT JOIN pg_inherits AS i ON i.inhrelid = l.relation
LEFT JOIN pg_stat_xact_user_tables AS s ON s.relid = l.relation
WHERE l.pid = pg_backend_pid() AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p') AND c.oid < $1::oid ORDER BY 1";

async fn locked(conn: &mut AsyncPgConnection, made_before: &str) -> Vec<String> {
    let rows: Vec<Locked> = diesel::sql_query(LOCKED).bind::<Text, _>(made_before).load(conn).await.unwrap();
    rows.into_iter().map(|row| row.locked).collect()
}

/// Two tables locked in one transaction make a deadlock with traffic that uses them in the other order, and a scan under
/// such a lock stops everybody for as long as the table is large.
#[tokio::test]
async fn a_migration_keeps_readers_out_of_one_table_at_most_and_reads_none_meanwhile() {
    let db = database_before().await;
    let mut breaches = Vec::new();
    for migration in split().1 {
        // A session of its own, because the counts of scans begin with it.
        let mut conn = db.connect().await;
        let mark = "CREATE TABLE public.mark (); SELECT 1";
        conn.batch_execute(mark).await.unwrap();
        let oid: Vec<Locked> = diesel::sql_query("SELECT 'public.mark'::regclass::oid::text AS locked")
            .load(&mut conn)
            .await
            .unwrap();
        conn.batch_execute("DROP TABLE public.mark; BEGIN").await.unwrap();
        conn.batch_execute(migration.up).await.unwrap();
        let tables = locked(&mut conn, &oid[0].locked).await;
        conn.batch_execute("COMMIT").await.unwrap();
        if tables.len() > 1 || tables.iter().any(|table| table.ends_with("(scanned)")) {
            breaches.push(format!("{}: {}", migration.name, tables.join(", ")));
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

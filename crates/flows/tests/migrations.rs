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
    db.run(
        "INSERT INTO identity.users (user_id, created_at, updated_at) VALUES ('a', now(), now()); \
             INSERT INTO credits.accounts (user_id, created_at, as_of) VALUES ('a', now(), now())",
    )
    .await;
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

/// The time of the first migration of `idempotency`.
const KEYS_MOVE: &str = "20261130090000";

/// Statements of a version that keeps keys in the ledger: it looks up, adds the first use of a key, and that of another class.
const OLD_LOOK_UP: &str = "
SELECT string_agg(i.key || ' ' || coalesce(i.caller, 'any') || ' ' || (i.outcome ->> 'v'), ', ' ORDER BY i.key, i.caller) AS locked
FROM (SELECT f.user_id, f.key, f.caller, f.outcome FROM credits.idempotency f
    UNION ALL SELECT s.user_id, s.key, s.caller, s.outcome FROM credits.idempotency_shared s) AS i WHERE i.user_id = $1";
const OLD_INSERTS: [&str; 2] = [
    "INSERT INTO credits.idempotency (user_id, key, fingerprint, created_at, transaction_id, usage_record_id, outcome, caller)
    SELECT 'a', n.key, sha256('x'), now(), gen_random_uuid(), NULL, '{\"v\": 1}'::jsonb, n.caller
    FROM unnest(ARRAY['later'], ARRAY['user']) AS n (key, caller)",
    "INSERT INTO credits.idempotency_shared (user_id, key, fingerprint, created_at, transaction_id, usage_record_id, outcome, caller)
    SELECT 'a', n.key, sha256('x'), now(), gen_random_uuid(), NULL, '{\"v\": 1}'::jsonb, n.caller
    FROM unnest(ARRAY['later'], ARRAY['service']) AS n (key, caller)",
];
/// A row that it prunes by the key alone could be the answer of another class.
const OLD_PRUNE: &str = "
WITH old AS MATERIALIZED (
    SELECT user_id, key, transaction_id FROM credits.idempotency
    WHERE outcome IS NOT NULL ORDER BY created_at LIMIT 10 FOR UPDATE SKIP LOCKED),
refusals AS (DELETE FROM credits.idempotency AS i USING old
    WHERE old.transaction_id IS NULL AND i.user_id = old.user_id AND i.key = old.key RETURNING i.key)
SELECT count(*)::text AS locked FROM refusals";

#[tokio::test]
async fn keys_move_with_their_rows_and_versions_that_know_the_old_tables_go_on() {
    let (before, after): (Vec<Migration>, Vec<Migration>) =
        migrate::merge(flows::MIGRATIONS).into_iter().partition(|migration| migration.name < KEYS_MOVE);
    let db = TestDb::create(&[&before], &[]).await;
    let mut conn = db.connect().await;
    conn.batch_execute(
        "INSERT INTO credits.idempotency (user_id, key, fingerprint, created_at, transaction_id, outcome, caller) VALUES
            ('a', 'both', sha256('x'), now(), gen_random_uuid(), '{\"v\": 1}', 'user'),
            ('a', 'former', sha256('x'), now(), gen_random_uuid(), '{\"v\": 1}', NULL),
            ('a', 'pruned', sha256('x'), now(), gen_random_uuid(), NULL, 'user');
         INSERT INTO credits.idempotency_shared (user_id, key, fingerprint, created_at, transaction_id, outcome, caller) VALUES
            ('a', 'both', sha256('x'), now(), gen_random_uuid(), '{\"v\": 1}', 'service')",
    )
    .await
    .unwrap();
    let look_up = async |conn: &mut AsyncPgConnection| -> String {
        let row: Locked = diesel::sql_query(OLD_LOOK_UP).bind::<Text, _>("a").get_result(conn).await.unwrap();
        row.locked
    };
    let known = look_up(&mut conn).await;
    assert_eq!(known, "both service 1, both user 1, former any 1");
    // On the connection of a running gateway, whose statements are prepared.
    migrate::run(db.pool(), flows::MIGRATIONS).await.unwrap();
    assert_eq!(look_up(&mut conn).await, known);
    for insert in OLD_INSERTS {
        assert_eq!(diesel::sql_query(insert).execute(&mut conn).await.unwrap(), 1);
    }
    let known = format!("{known}, later service 1, later user 1");
    assert_eq!(look_up(&mut conn).await, known);
    let twice = diesel::sql_query(OLD_INSERTS[1]).execute(&mut conn).await.unwrap_err().to_string();
    assert!(twice.contains("answers_key"), "{twice}");
    let pruning = diesel::sql_query(OLD_PRUNE).execute(&mut conn).await.unwrap_err().to_string();
    assert!(pruning.contains("cannot perform DELETE RETURNING"), "{pruning}");

    let user = testkit::user("a");
    let status = async |conn: &pg::PgConnection, key: &str, fingerprint: u8, caller| {
        let fingerprint = match fingerprint {
            // SHA-256 of "x".
            0 => *b"\x2d\x71\x16\x42\xb7\x26\xb0\x44\x01\x62\x7c\xa9\xfb\xac\x32\xf5\xc8\x53\x0f\xb1\x90\x3c\xc4\xdb\x02\x25\x87\x17\x92\x1a\x48\x81",
            other => [other; 32],
        };
        let key = kernel::IdempotencyKey::new(key, fingerprint).unwrap();
        let request = idempotency::KeyedRequest { user_id: &user, key: &key, caller };
        let keys = idempotency::look_up(conn, [request]).await.unwrap();
        match keys.status(request) {
            idempotency::KeyStatus::New => "new",
            idempotency::KeyStatus::Answered(answer) => match answer.content {
                idempotency::Content::Whole { .. } => "answered",
                idempotency::Content::Pruned(_) => "pruned",
            },
            idempotency::KeyStatus::InBatch(_) => "in batch",
            idempotency::KeyStatus::Conflict(_) => "conflict",
        }
    };
    use kernel::CallerClass::{Service, User};
    for (key, fingerprint, caller, expected) in [
        ("both", 0, User, "answered"),
        ("both", 0, Service, "answered"),
        ("both", 1, Service, "conflict"),
        ("former", 0, User, "answered"),
        ("former", 0, Service, "answered"),
        ("former", 1, User, "new"),
        ("pruned", 0, User, "pruned"),
        ("pruned", 0, Service, "new"),
        ("later", 0, User, "answered"),
        ("later", 0, Service, "answered"),
        ("none", 0, User, "new"),
    ] {
        assert_eq!(status(&conn, key, fingerprint, caller).await, expected, "{key} {caller:?}");
    }

    // And the way back, for a release that goes wrong: nothing that was done is forgotten.
    for migration in after.iter().rev() {
        conn.batch_execute(migration.down).await.unwrap();
    }
    assert_eq!(look_up(&mut conn).await, known);
}

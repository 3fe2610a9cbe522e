//! Databases are fresh, private, audited and removed.

use diesel::{QueryableByName, sql_types::BigInt, sql_types::Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use pg::{Audit, Migration};
use testkit::{TestDb, audit_now};

const MIGRATIONS: &[Migration] = &[Migration {
    name: "20260101000000_create_things",
    up: "CREATE SCHEMA things; CREATE TABLE things.things (id bigint PRIMARY KEY)",
    down: "DROP SCHEMA things CASCADE",
}];

const AUDITS: &[Audit] = &[Audit {
    rule: "things are positive",
    sql: "SELECT id::text AS subject, 'is not positive' AS detail FROM things.things WHERE id <= 0 LIMIT 10",
}];

async fn insert(db: &TestDb, id: i64) {
    let sql = format!("INSERT INTO things.things VALUES ({id})");
    db.run(&sql).await;
}

async fn count(db: &TestDb) -> i64 {
    db.ask("SELECT count(*) FROM things.things").await
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, two) =
        (TestDb::create(&[MIGRATIONS], &[AUDITS]).await, TestDb::create(&[MIGRATIONS], &[AUDITS]).await);
    insert(&one, 1).await;
    assert_eq!((count(&one).await, count(&two).await), (1, 0));
    assert!(pg::migrate::pending(two.pool(), &[MIGRATIONS]).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_role_is_ordinary_and_owns_the_database() {
    #[derive(QueryableByName)]
    struct Role {
        #[diesel(sql_type = Text)]
        role: String,
        #[diesel(sql_type = BigInt)]
        superuser: i64,
    }
    let db = TestDb::create(&[MIGRATIONS], &[]).await;
    let found: Role = pg::sql(
        "SELECT rolname::text AS role, rolsuper::int::bigint AS superuser FROM pg_database \
         JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = current_database() AND rolname = current_user",
    )
    .get_result(&mut db.connect().await)
    .await
    .unwrap();
    assert_eq!((found.role.as_str(), found.superuser), ("app", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_fail_the_test_when_it_ends() {
    let db = TestDb::create(&[MIGRATIONS], &[AUDITS]).await;
    insert(&db, -1).await;
    let panic = std::thread::spawn(move || drop(db)).join().unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("things are positive: -1: is not positive"), "{message}");
}

#[tokio::test]
async fn violations_are_found_in_the_middle_of_a_test() {
    let mut db = TestDb::create(&[MIGRATIONS], &[AUDITS]).await;
    insert(&db, 1).await;
    audit_now(&db);
    insert(&db, 0).await;
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| audit_now(&db))).is_err());
    db.forgo_audits();
}

#[tokio::test]
async fn the_database_is_gone_afterwards_even_with_open_transactions() {
    let survivor = TestDb::create(&[MIGRATIONS], &[]).await;
    let db = TestDb::create(&[MIGRATIONS], &[AUDITS]).await;
    let name = db.url().rsplit_once('/').unwrap().1.to_owned();
    let mut conn = db.connect().await;
    conn.batch_execute("BEGIN; INSERT INTO things.things VALUES (-5)").await.unwrap();
    drop(db);
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(survivor.ask(&left).await, 0);
    assert!(conn.batch_execute("SELECT 1").await.is_err());
}

#[test]
fn a_database_outlives_the_runtime_it_was_made_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let db = runtime.block_on(TestDb::create(&[MIGRATIONS], &[AUDITS]));
    runtime.block_on(insert(&db, 1));
    drop(runtime);
    audit_now(&db);
}

//! The schema itself: its way back, and audits that find what they look for.

use diesel_async::SimpleAsyncConnection;
use kernel::Scope;
use testkit::{ask, user};

use crate::support::House;

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_removes_everything_and_may_be_gone_again() {
    let house = House::build().await;
    let mut conn = house.pool().get().await.unwrap();
    for migration in sessions::MIGRATIONS.iter().rev() {
        conn.batch_execute(migration.down).await.unwrap();
    }
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'sessions'";
    assert_eq!(ask(&mut conn, left).await.unwrap(), 0);
    for migration in sessions::MIGRATIONS {
        conn.batch_execute(migration.up).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audits_find_each_kind_of_damage() {
    for (damage, expected) in [
        ("UPDATE sessions.sessions SET message_count = 9", vec![0]),
        ("UPDATE sessions.sessions SET total_tokens = 1", vec![0]),
        ("UPDATE sessions.sessions SET total_cost = 1", vec![0]),
        ("UPDATE sessions.messages SET seq = 7 WHERE seq = 3", vec![1]),
        ("UPDATE sessions.messages SET created_at = created_at - interval '1 h' WHERE seq = 2", vec![3]),
        (
            "UPDATE sessions.sessions SET last_activity = last_activity + interval '1 s', \
                 updated_at = updated_at + interval '1 s'",
            vec![4],
        ),
    ] {
        let mut house = House::build().await;
        let session = house.session(&user("auth0|a")).await;
        let new = [(); 3].map(|()| house.message_to(session.session_id, Scope::Any));
        house.add(&new).await;
        testkit::audit_now(&house.db);
        house.db.forgo_audits();
        let mut conn = house.pool().get().await.unwrap();
        conn.batch_execute(damage).await.unwrap();
        let found = pg::audit::run(&mut conn, sessions::AUDITS).await.unwrap();
        let rules: Vec<&str> = found.iter().map(|violation| violation.rule).collect();
        let expected: Vec<&str> = expected.iter().map(|nth: &usize| sessions::AUDITS[*nth].rule).collect();
        assert_eq!(rules, expected, "{damage}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audits_find_messages_without_session() {
    let mut house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    house.add(&[house.message(&session)]).await.remove(0).unwrap();
    house.db.forgo_audits();
    let mut conn = house.pool().get().await.unwrap();
    conn.batch_execute(
        "ALTER TABLE sessions.messages DROP CONSTRAINT messages_session_fkey; DELETE FROM sessions.sessions",
    )
    .await
    .unwrap();
    let found = pg::audit::run(&mut conn, sessions::AUDITS).await.unwrap();
    let rules: Vec<&str> = found.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules, [sessions::AUDITS[2].rule]);
}

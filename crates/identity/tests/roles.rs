//! The administrators of the configuration, against a real PostgreSQL.

use identity::{Role, RoleChanges, StatusQuery, users};
use kernel::{Clock as _, ManualClock, UserId};
use pg::{Pool, Tx};
use testkit::TestDb;
use time::Duration;

/// A database with users of these ids, made by hand: who decides a role is not for callers to say.
async fn database(ids: &[&str]) -> TestDb {
    let db = TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await;
    for id in ids {
        insert(&db, id, "role", "'user'").await;
    }
    db
}

async fn insert(db: &TestDb, id: &str, columns: &str, values: &str) {
    let sql = format!(
        "INSERT INTO identity.users (user_id, created_at, updated_at, {columns}) \
         VALUES ('{id}', '2026-01-15T12:00Z', '2026-01-15T12:00Z', {values})"
    );
    db.run(&sql).await;
}

fn ids(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| testkit::user(name)).collect()
}

fn changes(promoted: &[&str], demoted: &[&str]) -> RoleChanges {
    RoleChanges { promoted: ids(promoted), demoted: ids(demoted) }
}

/// Applies a list as a start does.
async fn apply(pool: &Pool, clock: &ManualClock, listed: &[UserId]) -> RoleChanges {
    let mut tx = Tx::begin(pool).await.unwrap();
    let changes = users::apply_admins(&mut tx, clock, listed).await.unwrap();
    tx.commit().await.unwrap();
    changes
}

async fn admins(db: &TestDb, of: &[&str]) -> Vec<bool> {
    let conn = db.connect().await;
    let asked: Vec<_> = ids(of).iter().map(StatusQuery::user).collect();
    let statuses = users::statuses(&conn, &asked).await.unwrap();
    statuses.into_iter().map(|standing| standing.user.unwrap().role == Role::Admin).collect()
}

#[tokio::test]
async fn exactly_those_listed_are_administrators() {
    let (db, clock) = (database(&["a", "b", "c", "A"]).await, testkit::clock());
    // A clock that is behind must not change a user before they were created.
    clock.advance(-Duration::hours(1));
    let all = ["a", "b", "c", "A"];
    for (listed, expected, roles) in [
        (&["b", "a", "nobody", "a"][..], changes(&["a", "b"], &[]), [true, true, false, false]),
        (&["a", "b", "nobody"][..], changes(&[], &[]), [true, true, false, false]),
        (&["b", "c"][..], changes(&["c"], &["a"]), [false, true, true, false]),
        (&[][..], changes(&[], &["b", "c"]), [false, false, false, false]),
        (&[][..], changes(&[], &[]), [false, false, false, false]),
    ] {
        assert_eq!(apply(db.pool(), &clock, &ids(listed)).await, expected, "{listed:?}");
        assert_eq!(admins(&db, &all).await, roles, "{listed:?}");
    }
    let audited = "SELECT count(*) FROM identity.audit_events WHERE actor = 'system' AND action = 'role.changed' \
                   AND details->>'source' = 'configuration' AND details->>'to' = ";
    assert_eq!(db.ask(&format!("{audited}'admin'")).await, 3, "a, b and c, each once");
    assert_eq!(db.ask(&format!("{audited}'user'")).await, 3);
    clock.advance(Duration::hours(3));
    apply(db.pool(), &clock, &ids(&["a"])).await;
    let user = users::find(&mut *db.connect().await, &testkit::user("a")).await.unwrap();
    assert_eq!(user.unwrap().updated_at, clock.now());
}

#[tokio::test]
async fn who_was_promoted_otherwise_is_left_alone() {
    let (db, clock) = (database(&[]).await, testkit::clock());
    insert(&db, "promoted", "role, role_source", "'admin', 'promotion'").await;
    insert(&db, "demoted", "role, role_source", "'user', 'promotion'").await;
    let both = ["promoted", "demoted"];
    assert_eq!(apply(db.pool(), &clock, &[]).await, changes(&[], &[]));
    assert_eq!(admins(&db, &both).await, [true, false]);
    // The list decides about who is on it, also after another decision.
    assert_eq!(apply(db.pool(), &clock, &ids(&both)).await, changes(&["demoted"], &[]));
    assert_eq!(apply(db.pool(), &clock, &[]).await, changes(&[], &["demoted"]));
    assert_eq!(admins(&db, &both).await, [true, false]);
}

#[tokio::test]
async fn roles_from_before_count_as_those_of_the_configuration() {
    let (db, clock) = (database(&[]).await, testkit::clock());
    let found = identity::MIGRATIONS.iter().find(|one| one.name.ends_with("note_role_source"));
    let migration = found.unwrap();
    db.run(migration.down).await;
    insert(&db, "old", "role", "'admin'").await;
    db.run(migration.up).await;
    assert_eq!(apply(db.pool(), &clock, &[]).await, changes(&[], &["old"]));
}

#[tokio::test]
async fn of_processes_that_start_at_once_the_last_list_decides_and_none_fails() {
    let (db, clock) = (database(&["a", "b", "c"]).await, testkit::clock());
    apply(db.pool(), &clock, &ids(&["c"])).await;
    let mut first = Tx::begin(db.pool()).await.unwrap();
    let promoted = users::apply_admins(&mut first, &clock, &ids(&["a"])).await.unwrap();
    assert_eq!(promoted, changes(&["a"], &["c"]));
    // Without waiting the second one would not see the first administrator, and both would stay.
    let end = async {
        db.wait_for_waiting(1).await;
        first.commit().await.unwrap();
    };
    let listed = ids(&["b", "c"]);
    let (last, ()) = tokio::join!(apply(db.pool(), &clock, &listed), end);
    assert_eq!(last, changes(&["b", "c"], &["a"]));
    assert_eq!(admins(&db, &["a", "b", "c"]).await, [false, true, true]);
}

#[tokio::test]
async fn an_administrator_with_an_id_that_is_not_given_any_more_is_demoted() {
    let (db, clock) = (database(&[]).await, testkit::clock());
    for id in ["me", ".."] {
        insert(&db, id, "role", "'admin'").await;
    }
    let demoted = ["..", "me"].map(|id| UserId::stored(id).unwrap()).to_vec();
    let expected = RoleChanges { promoted: Vec::new(), demoted };
    assert_eq!(apply(db.pool(), &clock, &[]).await, expected);
}

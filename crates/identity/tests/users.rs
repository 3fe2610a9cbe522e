//! Users, against a real PostgreSQL.

use futures_util::future::join_all;
use identity::{
    Activity, EmailVoucher, Ensured, IdentityRefusal, NewUser, Plan, Role, User,
    users::{self, UserChange, UserChanged},
};
use kernel::{Clock, Detail, Failure, Kind, ManualClock, UserId};
use pg::{DbError, Pool, Tx};
use testkit::TestDb;
use time::Duration;

async fn database() -> TestDb {
    TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await
}

/// A user whose address a service gives.
fn new_user(id: &str, email: &str) -> NewUser {
    NewUser {
        user_id: testkit::user(id),
        email: Some(email.to_owned()),
        email_voucher: EmailVoucher::Staff,
        name: Some("Test User".to_owned()),
        role: Role::User,
        brought_by: None,
    }
}

/// Signs up in a transaction of its own.
async fn ensure(pool: &Pool, clock: &ManualClock, new: &NewUser) -> Result<Ensured, IdentityRefusal> {
    let mut tx = Tx::begin(pool).await.unwrap();
    let outcome = users::ensure(&mut tx, clock, new).await.unwrap();
    tx.commit().await.unwrap();
    outcome
}

async fn find(pool: &Pool, id: &str) -> Option<User> {
    users::find(&mut pool.get().await.unwrap(), &testkit::user(id)).await.unwrap()
}

#[tokio::test]
async fn a_new_user_is_what_was_asked_for() {
    let (db, clock) = (database().await, testkit::clock());
    let ensured = ensure(db.pool(), &clock, &new_user("auth0|test123", "Test@Example.com")).await.unwrap();
    assert!(ensured.created);
    let expected = User {
        id: ensured.user.id,
        user_id: testkit::user("auth0|test123"),
        email: Some("Test@Example.com".to_owned()),
        email_vouched: true,
        name: Some("Test User".to_owned()),
        avatar_url: None,
        role: Role::User,
        plan: Plan::Free,
        is_active: true,
        last_seen_at: None,
        created_at: clock.now(),
        updated_at: clock.now(),
    };
    assert_eq!(ensured.user, expected);
    assert!(ensured.user.id > 0);
    assert_eq!(find(db.pool(), "auth0|test123").await, Some(expected));
    assert_eq!(find(db.pool(), "auth0|TEST123").await, None);
}

#[tokio::test]
async fn an_existing_user_is_returned_unchanged() {
    let (db, clock) = (database().await, testkit::clock());
    let first = ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap();
    ensure(db.pool(), &clock, &new_user("b", "b@example.com")).await.unwrap();
    clock.advance(Duration::days(1));
    // Not even an address that somebody else has matters to a user who is there.
    for email in ["other@example.com", "b@example.com"] {
        let repeated = NewUser { name: Some("Other".to_owned()), role: Role::Admin, ..new_user("a", email) };
        let again = ensure(db.pool(), &clock, &repeated).await.unwrap();
        assert_eq!(again, Ensured { user: first.user.clone(), created: false });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_first_calls_make_one_user() {
    let (db, clock) = (database().await, testkit::clock());
    let new = new_user("auth0|race", "race@example.com");
    let outcomes = join_all((0..50).map(|_| {
        let (pool, clock, new) = (db.pool().clone(), clock.clone(), new.clone());
        tokio::spawn(async move { ensure(&pool, &clock, &new).await })
    }))
    .await;
    let ensured: Vec<Ensured> = outcomes.into_iter().map(|outcome| outcome.unwrap().unwrap()).collect();
    assert_eq!(ensured.iter().filter(|one| one.created).count(), 1);
    assert!(ensured.iter().all(|one| one.user == ensured[0].user));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_users_with_one_address_one_gets_it() {
    let (db, clock) = (database().await, testkit::clock());
    let outcomes = join_all((0..50).map(|number| {
        let email = if number % 2 == 0 { "one@example.com" } else { "ONE@Example.COM" };
        let (pool, clock, new) = (db.pool().clone(), clock.clone(), new_user(&format!("u{number}"), email));
        tokio::spawn(async move { ensure(&pool, &clock, &new).await })
    }))
    .await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(IdentityRefusal::EmailTaken)).count(), 49);
}

#[tokio::test]
async fn a_taken_address_is_refused_and_nothing_is_changed() {
    let (db, clock) = (database().await, testkit::clock());
    ensure(db.pool(), &clock, &new_user("a", "Test@Example.com")).await.unwrap();
    for email in ["Test@Example.com", "test@example.com", "TEST@EXAMPLE.COM"] {
        let refusal = ensure(db.pool(), &clock, &new_user("b", email)).await.unwrap_err();
        assert_eq!(refusal, IdentityRefusal::EmailTaken);
        assert_eq!((refusal.code(), refusal.kind()), ("DuplicateEntryException", Kind::Refused));
        assert_eq!(refusal.details(), [("field", Detail::Text("email".to_owned()))]);
    }
    assert_eq!(find(db.pool(), "b").await, None);
    assert!(ensure(db.pool(), &clock, &new_user("b", "test@example.com ")).await.unwrap().created);
}

#[tokio::test]
async fn letters_beyond_a_to_z_are_compared_without_case_too() {
    let (db, clock) = (database().await, testkit::clock());
    for (nth, first, same) in [
        (0, "Ärger@example.com", "ärger@EXAMPLE.com"),
        (1, "жук@example.com", "ЖУК@example.com"),
        (2, "i@example.com", "I@example.com"),
    ] {
        let one = ensure(db.pool(), &clock, &new_user(&format!("one{nth}"), first)).await;
        assert_eq!(one.unwrap().user.email.as_deref(), Some(first));
        let other = ensure(db.pool(), &clock, &new_user(&format!("other{nth}"), same)).await;
        assert_eq!(other, Err(IdentityRefusal::EmailTaken), "{same}");
    }
    // Not a matter of case: the dotless letter is another one.
    assert!(ensure(db.pool(), &clock, &new_user("dotless", "ı@example.com")).await.unwrap().created);
}

#[tokio::test]
async fn a_sign_up_waits_for_the_one_in_its_way() {
    let (db, clock) = (database().await, testkit::clock());
    let new = new_user("a", "a@example.com");
    for ending in ["rolled back", "committed"] {
        let mut open = Tx::begin(db.pool()).await.unwrap();
        assert!(users::ensure(&mut open, &clock, &new).await.unwrap().unwrap().created);
        let end = async {
            db.wait_for_waiting(1).await;
            if ending == "committed" {
                open.commit().await.unwrap();
            } else {
                open.rollback().await;
            }
        };
        let (second, ()) = tokio::join!(ensure(db.pool(), &clock, &new), end);
        assert_eq!(second.unwrap().created, ending == "rolled back", "{ending}");
        let mut conn = db.pool().get().await.unwrap();
        diesel_async::SimpleAsyncConnection::batch_execute(&mut *conn, "DELETE FROM identity.users")
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn repeats_leave_no_gaps_in_the_integer_ids() {
    let (db, clock) = (database().await, testkit::clock());
    let first = ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap();
    for _ in 0..5 {
        ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap();
    }
    let second = ensure(db.pool(), &clock, &new_user("b", "b@example.com")).await.unwrap();
    assert_eq!(second.user.id, first.user.id + 1);
}

#[tokio::test]
async fn deactivating_changes_the_state_and_when_it_changed() {
    let (db, clock) = (database().await, testkit::clock());
    let before = ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap().user;
    clock.advance(Duration::hours(1));
    let deactivate = async |id: &str| {
        let (user, change) = (testkit::user(id), UserChange::activity(Activity::Deactivated));
        let changed = Tx::run(db.pool(), async |tx| users::change(tx, &clock, &user, &change).await).await;
        changed.unwrap().map(|changed| changed.unwrap().after)
    };
    let after = deactivate("a").await.unwrap();
    assert_eq!(after, User { is_active: false, updated_at: clock.now(), ..before });
    clock.advance(Duration::hours(1));
    assert_eq!(deactivate("a").await, Some(after));
    assert_eq!(deactivate("nobody").await, None);
}

#[tokio::test]
async fn users_are_counted_by_the_span_they_were_made_in() {
    let (db, clock) = (database().await, testkit::clock());
    let begin = clock.now();
    for (n, hours) in [0, 1, 0, 23, 1, 24].into_iter().enumerate() {
        clock.advance(Duration::hours(hours));
        let new = new_user(&format!("auth0|{n}"), &format!("u{n}@example.com"));
        ensure(db.pool(), &clock, &new).await.unwrap();
    }
    // Made at hours 0, 1, 1, 24, 25 and 49.
    let mut conn = db.pool().get().await.unwrap();
    for (starts, end, counts) in [
        (vec![0, 24, 48], 72, vec![3, 2, 1]),
        (vec![0, 1, 24], 25, vec![1, 2, 1]),
        (vec![2, 12], 24, vec![0, 0]),
        (vec![], 24, vec![]),
    ] {
        let starts: Vec<_> = starts.into_iter().map(|hour| begin + Duration::hours(hour)).collect();
        let end = begin + Duration::hours(end);
        let found = users::created_between(&mut conn, &starts, end).await.unwrap();
        assert_eq!(found, counts);
    }
}

#[tokio::test]
async fn the_table_refuses_what_the_types_refuse() {
    let db = database().await;
    for (values, constraint) in [
        ("'a b', 'user', 'free', now()", "users_user_id_form"),
        ("'', 'user', 'free', now()", "users_user_id_form"),
        ("E'a\\n', 'user', 'free', now()", "users_user_id_form"),
        ("repeat('a', 256), 'user', 'free', now()", "users_user_id_form"),
        ("'a', 'root', 'free', now()", "users_role_known"),
        ("'a', 'user', 'gold', now()", "users_plan_known"),
        ("'a', 'user', 'free', now() + interval '1 s'", "users_updated_after_created"),
    ] {
        let sql = format!(
            "INSERT INTO identity.users (user_id, role, plan, created_at, updated_at) VALUES ({values}, now())"
        );
        let mut conn = db.pool().get().await.unwrap();
        let error = diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut *conn).await.unwrap_err();
        assert!(
            matches!(DbError::from(error), DbError::Constraint { constraint: found, .. } if found == constraint)
        );
    }
    let sql = "INSERT INTO identity.users (user_id, created_at, updated_at) VALUES ('a', now(), now()), ('b', now(), now())";
    let mut conn = db.pool().get().await.unwrap();
    diesel_async::SimpleAsyncConnection::batch_execute(&mut *conn, sql).await.unwrap();
    drop(conn);
    assert_eq!(find(db.pool(), "b").await.unwrap().email, None);
}

/// Changes a user in a transaction of its own.
async fn change(
    db: &TestDb,
    clock: &ManualClock,
    id: &str,
    change: UserChange,
) -> Option<Result<UserChanged, IdentityRefusal>> {
    Tx::run(db.pool(), async |tx| users::change(tx, clock, &testkit::user(id), &change).await).await.unwrap()
}

#[tokio::test]
async fn a_change_leaves_what_it_does_not_name() {
    let (db, clock) = (database().await, testkit::clock());
    let made = ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap().user;
    clock.advance(Duration::HOUR);
    let same = change(&db, &clock, "a", UserChange::default()).await.unwrap().unwrap();
    assert_eq!((&same.before, &same.after), (&made, &made), "nothing to change, not even updated_at");
    let name = UserChange { name: Some("New".to_owned()), ..UserChange::default() };
    let changed = change(&db, &clock, "a", name).await.unwrap().unwrap();
    let expected = User { name: Some("New".to_owned()), updated_at: clock.now(), ..made.clone() };
    assert_eq!((changed.before, changed.after.clone()), (made, expected));
    let all = UserChange {
        name: None,
        email: Some("B@example.com".to_owned()),
        role: Some(Role::Admin),
        activity: Some(Activity::Deactivated),
    };
    let after = change(&db, &clock, "a", all).await.unwrap().unwrap().after;
    let email = Some("B@example.com".to_owned());
    assert_eq!(after, User { email, role: Role::Admin, is_active: false, ..changed.after });
    assert_eq!(find(db.pool(), "a").await, Some(after));
    assert_eq!(change(&db, &clock, "nobody", UserChange::default()).await, None);
}

#[tokio::test]
async fn an_address_that_an_administrator_gives_is_held_unless_another_user_holds_it() {
    let (db, clock) = (database().await, testkit::clock());
    ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap();
    let contact = NewUser { email_voucher: EmailVoucher::Nobody, ..new_user("b", "b@example.com") };
    ensure(db.pool(), &clock, &contact).await.unwrap();
    let give = |email: &str| UserChange { email: Some(email.to_owned()), ..UserChange::default() };
    let refused = change(&db, &clock, "b", give("A@EXAMPLE.com")).await.unwrap();
    assert_eq!(refused, Err(IdentityRefusal::EmailTaken));
    assert_eq!(find(db.pool(), "b").await.unwrap().email.as_deref(), Some("b@example.com"));
    // Their own address in another case, and the contact that becomes theirs.
    assert!(change(&db, &clock, "a", give("A@example.com")).await.unwrap().is_ok());
    let vouched = change(&db, &clock, "b", give("b@example.com")).await.unwrap().unwrap();
    assert!(!vouched.before.email_vouched && vouched.after.email_vouched);
}

#[tokio::test]
async fn who_is_deactivated_is_logged_out_and_stays_so() {
    let (db, clock) = (database().await, testkit::clock());
    for id in ["a", "b"] {
        ensure(db.pool(), &clock, &new_user(id, &format!("{id}@example.com"))).await.unwrap();
        db.run(&format!(
            "INSERT INTO identity.logins (user_id, id, refresh_digest, created_at, rotated_at, expires_at)
             SELECT '{id}', gen_random_uuid(), sha256('x'), made, made, made + interval '1 day'
             FROM (SELECT timestamptz '2026-01-15T12:00Z' AS made) AS m, generate_series(1, 2)"
        ))
        .await;
    }
    let open = "SELECT count(*) FROM identity.logins WHERE ended_at IS NULL AND user_id = ";
    let activity = |activity| UserChange { activity: Some(activity), ..UserChange::default() };
    change(&db, &clock, "a", activity(Activity::Active)).await.unwrap().unwrap();
    assert_eq!(db.ask(&format!("{open} 'a'")).await, 2);
    for next in [Activity::Deactivated, Activity::Deactivated, Activity::Active] {
        change(&db, &clock, "a", activity(next)).await.unwrap().unwrap();
        assert_eq!((db.ask(&format!("{open} 'a'")).await, db.ask(&format!("{open} 'b'")).await), (0, 2));
    }
}

#[tokio::test]
async fn a_role_that_is_decided_about_one_user_outlives_the_list() {
    let (db, clock) = (database().await, testkit::clock());
    ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap();
    let role = |role| UserChange { role: Some(role), ..UserChange::default() };
    let start = async |listed: &[UserId]| {
        Tx::run(db.pool(), async |tx| users::apply_admins(tx, &clock, listed).await).await.unwrap();
        find(db.pool(), "a").await.unwrap().role
    };
    change(&db, &clock, "a", role(Role::Admin)).await.unwrap().unwrap();
    assert_eq!(start(&[]).await, Role::Admin);
    change(&db, &clock, "a", role(Role::User)).await.unwrap().unwrap();
    assert_eq!(start(&[]).await, Role::User);
    assert_eq!(start(&[testkit::user("a")]).await, Role::Admin, "who is listed has the role");
}

#[tokio::test]
async fn the_hour_of_the_last_request_is_noted_and_never_goes_back() {
    let (db, clock) = (database().await, testkit::clock());
    ensure(db.pool(), &clock, &new_user("a", "a@example.com")).await.unwrap();
    let later = clock.now() + Duration::HOUR;
    for hour in [clock.now(), later, clock.now()] {
        let users = [testkit::user("a"), testkit::user("nobody")];
        users::note_seen(&mut *db.connect().await, hour, &users).await.unwrap();
    }
    assert_eq!(find(db.pool(), "a").await.unwrap().last_seen_at, Some(later));
}

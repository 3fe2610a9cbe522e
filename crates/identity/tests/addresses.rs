//! Who holds an e-mail address, against a real PostgreSQL.

use diesel_async::SimpleAsyncConnection;
use identity::{EmailVoucher, Ensured, IdentityRefusal, NewUser, Role, users};
use kernel::{Clock as _, ManualClock};
use pg::{DbError, Pool, Tx};
use testkit::TestDb;
use time::Duration;

async fn database() -> TestDb {
    TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await
}

fn new_user(id: &str, email: &str, email_voucher: EmailVoucher) -> NewUser {
    NewUser {
        user_id: testkit::user(id),
        email: Some(email.to_owned()),
        email_voucher,
        name: Some("Test User".to_owned()),
        role: Role::User,
        brought_by: None,
    }
}

fn token_for(email: &str) -> EmailVoucher {
    EmailVoucher::Token(email.to_owned())
}

/// Signs up in a transaction of its own.
async fn ensure(
    pool: &Pool,
    clock: &ManualClock,
    new: &NewUser,
) -> Result<Result<Ensured, IdentityRefusal>, DbError> {
    let mut tx = Tx::begin(pool).await?;
    let outcome = users::ensure(&mut tx, clock, new).await;
    match &outcome {
        Ok(_) => tx.commit().await?,
        Err(error) => tx.abort(error).await,
    }
    outcome
}

/// Whether the user, new or not, holds the address after signing up.
async fn holds(db: &TestDb, id: &str, email: &str, voucher: EmailVoucher) -> Result<bool, IdentityRefusal> {
    let ensured = ensure(db.pool(), &testkit::clock(), &new_user(id, email, voucher)).await;
    ensured.unwrap().map(|ensured| ensured.user.email_vouched)
}

#[tokio::test]
async fn a_contact_holds_nothing_and_blocks_nobody() {
    let db = database().await;
    let email = "owner@example.com";
    let taken = Err(IdentityRefusal::EmailTaken);
    for id in ["a", "b"] {
        assert_eq!(holds(&db, id, email, EmailVoucher::Nobody).await, Ok(false));
    }
    assert_eq!(holds(&db, "c", email, token_for("c@example.com")).await, Ok(false));
    assert_eq!(holds(&db, "owner", email, token_for("Owner@Example.com")).await, Ok(true));
    for voucher in [token_for(email), EmailVoucher::Staff] {
        assert_eq!(holds(&db, "late", "OWNER@example.com", voucher).await, taken);
    }
    assert_eq!(holds(&db, "d", email, EmailVoucher::Nobody).await, Ok(false));
}

#[tokio::test]
async fn only_a_token_for_the_stored_address_makes_a_contact_held() {
    let (db, clock) = (database().await, testkit::clock());
    let contact = new_user("a", "A@example.com", EmailVoucher::Nobody);
    let before = ensure(db.pool(), &clock, &contact).await.unwrap().unwrap().user;
    for voucher in [EmailVoucher::Nobody, EmailVoucher::Staff, token_for("b@example.com")] {
        assert_eq!(holds(&db, "a", "a@example.com", voucher).await, Ok(false));
    }
    clock.advance(Duration::hours(1));
    let vouching = NewUser {
        name: Some("Other".to_owned()),
        ..new_user("a", "other@example.com", token_for("a@EXAMPLE.com"))
    };
    let after = ensure(db.pool(), &clock, &vouching).await.unwrap().unwrap();
    assert!(!after.created);
    assert_eq!(after.user, identity::User { email_vouched: true, updated_at: clock.now(), ..before });
    // It stays held, also by a token that does not vouch for it; and a rival who has it as a contact never gets it.
    assert_eq!(holds(&db, "a", "a@example.com", EmailVoucher::Nobody).await, Ok(true));
    for voucher in [EmailVoucher::Nobody, token_for("a@example.com")] {
        assert_eq!(holds(&db, "rival", "a@example.com", EmailVoucher::Nobody).await, Ok(false));
        assert_eq!(holds(&db, "rival", "a@example.com", voucher).await, Ok(false));
    }
}

#[tokio::test]
async fn a_contact_that_is_vouched_for_waits_for_whoever_takes_the_address_at_the_same_time() {
    let (db, clock) = (database().await, testkit::clock());
    let late = new_user("late", "a@example.com", token_for("a@example.com"));
    assert_eq!(holds(&db, "late", "a@example.com", EmailVoucher::Nobody).await, Ok(false));
    for ending in ["committed", "rolled back"] {
        let mut open = Tx::begin(db.pool()).await.unwrap();
        let first = new_user("first", "A@example.com", EmailVoucher::Staff);
        assert!(users::ensure(&mut open, &clock, &first).await.unwrap().unwrap().created);
        let end = async {
            db.wait_for_waiting(1).await;
            if ending == "committed" {
                open.commit().await.unwrap();
            } else {
                open.rollback().await;
            }
        };
        let (second, ()) = tokio::join!(ensure(db.pool(), &clock, &late), end);
        if ending == "committed" {
            assert!(matches!(second, Err(DbError::Contention(_))), "{second:?}");
            assert_eq!(holds(&db, "late", "a@example.com", token_for("a@example.com")).await, Ok(false));
            let gone = "DELETE FROM identity.users WHERE user_id = 'first'";
            db.run(gone).await;
        } else {
            assert!(second.unwrap().unwrap().user.email_vouched);
        }
    }
}

/// The migrations from this one on, so that a test can go back before it.
fn since(verb: &str) -> &'static [pg::Migration] {
    let found = identity::MIGRATIONS.iter().position(|one| one.name.ends_with(verb));
    &identity::MIGRATIONS[found.unwrap()..]
}

async fn go_back(conn: &mut pg::PgConnection, migrations: &[pg::Migration]) {
    for migration in migrations.iter().rev() {
        conn.batch_execute(migration.down).await.unwrap();
    }
}

async fn go_on(conn: &mut pg::PgConnection, migrations: &[pg::Migration]) {
    for migration in migrations {
        conn.batch_execute(migration.up).await.unwrap();
    }
}

#[tokio::test]
async fn addresses_from_before_start_as_contacts_and_are_held_by_whoever_proves_it_first() {
    let db = database().await;
    let mut conn = db.connect().await;
    go_back(&mut conn, since("fold_emails")).await;
    // Two addresses that the first index told apart must not stop the migrations.
    conn.batch_execute(
        "INSERT INTO identity.users (user_id, email, created_at, updated_at) \
         SELECT 'old' || n, email, now(), now() FROM unnest(ARRAY['Test@Example.com', '\u{c4}@example.com', '\u{e4}@example.com', NULL]) \
         WITH ORDINALITY AS old (email, n)",
    )
    .await
    .unwrap();
    go_on(&mut conn, since("fold_emails")).await;
    assert_eq!(holds(&db, "new", "TEST@example.COM", EmailVoucher::Staff).await, Ok(true));
    assert_eq!(holds(&db, "old1", "x@example.com", token_for("test@example.com")).await, Ok(false));
    // Folded by SQL, which knows A to Z only, and anew when it is vouched for.
    assert_eq!(holds(&db, "old2", "x@example.com", token_for("\u{e4}@example.com")).await, Ok(true));
    assert_eq!(holds(&db, "old3", "x@example.com", token_for("\u{e4}@example.com")).await, Ok(false));
    let taken = holds(&db, "late", "\u{c4}@EXAMPLE.com", EmailVoucher::Staff).await;
    assert_eq!(taken, Err(IdentityRefusal::EmailTaken));
}

#[tokio::test]
async fn going_back_leaves_an_address_to_its_holder_or_else_to_the_first() {
    let db = database().await;
    for (id, email, voucher) in [
        ("first", "a@example.com", EmailVoucher::Nobody),
        ("holder", "a@example.com", EmailVoucher::Staff),
        ("b1", "b@example.com", EmailVoucher::Nobody),
        ("b2", "b@example.com", EmailVoucher::Nobody),
    ] {
        holds(&db, id, email, voucher).await.unwrap();
    }
    let mut conn = db.connect().await;
    go_back(&mut conn, since("vouch_for_emails")).await;
    go_on(&mut conn, since("vouch_for_emails")).await;
    for (id, email) in
        [("first", None), ("holder", Some("a@example.com")), ("b1", Some("b@example.com")), ("b2", None)]
    {
        let user = users::find(&mut conn, &testkit::user(id)).await.unwrap().unwrap();
        assert_eq!(user.email.as_deref(), email, "{id}");
        assert!(!user.email_vouched, "{id}");
    }
}

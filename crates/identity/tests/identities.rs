//! The issuers that user ids belong to, against a real PostgreSQL.

use std::{collections::BTreeSet, sync::Arc};

use identity::{
    BroughtBy, EmailVoucher, Ensured, IdentityRefusal, Issuer, IssuerIds, NewUser, Role, StatusQuery,
    identities, mail::LinkPurpose, users,
};
use kernel::UserId;
use pg::Tx;
use testkit::TestDb;
use tokio::task::JoinSet;

use crate::mails::Post;

const OTHER: Result<(String, bool), IdentityRefusal> = Err(IdentityRefusal::OfAnotherIssuer);

async fn database() -> TestDb {
    TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await
}

fn auth0(name: &str) -> Arc<IssuerIds> {
    let keys = "https://keys.example.com/".parse().unwrap();
    Arc::clone(Issuer::auth0(format!("https://{name}.example.com/"), "api", keys).ids())
}

fn supabase() -> Arc<IssuerIds> {
    let keys = "https://keys.example.com/".parse().unwrap();
    Arc::clone(Issuer::supabase_project("https://project.example.com/auth/v1", keys, None).ids())
}

/// A user who signs up, with the token of an issuer or by a service.
fn new_user(id: &str, email: &str, issuer: Option<&Arc<IssuerIds>>, may_link: bool) -> NewUser {
    NewUser {
        user_id: testkit::user(id),
        email: Some(email.to_owned()),
        email_voucher: match issuer {
            Some(_) => EmailVoucher::Token(email.to_owned()),
            None => EmailVoucher::Staff,
        },
        name: Some("Test User".to_owned()),
        role: Role::User,
        brought_by: issuer.map(|issuer| BroughtBy { issuer: Arc::clone(issuer), may_link }),
    }
}

/// The user after a sign-up, and whether it created them. Other transactions in the same moment are waited for.
async fn ensure(db: &TestDb, new: &NewUser) -> Result<(String, bool), IdentityRefusal> {
    for _ in 0..10 {
        let clock = testkit::clock();
        let outcome = Tx::decide(db.pool(), async |tx| users::ensure(tx, &clock, new).await).await;
        match outcome {
            Err(pg::DbError::Contention(_)) => {}
            outcome => {
                let ensured = outcome.unwrap();
                return ensured.map(|Ensured { user, created }| (user.user_id.to_string(), created));
            }
        }
    }
    panic!("overtaken for ever: {new:?}");
}

async fn adopt(db: &TestDb, id: &str, issuer: &IssuerIds) -> Result<UserId, IdentityRefusal> {
    let clock = testkit::clock();
    let adopt = async |tx: &mut Tx| identities::adopt(tx.conn(), &clock, &testkit::user(id), issuer).await;
    Tx::decide(db.pool(), adopt).await.unwrap()
}

/// User and issuer of an id.
async fn owner(db: &TestDb, id: &str) -> Option<(String, String)> {
    let conn = db.connect().await;
    let found = users::statuses(&conn, &[StatusQuery::user(&testkit::user(id))]).await.unwrap();
    found[0].identity.clone().map(|identity| (identity.user_id.to_string(), identity.issuer))
}

#[tokio::test]
async fn an_id_belongs_to_the_issuer_that_first_brought_it() {
    let (db, one, two) = (database().await, auth0("one"), auth0("two"));
    // Whatever its form.
    for created in [true, false] {
        let new = new_user("plain", "plain@example.com", Some(&one), false);
        assert_eq!(ensure(&db, &new).await, Ok(("plain".to_owned(), created)));
    }
    assert_eq!(adopt(&db, "plain", &one).await, Ok(testkit::user("plain")));
    assert_eq!(
        ensure(&db, &new_user("auth0|a", "a@example.com", Some(&one), false)).await,
        Ok(("auth0|a".to_owned(), true))
    );
    assert_eq!(ensure(&db, &new_user("auth0|a", "a@example.com", Some(&two), false)).await, OTHER);
    assert_eq!(
        ensure(&db, &new_user("auth0|a", "a@example.com", Some(&one), false)).await,
        Ok(("auth0|a".to_owned(), false))
    );
    assert_eq!(adopt(&db, "auth0|a", &two).await, Err(IdentityRefusal::OfAnotherIssuer));
    // A service acts for any of them.
    assert_eq!(
        ensure(&db, &new_user("auth0|a", "x@example.com", None, false)).await,
        Ok(("auth0|a".to_owned(), false))
    );
    assert_eq!(
        owner(&db, "auth0|a").await,
        Some(("auth0|a".to_owned(), "https://one.example.com/".to_owned()))
    );
}

#[tokio::test]
async fn a_user_of_a_service_goes_to_the_first_issuer_of_the_form() {
    let (db, auth0, supabase) = (database().await, auth0("one"), supabase());
    let uuid = "0b6f1e8a-3c5d-4f7e-9a1b-2c3d4e5f6a7b";
    for (id, email) in [("auth0|a", "a@example.com"), (uuid, "b@example.com"), ("plain", "c@example.com")] {
        ensure(&db, &new_user(id, email, None, false)).await.unwrap();
        assert_eq!(owner(&db, id).await, None);
    }
    for (id, issuer, other) in [("auth0|a", &auth0, &supabase), (uuid, &supabase, &auth0)] {
        assert_eq!(adopt(&db, id, other).await, Err(IdentityRefusal::OfAnotherIssuer));
        assert_eq!(ensure(&db, &new_user(id, "x@example.com", Some(other), false)).await, OTHER);
        assert_eq!(owner(&db, id).await, None, "a refusal stores nothing");
        assert_eq!(adopt(&db, id, issuer).await, Ok(testkit::user(id)));
        assert_eq!(adopt(&db, id, issuer).await, Ok(testkit::user(id)));
        assert_eq!(owner(&db, id).await, Some((id.to_owned(), issuer.name().to_owned())));
    }
    for issuer in [&auth0, &supabase] {
        assert_eq!(adopt(&db, "plain", issuer).await, Err(IdentityRefusal::OfAnotherIssuer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_issuers_at_once_one_owns_the_id() {
    let db = Arc::new(database().await);
    for round in 0..10 {
        let mut calls = JoinSet::new();
        for call in 0..8 {
            let (db, issuer) = (Arc::clone(&db), auth0(if call % 2 == 0 { "one" } else { "two" }));
            let new =
                new_user(&format!("auth0|{round}"), &format!("{round}@example.com"), Some(&issuer), false);
            calls.spawn(async move { (issuer.name().to_owned(), ensure(&db, &new).await) });
        }
        let calls = calls.join_all().await;
        let (_, owner) = owner(&db, &format!("auth0|{round}")).await.unwrap();
        assert_eq!(calls.iter().filter(|(_, done)| matches!(done, Ok((_, true)))).count(), 1);
        for (issuer, done) in calls {
            assert_eq!(done.is_ok(), issuer == owner, "{done:?} of {issuer}");
            assert!(done.is_ok() || done == OTHER);
        }
    }
}

#[tokio::test]
async fn ids_are_linked_if_both_addresses_are_vouched_for_and_it_is_wanted() {
    let (db, one, two) = (database().await, auth0("one"), supabase());
    let linked = |done: Result<(String, bool), IdentityRefusal>| done.map(|(user_id, _)| user_id);
    let (email, uuid) = ("a@example.com", "0b6f1e8a-3c5d-4f7e-9a1b-2c3d4e5f6a7b");
    ensure(&db, &new_user("auth0|a", email, Some(&one), false)).await.unwrap();
    let taken = Err(IdentityRefusal::EmailTaken);
    // Not wanted; by a service; an address that the token does not vouch for, which is a contact and links nobody.
    assert_eq!(ensure(&db, &new_user(uuid, email, Some(&two), false)).await, taken);
    assert_eq!(ensure(&db, &new_user(uuid, email, None, false)).await, taken);
    let claimed = NewUser {
        email_voucher: EmailVoucher::Token("other@example.com".to_owned()),
        ..new_user("other|a", email, Some(&one), true)
    };
    assert_eq!(linked(ensure(&db, &claimed).await), Ok("other|a".to_owned()));
    assert_eq!(owner(&db, uuid).await, None);

    let link = new_user(uuid, "A@Example.com", Some(&two), true);
    for _ in 0..2 {
        assert_eq!(ensure(&db, &link).await, Ok(("auth0|a".to_owned(), false)));
    }
    assert_eq!(owner(&db, uuid).await, Some(("auth0|a".to_owned(), two.name().to_owned())));
    assert_eq!(db.ask("SELECT count(*) FROM identity.users").await, 2);
    // The address of the holder was not vouched for: nobody holds it.
    let contact = NewUser {
        email_voucher: EmailVoucher::Nobody,
        ..new_user("auth0|c", "c@example.com", Some(&one), false)
    };
    ensure(&db, &contact).await.unwrap();
    assert_eq!(
        linked(ensure(&db, &new_user("google|c", "c@example.com", Some(&one), true)).await),
        Ok("google|c".to_owned())
    );
}

/// A stranger registers with the address of another, who confirms it by a click and later comes by another issuer.
#[tokio::test]
async fn an_own_account_is_linked_only_if_a_reader_of_the_mailbox_set_its_password() {
    let post = Post::new().await;
    let link = new_user("auth0|owner", "owner@example.com", Some(&auth0("one")), true);
    post.register("email|a", "owner@example.com").await.unwrap();
    let confirm = post.token(LinkPurpose::Confirm, "owner@example.com").await;
    post.confirm(&confirm).await.unwrap();
    assert_eq!(ensure(&post.db, &link).await, Err(IdentityRefusal::EmailTaken));
    assert_eq!(owner(&post.db, "auth0|owner").await, None);
    // The owner takes the account: the password of the stranger is gone.
    let reset = post.token(LinkPurpose::Reset, "owner@example.com").await;
    post.reset(&reset).await.unwrap();
    assert_eq!(ensure(&post.db, &link).await, Ok(("email|a".to_owned(), false)));
}

async fn own_user(db: &TestDb, ids: &[&str]) -> Option<String> {
    let ids: Vec<UserId> = ids.iter().map(|id| testkit::user(id)).collect();
    let clock = testkit::clock();
    let found = Tx::run(db.pool(), async |tx| {
        identities::own_user(tx, &clock, &ids.iter().collect::<Vec<_>>()).await
    });
    found.await.unwrap().map(|user| user.user_id.to_string())
}

#[tokio::test]
async fn ids_of_one_login_stand_for_one_user_and_never_for_one_who_is_there() {
    let db = database().await;
    assert_eq!(own_user(&db, &["wechat|u1", "wechat|o1"]).await, None);
    assert_eq!(db.ask("SELECT count(*) FROM identity.identities").await, 0);
    ensure(&db, &NewUser { email: None, ..new_user("wechat|u1", "", None, false) }).await.unwrap();
    for ids in [&["wechat|u1", "wechat|o1"][..], &["wechat|o1"], &["wechat|u2", "wechat|o1"]] {
        assert_eq!(own_user(&db, ids).await, Some("wechat|u1".to_owned()), "{ids:?}");
    }
    assert_eq!(db.ask("SELECT count(*) FROM identity.identities").await, 2);
    // Two users from before: each keeps their own id.
    ensure(&db, &NewUser { email: None, ..new_user("wechat|o3", "", None, false) }).await.unwrap();
    assert_eq!(own_user(&db, &["wechat|u1", "wechat|o3"]).await, Some("wechat|u1".to_owned()));
    assert_eq!(own_user(&db, &["wechat|o3"]).await, Some("wechat|o3".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_links_agree() {
    let db = Arc::new(database().await);
    let one = auth0("one");
    ensure(&db, &new_user("auth0|a", "a@example.com", Some(&one), false)).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let (db, new) = (Arc::clone(&db), new_user("google|a", "a@example.com", Some(&one), true));
        calls.spawn(async move { ensure(&db, &new).await });
    }
    for done in calls.join_all().await {
        assert_eq!(done, Ok(("auth0|a".to_owned(), false)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_id_becomes_a_user_or_is_linked_and_never_both() {
    let db = Arc::new(database().await);
    let one = auth0("one");
    ensure(&db, &new_user("auth0|a", "a@example.com", Some(&one), false)).await.unwrap();
    for round in 0..10 {
        let id = format!("google|{round}");
        let (link, by_service) = (
            new_user(&id, "a@example.com", Some(&one), true),
            new_user(&id, &format!("{round}@example.com"), None, false),
        );
        let mut calls = JoinSet::new();
        for new in [link.clone(), by_service.clone(), link, by_service] {
            let db = Arc::clone(&db);
            calls.spawn(async move { ensure(&db, &new).await });
        }
        let named: BTreeSet<_> =
            calls.join_all().await.into_iter().filter_map(Result::ok).map(|(user, _)| user).collect();
        assert_eq!(named.len(), 1, "{named:?}");
    }
}

/// A link to a user who is erased in the same moment: no identity is left that leads to nobody.
#[tokio::test]
async fn an_id_is_not_linked_to_a_user_who_is_going() {
    let (db, one) = (database().await, auth0("one"));
    ensure(&db, &new_user("auth0|a", "a@example.com", Some(&one), false)).await.unwrap();
    for (id, may_link) in [("auth0|b", true), ("auth0|a", false)] {
        let clock = testkit::clock();
        let mut erase = Tx::begin(db.pool()).await.unwrap();
        if id == "auth0|a" {
            // Made by a service, so that the token has to adopt it.
            db.run("DELETE FROM identity.identities").await;
        }
        identity::erasures::begin(&mut erase, &clock, None, &testkit::user("auth0|a"))
            .await
            .unwrap()
            .unwrap();
        let new = new_user(id, "a@example.com", Some(&one), may_link);
        let end = async {
            db.wait_for_waiting(1).await;
            erase.commit().await.unwrap();
            db.run("UPDATE identity.erased_users SET finished_at = erased_at").await;
        };
        let (ensured, ()) = tokio::join!(ensure(&db, &new), end);
        assert_eq!(ensured, Ok((id.to_owned(), true)));
        assert_eq!(owner(&db, id).await.map(|(user_id, _)| user_id), Some(id.to_owned()));
        db.run("DELETE FROM identity.users; DELETE FROM identity.identities").await;
        ensure(&db, &new_user("auth0|a", "a@example.com", Some(&one), false)).await.unwrap();
    }
}

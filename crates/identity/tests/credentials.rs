//! Own accounts: who owns an address, and what a link does.

use identity::{
    Activity, EmailVoucher, IdentityRefusal, NewUser, Role, credentials,
    mail::{LINK_TTL, LinkPurpose, LinkToken, MailLanguage},
    users::{self, UserChange},
};
use kernel::{Failure as _, Kind};
use pg::Tx;
use time::Duration;

use crate::mails::{HASH, OTHER_HASH, Post};

/// A user of another issuer, whose token vouches for the address.
async fn sign_in_elsewhere(post: &Post, user: &str, email: &str) -> Result<(), IdentityRefusal> {
    let new = NewUser {
        user_id: testkit::user(user),
        email: Some(email.to_owned()),
        email_voucher: EmailVoucher::Token(email.to_owned()),
        name: None,
        role: Role::User,
        brought_by: None,
    };
    let ensured = Tx::decide(post.db.pool(), async |tx| users::ensure(tx, &post.clock, &new).await);
    ensured.await.unwrap().map(|_| ())
}

fn address(email: &str) -> UserChange {
    UserChange { email: Some(email.to_owned()), ..UserChange::default() }
}

async fn account(post: &Post, email: &str) -> Option<credentials::Credential> {
    credentials::find(&mut *post.db.connect().await, email).await.unwrap()
}

#[tokio::test]
async fn an_account_is_found_by_its_address_in_any_case() {
    let post = Post::new().await;
    let user_id = post.register("email|a", "Ann@Example.com").await.unwrap();
    let found = account(&post, "aNN@example.COM").await.unwrap();
    assert_eq!((&found.user_id, found.password_hash.as_str()), (&user_id, HASH));
    assert_eq!((found.email.as_deref(), found.held_email()), (Some("Ann@Example.com"), None));
    assert_eq!(account(&post, "bob@example.com").await, None);
    assert!(!format!("{found:?}").contains("argon2"));
    let mut conn = post.db.connect().await;
    assert_eq!(credentials::of_user(&mut conn, &user_id).await.unwrap(), Some(found));
}

#[tokio::test]
async fn no_two_accounts_have_the_same_login_name_nor_one_that_somebody_holds() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    assert_eq!(post.register("email|b", "A@example.com").await, Err(IdentityRefusal::EmailTaken));
    sign_in_elsewhere(&post, "auth0|c", "c@example.com").await.unwrap();
    assert_eq!(post.register("email|c", "C@EXAMPLE.com").await, Err(IdentityRefusal::EmailTaken));
    assert_eq!(post.db.ask("SELECT count(*) FROM identity.users").await, 2, "a refusal stores nothing");
}

#[tokio::test]
async fn of_registrations_at_once_one_gets_the_login_name() {
    let post = Post::new().await;
    let users: Vec<String> = (0..8).map(|number| format!("email|{number}")).collect();
    let all = users.iter().map(|user| post.register(user, "a@example.com"));
    let outcomes = futures_util::future::join_all(all).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(post.db.ask("SELECT count(*) FROM identity.users").await, 1);
}

#[tokio::test]
async fn an_unconfirmed_registration_blocks_nobody() {
    let post = Post::new().await;
    post.register("email|squatter", "owner@example.com").await.unwrap();
    let confirm = post.token(LinkPurpose::Confirm, "owner@example.com").await;
    sign_in_elsewhere(&post, "auth0|owner", "owner@example.com").await.unwrap();
    // The address is the owner's: the account keeps it as its login name, and it cannot be confirmed any more.
    assert_eq!(post.confirm(&confirm).await, Err(IdentityRefusal::EmailTaken));
    // Whoever has the mailbox has the account, all the same.
    let reset = post.token(LinkPurpose::Reset, "owner@example.com").await;
    assert_eq!(post.reset(&reset).await, Ok(testkit::user("email|squatter")));
    let found = account(&post, "owner@example.com").await.unwrap();
    assert_eq!((found.password_hash.as_str(), found.held_email()), (OTHER_HASH, None));
}

#[tokio::test]
async fn the_owner_of_an_address_takes_over_an_account_that_was_registered_with_it() {
    let post = Post::new().await;
    post.register("email|squatter", "owner@example.com").await.unwrap();
    assert_eq!(post.register("email|owner", "owner@example.com").await, Err(IdentityRefusal::EmailTaken));
    let reset = post.token(LinkPurpose::Reset, "owner@example.com").await;
    post.reset(&reset).await.unwrap();
    let found = account(&post, "owner@example.com").await.unwrap();
    assert_eq!((found.password_hash.as_str(), found.held_email()), (OTHER_HASH, Some("owner@example.com")));
    let elsewhere = sign_in_elsewhere(&post, "auth0|late", "owner@example.com").await;
    assert_eq!(elsewhere, Err(IdentityRefusal::EmailTaken), "it is confirmed and held now");
}

#[tokio::test]
async fn a_link_works_once_for_its_purpose_and_for_30_minutes() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    let confirm = post.token(LinkPurpose::Confirm, "a@example.com").await;
    assert_eq!(post.reset(&confirm).await, Err(IdentityRefusal::LinkInvalid), "another purpose");
    let unknown = LinkToken::presented("confirm_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into());
    assert_eq!(post.confirm(&unknown).await, Err(IdentityRefusal::LinkInvalid));
    assert_eq!(post.confirm(&confirm).await, Ok(testkit::user("email|a")));
    assert_eq!(post.confirm(&confirm).await, Err(IdentityRefusal::LinkInvalid), "once");

    let works = async |token: &LinkToken| {
        credentials::reset_link_works(&mut *post.db.connect().await, &post.clock, token).await.unwrap()
    };
    let late = post.token(LinkPurpose::Reset, "a@example.com").await;
    post.clock.advance(LINK_TTL - Duration::microseconds(1));
    assert!(works(&late).await);
    post.clock.advance(Duration::microseconds(1));
    assert!(!works(&late).await);
    assert_eq!(post.reset(&late).await, Err(IdentityRefusal::LinkInvalid));
    assert_eq!(account(&post, "a@example.com").await.unwrap().password_hash, HASH);
    assert_eq!(IdentityRefusal::LinkInvalid.code(), "LinkInvalidException");
    assert_eq!(IdentityRefusal::LinkInvalid.kind(), Kind::Refused);
}

#[tokio::test]
async fn the_links_of_a_disabled_user_do_not_work() {
    let post = Post::new().await;
    let user_id = post.register("email|a", "a@example.com").await.unwrap();
    let confirm = post.token(LinkPurpose::Confirm, "a@example.com").await;
    let reset = post.token(LinkPurpose::Reset, "a@example.com").await;
    let set = async |activity: Activity| {
        let change = UserChange::activity(activity);
        Tx::run(post.db.pool(), async |tx| users::change(tx, &post.clock, &user_id, &change).await).await
    };
    set(Activity::Deactivated).await.unwrap();
    assert_eq!(post.confirm(&confirm).await, Err(IdentityRefusal::LinkInvalid));
    assert_eq!(post.reset(&reset).await, Err(IdentityRefusal::LinkInvalid));
    let found = account(&post, "a@example.com").await.unwrap();
    assert_eq!((found.password_hash.as_str(), found.held_email()), (HASH, None), "nothing changed");
    // A refusal uses up nothing.
    set(Activity::Active).await.unwrap();
    assert!(post.confirm(&confirm).await.is_ok() && post.reset(&reset).await.is_ok());
}

#[tokio::test]
async fn of_several_uses_at_once_one_succeeds_and_older_links_end_with_it() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    let older = post.token(LinkPurpose::Reset, "a@example.com").await;
    let newer = post.token(LinkPurpose::Reset, "a@example.com").await;
    let outcomes = futures_util::future::join_all((0..8).map(|_| post.reset(&newer))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(post.reset(&older).await, Err(IdentityRefusal::LinkInvalid));
}

#[tokio::test]
async fn a_link_proves_the_address_that_it_was_sent_to_and_no_other() {
    let post = Post::new().await;
    post.register("email|a", "a@example.com").await.unwrap();
    let (confirm, reset) = (
        post.token(LinkPurpose::Confirm, "a@example.com").await,
        post.token(LinkPurpose::Reset, "a@example.com").await,
    );
    let (user, change) = (testkit::user("email|a"), address("b@example.com"));
    Tx::run(post.db.pool(), async |tx| users::change(tx, &post.clock, &user, &change).await).await.unwrap();
    assert_eq!(post.confirm(&confirm).await, Err(IdentityRefusal::LinkInvalid));
    assert_eq!(post.reset(&reset).await, Err(IdentityRefusal::LinkInvalid));
    // A mail that was asked for by the old name is not sent to the new address.
    let before = post.server.recipients();
    post.ask(LinkPurpose::Reset, "a@example.com", MailLanguage::En).await;
    assert_eq!((post.round().await, post.server.recipients()), (1, before));
    let reset = post.token(LinkPurpose::Reset, "B@example.com").await;
    assert_eq!(post.server.mails().last().unwrap().to, "b@example.com");
    post.reset(&reset).await.unwrap();
}

#[tokio::test]
async fn a_password_that_was_changed_meanwhile_does_not_count_and_ends_links() {
    let post = Post::new().await;
    let user_id = post.register("email|a", "a@example.com").await.unwrap();
    let reset = post.token(LinkPurpose::Reset, "a@example.com").await;
    let checked = account(&post, "a@example.com").await.unwrap();
    let change = async || {
        let work = async |tx: &mut Tx| {
            let Some(account) = credentials::lock_unchanged(tx, &checked).await? else { return Ok(false) };
            credentials::set_password(tx, &post.clock, &account.user_id, OTHER_HASH).await?;
            Ok(true)
        };
        Tx::run(post.db.pool(), work).await.unwrap()
    };
    assert!(change().await);
    assert!(!change().await);
    assert_eq!(post.reset(&reset).await, Err(IdentityRefusal::LinkInvalid));
    let renew = async |tx: &mut Tx| credentials::renew_hash(tx, &user_id, HASH).await;
    Tx::run(post.db.pool(), renew).await.unwrap();
    assert_eq!(account(&post, "a@example.com").await.unwrap().password_hash, HASH);
}

#[tokio::test]
async fn the_login_name_follows_the_address_that_an_administrator_sets() {
    let post = Post::new().await;
    let user_id = post.register("email|a", "a@example.com").await.unwrap();
    post.register("email|b", "b@example.com").await.unwrap();
    let change = async |email: &str| {
        let change = address(email);
        Tx::decide(post.db.pool(), async |tx| {
            let changed = users::change(tx, &post.clock, &user_id, &change).await?;
            Ok(changed.unwrap().map(|changed| changed.after.email.unwrap()))
        })
        .await
        .unwrap()
    };
    assert_eq!(change("B@example.com").await, Ok("B@example.com".to_owned()), "nobody confirmed it");
    assert_eq!(account(&post, "b@example.com").await.unwrap().user_id, user_id);
    let other = testkit::user("email|b");
    let left = credentials::of_user(&mut *post.db.connect().await, &other).await.unwrap().unwrap();
    assert_eq!((left.password_hash.as_str(), left.held_email()), (HASH, None), "all but the name");
    sign_in_elsewhere(&post, "auth0|c", "c@example.com").await.unwrap();
    assert_eq!(change("C@example.com").await, Err(IdentityRefusal::EmailTaken), "held by another user");
    assert_eq!(change("New@example.com").await, Ok("New@example.com".to_owned()));
    assert_eq!(account(&post, "b@example.com").await, None);
    assert_eq!(account(&post, "new@EXAMPLE.com").await.unwrap().user_id, user_id);
    let reset = post.token(LinkPurpose::Reset, "new@example.com").await;
    post.reset(&reset).await.unwrap();
}

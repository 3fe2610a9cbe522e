//! API keys: made, listed, revoked, and verified by the text that is shown once.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
};

use identity::{
    StatusQuery,
    api_keys::{self, ApiKey, KeyRing, KeyScope, KeyScopes, NewApiKey, Revocation},
    audit::AuditActor,
    users,
};
use kernel::{Clock as _, KeyAccess, ManualClock, Page, RandomIds, Start};
use pg::DbError;
use secrecy::ExposeSecret as _;
use testkit::TestDb;
use time::Duration;
use uuid::Uuid;

async fn database() -> TestDb {
    TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await
}

fn new(scopes: &[KeyScope]) -> NewApiKey {
    NewApiKey {
        name: "billing".to_owned(),
        scopes: KeyScopes::new(scopes.to_vec()).unwrap(),
        expires_at: None,
        requests_per_second: None,
    }
}

async fn made(db: &TestDb, clock: &ManualClock, new: &NewApiKey) -> (ApiKey, String) {
    let mut conn = db.connect().await;
    let (key, text) = api_keys::create(&mut conn, clock, &RandomIds, &AuditActor::System, new).await.unwrap();
    (key, text.expose_secret().to_owned())
}

/// A ring of keys, and the number of its questions.
struct Process<'a> {
    db: &'a TestDb,
    ring: KeyRing,
    asked: AtomicUsize,
}

impl<'a> Process<'a> {
    fn new(db: &'a TestDb) -> Self {
        Self { db, ring: KeyRing::default(), asked: AtomicUsize::new(0) }
    }

    async fn verify(&self, clock: &ManualClock, text: &str) -> Option<(Uuid, KeyAccess)> {
        let look_up = async |key_id| {
            self.asked.fetch_add(1, Ordering::Relaxed);
            api_keys::find(&mut *self.db.connect().await, key_id).await
        };
        let key = self.ring.verify::<DbError>(clock, text, look_up).await.unwrap();
        key.map(|key| (key.key_id, key.access))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_key_opens_by_its_text_only_and_the_database_is_asked_once() {
    let (db, clock) = (database().await, testkit::clock());
    let (key, text) = made(&db, &clock, &new(&[KeyScope::Read, KeyScope::Service])).await;
    let (other, other_text) = made(&db, &clock, &new(&[KeyScope::Admin])).await;
    let process = Process::new(&db);
    for _ in 0..3 {
        assert_eq!(process.verify(&clock, &text).await, Some((key.key_id, KeyAccess::Service)));
        assert_eq!(process.verify(&clock, &other_text).await, Some((other.key_id, KeyAccess::Admin)));
    }
    assert_eq!(process.asked(), 2);
    // A text without the form of a key costs no query.
    for text in ["", "usk_live_", &text[..40], &text.to_uppercase(), "usk_live_ab.cd.ef"] {
        assert_eq!(process.verify(&clock, text).await, None, "{text}");
    }
    assert_eq!(process.asked(), 2);
    // Another secret for an id that exists, well formed: a key of another database.
    let foreign = database().await;
    let (_, stranger) = made(&foreign, &clock, &new(&[KeyScope::Admin])).await;
    assert_eq!(process.verify(&clock, &stranger).await, None);
    foreign.run(&format!("UPDATE identity.api_keys SET key_id = '{}'", key.key_id)).await;
    let there = Process::new(&foreign);
    assert_eq!(there.verify(&clock, &text).await, None, "the id is known there, the secret is not");
    assert_eq!((process.asked(), there.asked()), (3, 1));
}

#[tokio::test]
async fn the_database_holds_nothing_that_opens() {
    let (db, clock) = (database().await, testkit::clock());
    let (key, text) = made(&db, &clock, &new(&[KeyScope::Read])).await;
    assert!(text.starts_with(&key.prefix) && key.prefix.len() == 13, "{key:?}");
    let secret = &text[key.prefix.len()..];
    let found = format!("SELECT count(*) FROM identity.api_keys AS k WHERE k::text LIKE '%{secret}%'");
    assert_eq!(db.ask(&found).await, 0);
    assert_eq!(
        db.ask("SELECT count(*) FROM identity.api_keys WHERE octet_length(secret_digest) = 32").await,
        1
    );
}

#[tokio::test]
async fn an_expired_key_is_refused_whether_it_was_verified_before_or_not() {
    let (db, clock) = (database().await, testkit::clock());
    let expires_at = Some(clock.now() + Duration::HOUR);
    let (_, text) = made(&db, &clock, &NewApiKey { expires_at, ..new(&[KeyScope::Read]) }).await;
    let (used, fresh) = (Process::new(&db), Process::new(&db));
    clock.advance(Duration::HOUR - Duration::microseconds(1));
    assert!(used.verify(&clock, &text).await.is_some());
    clock.advance(Duration::microseconds(1));
    assert_eq!(used.verify(&clock, &text).await, None);
    assert_eq!(fresh.verify(&clock, &text).await, None);
}

#[tokio::test]
async fn a_revoked_key_is_not_live_and_is_not_verified_anew() {
    let (db, clock) = (database().await, testkit::clock());
    let (key, text) = made(&db, &clock, &new(&[KeyScope::Admin])).await;
    let (second, second_text) = made(&db, &clock, &new(&[KeyScope::Admin])).await;
    let process = Process::new(&db);
    assert!(process.verify(&clock, &text).await.is_some());
    let live = async || {
        let asked =
            [key.key_id, second.key_id].map(|id| StatusQuery { key_id: Some(id), ..StatusQuery::default() });
        let found = users::statuses(&*db.connect().await, &asked).await.unwrap();
        [found[0].key_is_live, found[1].key_is_live]
    };
    assert_eq!(live().await, [true, true], "two are valid at once, while one replaces the other");
    clock.advance(Duration::MINUTE);
    let mut conn = db.connect().await;
    let Revocation::Now(revoked) = api_keys::revoke(&mut conn, &clock, key.key_id).await.unwrap() else {
        panic!("it was live")
    };
    assert_eq!(revoked, ApiKey { revoked_at: Some(clock.now()), ..key.clone() });
    clock.advance(Duration::MINUTE);
    assert_eq!(api_keys::revoke(&mut conn, &clock, key.key_id).await.unwrap(), Revocation::Before);
    assert_eq!(api_keys::revoke(&mut conn, &clock, Uuid::nil()).await.unwrap(), Revocation::Unknown);
    assert_eq!(live().await, [false, true]);
    // A process that remembers it asks for its status; one that does not, or forgot it, refuses it at once.
    assert!(process.verify(&clock, &text).await.is_some());
    process.ring.forget(key.key_id);
    assert_eq!(process.verify(&clock, &text).await, None);
    assert!(process.verify(&clock, &second_text).await.is_some());
    let listed = api_keys::list(&mut conn, &Page::first(10)).await.unwrap().items;
    assert_eq!(listed.iter().filter(|listed| listed.revoked_at.is_some()).count(), 1);
}

#[tokio::test]
async fn keys_are_listed_newest_first_in_pages_without_gap_or_repeat() {
    let (db, clock) = (database().await, testkit::clock());
    let mut expected = Vec::new();
    for nth in 0..9 {
        if nth % 2 == 0 {
            clock.advance(Duration::SECOND);
        }
        let rate = NonZeroU32::new(nth);
        let (key, _) =
            made(&db, &clock, &NewApiKey { requests_per_second: rate, ..new(&[KeyScope::Read]) }).await;
        expected.push(key);
    }
    expected.sort_by_key(|key| std::cmp::Reverse((key.created_at, key.key_id)));
    let mut conn = db.connect().await;
    let (mut found, mut start) = (Vec::new(), Start::Offset(0));
    loop {
        let slice = api_keys::list(&mut conn, &Page::new(4, start).unwrap()).await.unwrap();
        found.extend(slice.items);
        match slice.next {
            Some(place) => start = Start::After(place),
            None => break,
        }
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_hour_of_the_last_use_is_noted_and_never_goes_back() {
    let (db, clock) = (database().await, testkit::clock());
    let (key, _) = made(&db, &clock, &new(&[KeyScope::Read])).await;
    let (unused, _) = made(&db, &clock, &new(&[KeyScope::Read])).await;
    let mut conn = db.connect().await;
    let later = clock.now() + Duration::HOUR;
    for hour in [clock.now(), later, clock.now()] {
        api_keys::note_use(&mut conn, hour, &[key.key_id, Uuid::nil()]).await.unwrap();
    }
    let listed = api_keys::list(&mut conn, &Page::first(10)).await.unwrap().items;
    let last_use = |id| listed.iter().find(|listed| listed.key_id == id).unwrap().last_used_at;
    assert_eq!((last_use(key.key_id), last_use(unused.key_id)), (Some(later), None));
}

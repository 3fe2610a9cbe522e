//! Logins and their refresh tokens: rotation, repeats, reuse, races, the end.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{
    Activity, EmailVoucher, NewUser, OwnTokens, Role, StatusQuery, Validity,
    audit::AuditOrigin,
    logins::{self, LoginSelection, LoginTokens},
    seal::Sealer,
    users::{self, UserChange},
};
use kernel::{ManualClock, SeededIds, UserId};
use pg::{DbError, Pool, Tx};
use secrecy::{ExposeSecret as _, SecretString};
use testkit::TestDb;
use time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::signing_keys::{database, prepare, secret_key, tokens};

/// Parallel uses of one refresh token, and how often.
const RACERS: usize = 64;
const RACES: usize = 100;

struct Service {
    db: TestDb,
    clock: ManualClock,
    tokens: OwnTokens,
    ids: SeededIds,
    user: UserId,
}

impl Service {
    /// A service with a user whose address is confirmed.
    async fn start() -> Self {
        let (db, clock, tokens) = (database().await, testkit::clock(), tokens(1));
        prepare(&db, &clock, &tokens).await.unwrap();
        let service = Self { db, clock, tokens, ids: testkit::ids(), user: testkit::user("email|a") };
        service.sign_up("email|a", EmailVoucher::Staff).await;
        service
    }

    async fn sign_up(&self, user: &str, email_voucher: EmailVoucher) {
        let new = NewUser {
            user_id: testkit::user(user),
            email: Some(format!("{}@example.com", &user[6..])),
            email_voucher,
            name: Some("A".to_owned()),
            role: Role::User,
            brought_by: None,
        };
        Tx::run(self.db.pool(), async |tx| users::ensure(tx, &self.clock, &new).await)
            .await
            .unwrap()
            .unwrap();
    }

    async fn open(&self) -> LoginTokens {
        let mut conn = self.db.connect().await;
        logins::open(&self.tokens, &mut conn, &self.clock, &self.ids, &self.user, Some("a@example.com"))
            .await
            .unwrap()
    }

    async fn refresh(&self, token: &SecretString) -> Option<LoginTokens> {
        refresh(self.db.pool(), &self.tokens, &self.clock, token).await
    }

    async fn end(&self, selection: LoginSelection) -> usize {
        Tx::run(self.db.pool(), async |tx| logins::end(tx, &self.clock, &self.user, selection).await)
            .await
            .unwrap()
    }

    async fn is_live(&self, login_id: Uuid) -> bool {
        let asked = StatusQuery { login_id: Some(login_id), ..StatusQuery::user(&self.user) };
        let conn = self.db.connect().await;
        users::statuses(&conn, &[asked]).await.unwrap()[0].login_is_live
    }

    async fn reuses(&self) -> i64 {
        self.db
            .ask("SELECT count(*) FROM identity.audit_events WHERE action = 'login.refresh_reused' AND user_id = 'email|a'")
            .await
    }
}

async fn refresh(
    pool: &Pool,
    tokens: &OwnTokens,
    clock: &ManualClock,
    token: &SecretString,
) -> Option<LoginTokens> {
    let work = async |tx: &mut Tx| logins::refresh(tokens, tx, clock, token, AuditOrigin::default()).await;
    Tx::run(pool, work).await.unwrap()
}

fn text(token: &SecretString) -> &str {
    token.expose_secret()
}

#[tokio::test]
async fn each_use_replaces_the_token_and_keeps_the_login() {
    let service = Service::start().await;
    let opened = service.open().await;
    assert_eq!(text(&opened.refresh_token).len(), 86);
    let (mut seen, mut last) = (BTreeSet::new(), opened);
    for _ in 0..5 {
        assert!(seen.insert(text(&last.refresh_token).to_owned()));
        service.clock.advance(Duration::hours(1));
        let next = service.refresh(&last.refresh_token).await.unwrap();
        assert_eq!((&next.user_id, next.login_id), (&service.user, last.login_id));
        let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(text(&next.access_token));
        let claims = claims.unwrap().claims;
        assert_eq!(claims["sid"], serde_json::json!(last.login_id));
        assert_eq!(claims["email"], "a@example.com");
        last = next;
    }
    assert!(service.is_live(last.login_id).await);
    assert_eq!(service.reuses().await, 0);
}

#[tokio::test]
async fn an_address_that_is_not_confirmed_is_in_no_token() {
    let mut service = Service::start().await;
    service.sign_up("email|b", EmailVoucher::Nobody).await;
    service.user = testkit::user("email|b");
    let opened = service.open().await;
    let next = service.refresh(&opened.refresh_token).await.unwrap();
    let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(text(&next.access_token));
    assert!(claims.unwrap().claims.get("email").is_none());
}

#[tokio::test]
async fn repeating_the_previous_token_for_ten_seconds_returns_the_present_one() {
    let service = Service::start().await;
    let first = service.open().await;
    let second = service.refresh(&first.refresh_token).await.unwrap();
    service.clock.advance(Duration::seconds(10));
    let again = service.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(text(&again.refresh_token), text(&second.refresh_token));
    assert_eq!(again.login_id, first.login_id);
    // A repeat does not prolong the time for repeats.
    service.clock.advance(Duration::MICROSECOND);
    assert!(service.refresh(&first.refresh_token).await.is_none());
    assert!(!service.is_live(first.login_id).await);
    assert!(service.refresh(&second.refresh_token).await.is_none());
    assert_eq!(service.reuses().await, 1);
}

#[tokio::test]
async fn an_older_token_ends_the_login_at_any_time() {
    let service = Service::start().await;
    let first = service.open().await;
    let other = service.open().await;
    let second = service.refresh(&first.refresh_token).await.unwrap();
    let third = service.refresh(&second.refresh_token).await.unwrap();
    assert!(service.refresh(&first.refresh_token).await.is_none());
    assert!(!service.is_live(first.login_id).await);
    assert!(service.refresh(&third.refresh_token).await.is_none());
    assert_eq!(service.reuses().await, 1);
    // The other login of the user goes on.
    assert!(service.refresh(&other.refresh_token).await.is_some());
}

#[tokio::test]
async fn a_text_with_the_id_of_a_login_is_not_one_of_its_tokens() {
    let service = Service::start().await;
    let opened = service.open().await;
    let good = URL_SAFE_NO_PAD.decode(text(&opened.refresh_token)).unwrap();
    assert_eq!(good.len(), 64);
    for place in 0..good.len() {
        let mut bytes = good.clone();
        // The second part proves that the caller had a token of the login.
        bytes[16] ^= 2;
        bytes[place] ^= 1;
        assert!(service.refresh(&URL_SAFE_NO_PAD.encode(&bytes).into()).await.is_none(), "{place}");
        assert!(service.is_live(opened.login_id).await, "{place}");
    }
    let shortened = &text(&opened.refresh_token)[1..];
    for wrong in ["", "x", "AAAA", &"A".repeat(86), &"A".repeat(10_000), "\u{e4}", shortened] {
        assert!(service.refresh(&wrong.into()).await.is_none(), "{wrong}");
    }
    assert_eq!(service.reuses().await, 0);
    assert!(service.refresh(&opened.refresh_token).await.is_some());
}

#[tokio::test]
async fn a_token_expires_unless_it_is_used() {
    let service = Service::start().await;
    let Validity { refresh, .. } = service.tokens.validity();
    let first = service.open().await;
    service.clock.advance(refresh - Duration::SECOND);
    let second = service.refresh(&first.refresh_token).await.unwrap();
    service.clock.advance(refresh - Duration::SECOND);
    let third = service.refresh(&second.refresh_token).await.unwrap();
    service.clock.advance(refresh);
    assert!(service.refresh(&third.refresh_token).await.is_none());
    // Nor does an expired login report a theft.
    assert!(service.refresh(&first.refresh_token).await.is_none());
    assert_eq!(service.reuses().await, 0);
}

#[tokio::test]
async fn logins_are_ended_one_by_one_or_together() {
    let service = Service::start().await;
    let [a, b, c, d] =
        [service.open().await, service.open().await, service.open().await, service.open().await];
    let live = async || {
        let mut live = Vec::new();
        for login in [&a, &b, &c, &d] {
            live.push(service.is_live(login.login_id).await);
        }
        live
    };
    assert_eq!(service.end(LoginSelection::One(a.login_id)).await, 1);
    assert_eq!(service.end(LoginSelection::One(a.login_id)).await, 0, "it had ended");
    assert_eq!(live().await, [false, true, true, true]);
    assert_eq!(service.end(LoginSelection::Others(b.login_id)).await, 2);
    assert_eq!(live().await, [false, true, false, false]);
    assert_eq!(service.end(LoginSelection::All).await, 1);
    assert_eq!(live().await, [false; 4]);
    for login in [a, b, c, d] {
        assert!(service.refresh(&login.refresh_token).await.is_none());
    }
    assert_eq!(service.reuses().await, 0);
}

#[tokio::test]
async fn a_disabled_user_gets_no_tokens() {
    let service = Service::start().await;
    let opened = service.open().await;
    for activity in [Activity::Deactivated, Activity::Active] {
        let change = UserChange::activity(activity);
        let changed = Tx::run(service.db.pool(), async |tx| {
            users::change(tx, &service.clock, &service.user, &change).await
        });
        changed.await.unwrap().unwrap().unwrap();
        assert!(service.refresh(&opened.refresh_token).await.is_none(), "{activity:?}: the login has ended");
    }
}

/// Tabs of a browser and requests that are sent again use one token at the same time, on two processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_uses_of_one_token_sign_nobody_out() {
    let service = Service::start().await;
    let pools = [service.db.pool().clone(), service.db.second_pool()];
    let mut present = service.open().await;
    for race in 0..RACES {
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (pool, own, clock) =
                (pools[racer % 2].clone(), service.tokens.clone(), service.clock.clone());
            let token = present.refresh_token.clone();
            racers.spawn(async move { refresh(&pool, &own, &clock, &token).await });
        }
        let answers: Vec<LoginTokens> = racers.join_all().await.into_iter().map(Option::unwrap).collect();
        let next: BTreeSet<&str> = answers.iter().map(|answer| text(&answer.refresh_token)).collect();
        assert_eq!(next.len(), 1, "race {race}");
        present = answers.into_iter().next().unwrap();
        service.clock.advance(Duration::seconds(11));
    }
    assert!(service.is_live(present.login_id).await);
    assert_eq!(service.reuses().await, 0);
}

#[tokio::test]
async fn whoever_ends_a_login_while_it_is_refreshed_has_the_last_word() {
    let service = Service::start().await;
    let opened = service.open().await;
    let mut refreshing = Tx::begin(service.db.pool()).await.unwrap();
    let origin = AuditOrigin::default();
    let next =
        logins::refresh(&service.tokens, &mut refreshing, &service.clock, &opened.refresh_token, origin);
    let next = next.await.unwrap().unwrap();
    let ending = service.end(LoginSelection::All);
    let commit = async {
        service.db.wait_for_waiting(1).await;
        refreshing.commit().await.unwrap();
    };
    let (ended, ()) = tokio::join!(ending, commit);
    assert_eq!(ended, 1);
    assert!(!service.is_live(opened.login_id).await);
    assert!(service.refresh(&next.refresh_token).await.is_none());
}

#[tokio::test]
async fn no_login_is_opened_beside_a_deactivation() {
    let service = Service::start().await;
    let mut disabling = Tx::begin(service.db.pool()).await.unwrap();
    let change = UserChange::activity(Activity::Deactivated);
    users::change(&mut disabling, &service.clock, &service.user, &change).await.unwrap();
    let mut conn = service.db.connect().await;
    let opening = logins::open(&service.tokens, &mut conn, &service.clock, &service.ids, &service.user, None);
    let commit = async {
        service.db.wait_for_waiting(1).await;
        disabling.commit().await.unwrap();
    };
    let (opened, ()) = tokio::join!(opening, commit);
    assert!(matches!(opened, Err(DbError::Contention(_))), "{opened:?}");
    assert_eq!(service.db.ask("SELECT count(*) FROM identity.logins").await, 0);
}

#[tokio::test]
async fn another_secrets_key_signs_nobody_out() {
    let service = Service::start().await;
    let with = |sealer: Sealer| {
        OwnTokens::new(Arc::new(sealer), "https://users.example.com", service.tokens.validity())
    };
    let both = with(Sealer::new(&secret_key(2), &[secret_key(1)]).unwrap());
    let (pool, clock) = (service.db.pool(), &service.clock);
    let first = service.open().await;
    // The process with the older key answers, the repeat goes to the one with the newer key.
    let second = service.refresh(&first.refresh_token).await.unwrap();
    let again = refresh(pool, &both, clock, &first.refresh_token).await.unwrap();
    assert_eq!(text(&again.refresh_token), text(&second.refresh_token));
    let third = refresh(pool, &both, clock, &second.refresh_token).await.unwrap();
    let fourth = refresh(pool, &both, clock, &third.refresh_token).await.unwrap();
    // An older token is recognised by either key.
    assert!(refresh(pool, &both, clock, &first.refresh_token).await.is_none());
    assert!(refresh(pool, &both, clock, &fourth.refresh_token).await.is_none());
    assert_eq!(service.reuses().await, 1);
}

#[tokio::test]
async fn logins_that_are_over_are_deleted() {
    let service = Service::start().await;
    let Validity { refresh, .. } = service.tokens.validity();
    let expiring = service.open().await;
    service.clock.advance(Duration::days(1));
    let (ended, kept) = (service.open().await, service.open().await);
    let prune = async |limit| {
        Tx::run(service.db.pool(), async |tx| logins::prune(tx, &service.clock, limit).await).await.unwrap()
    };
    assert_eq!(prune(10).await, 0);
    service.end(LoginSelection::One(ended.login_id)).await;
    service.clock.advance(refresh - Duration::hours(1));
    assert_eq!(prune(1).await, 1);
    assert_eq!(prune(1).await, 1);
    assert_eq!(prune(1).await, 0);
    assert!(service.is_live(kept.login_id).await);
    assert!(!service.is_live(expiring.login_id).await);
}

#[tokio::test]
async fn a_copy_of_the_table_has_no_token() {
    let service = Service::start().await;
    let first = service.open().await;
    let second = service.refresh(&first.refresh_token).await.unwrap();
    for token in [&first.refresh_token, &second.refresh_token] {
        let bytes = URL_SAFE_NO_PAD.decode(text(token)).unwrap();
        let secret: String = bytes[32..].iter().map(|byte| format!("{byte:02x}")).collect();
        let sql =
            format!("SELECT count(*) FROM identity.logins WHERE logins::text LIKE '%{}%'", &secret[..16]);
        assert_eq!(service.db.ask(&sql).await, 0);
    }
}

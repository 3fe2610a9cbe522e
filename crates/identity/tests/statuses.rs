//! The status of callers, against a real PostgreSQL.

use identity::{Acting, ActingStatus, Identity, Role, Standing, StatusQuery, UserStatus, users};
use testkit::TestDb;
use uuid::Uuid;

const LIVE: Uuid = Uuid::from_u128(1);
const ENDED: Uuid = Uuid::from_u128(2);
const UNKNOWN: Uuid = Uuid::from_u128(3);

const A: UserStatus = UserStatus { is_active: false, role: Role::User };
const B: UserStatus = UserStatus { is_active: true, role: Role::Admin };

/// Users `a`, disabled, and `b`, an administrator, to whom `second|b` was linked; each with a live and an ended login, and a
/// valid and a revoked key.
async fn database() -> TestDb {
    let db = TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await;
    for (id, is_active, role) in [("a", "false", "user"), ("b", "true", "admin")] {
        db.run(&format!(
            "INSERT INTO identity.users (user_id, is_active, role, created_at, updated_at) \
             VALUES ('{id}', {is_active}, '{role}', '2026-01-15', '2026-01-15')"
        ))
        .await;
        for (login_id, ended_at) in [(LIVE, "null"), (ENDED, "'2026-01-16'")] {
            db.run(&format!(
                "INSERT INTO identity.logins (user_id, id, refresh_digest, created_at, rotated_at, expires_at, ended_at) \
                 VALUES ('{id}', '{login_id}', sha256('x'), '2026-01-15', '2026-01-15', '2026-02-15', {ended_at})"
            ))
            .await;
        }
    }
    for (id, user_id) in [("b", "b"), ("second|b", "b")] {
        db.run(&format!(
            "INSERT INTO identity.identities (id, user_id, issuer, created_at) \
             VALUES ('{id}', '{user_id}', 'https://{user_id}.example.com/', '2026-01-15')"
        ))
        .await;
    }
    for (key_id, revoked_at) in [(LIVE, "null"), (ENDED, "'2026-01-16'")] {
        db.run(&format!(
            "INSERT INTO identity.api_keys (key_id, name, prefix, secret_digest, scopes, created_at, created_by, revoked_at) \
             VALUES ('{key_id}', 'a key', 'usk_live_ab12', sha256('x'), '{{read}}', '2026-01-15', 'bootstrap', {revoked_at})"
        ))
        .await;
    }
    db
}

fn standing(user: Option<UserStatus>) -> Standing {
    let identity = user
        .filter(|user| user.is_active)
        .map(|_| Identity { user_id: testkit::user("b"), issuer: "https://b.example.com/".to_owned() });
    Standing { identity, user, login_is_live: false, key_is_live: false }
}

#[tokio::test]
async fn statuses_come_in_the_order_asked() {
    let db = database().await;
    let conn = db.connect().await;
    let of = |id: &str| StatusQuery::user(&testkit::user(id));
    let with_login = |id: &str, login_id| StatusQuery { login_id: Some(login_id), ..of(id) };
    let key = |key_id| StatusQuery { key_id: Some(key_id), ..StatusQuery::default() };
    let asked = [
        (of("b"), standing(Some(B))),
        (of("nobody"), standing(None)),
        (of("second|b"), standing(Some(B))),
        (of("A"), standing(None)),
        (of("a"), standing(Some(A))),
        (with_login("a", LIVE), Standing { login_is_live: true, ..standing(Some(A)) }),
        (with_login("second|b", LIVE), Standing { login_is_live: true, ..standing(Some(B)) }),
        (with_login("b", ENDED), standing(Some(B))),
        (with_login("b", UNKNOWN), standing(Some(B))),
        (with_login("nobody", LIVE), standing(None)),
        (key(LIVE), Standing { key_is_live: true, ..standing(None) }),
        (key(ENDED), standing(None)),
        (key(UNKNOWN), standing(None)),
        (
            StatusQuery { key_id: Some(LIVE), ..with_login("b", LIVE) },
            Standing { login_is_live: true, key_is_live: true, ..standing(Some(B)) },
        ),
        (StatusQuery::default(), standing(None)),
    ];
    let (asked, expected): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    assert_eq!(users::statuses(&conn, &asked).await.unwrap(), expected);
    assert_eq!(users::statuses(&conn, &[]).await.unwrap(), []);
}

#[tokio::test]
async fn those_who_act_need_a_live_login_if_they_have_one() {
    let db = database().await;
    let conn = db.connect().await;
    let status = |user, login_is_live| Some(ActingStatus { user, login_is_live });
    let asked = [
        ("b", None, status(B, true)),
        ("b", Some(LIVE), status(B, true)),
        ("b", Some(ENDED), status(B, false)),
        ("b", Some(UNKNOWN), status(B, false)),
        ("second|b", Some(LIVE), None),
        ("a", Some(LIVE), status(A, true)),
        ("nobody", Some(LIVE), None),
    ];
    let queries = asked.map(|(id, login_id, _)| Acting { user_id: testkit::user(id), login_id });
    let found = users::acting(&conn, &queries.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(found, asked.map(|(_, _, status)| status));
}

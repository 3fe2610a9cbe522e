//! First logins.

use std::sync::Arc;

use flows::sign_up;
use identity::IdentityRefusal;
use kernel::RandomIds;
use tokio::task::JoinSet;

use crate::{database, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_first_logins_at_once_make_one_user_with_one_grant() {
    let db = Arc::new(database().await);
    let mut logins = JoinSet::new();
    for _ in 0..40 {
        let (db, clock) = (Arc::clone(&db), testkit::clock());
        logins.spawn(async move {
            sign_up::run(db.pool(), &clock, &RandomIds, &request("a", "1000")).await.unwrap().unwrap()
        });
    }
    let logins = logins.join_all().await;
    assert_eq!(logins.iter().filter(|login| login.created).count(), 1);
    for login in logins {
        assert_eq!(login.balance.posted, "1000".parse().unwrap());
        assert_eq!(login.balance.lifetime_granted, login.balance.posted);
    }
}

#[tokio::test]
async fn a_taken_address_makes_neither_user_nor_account() {
    let db = database().await;
    let clock = testkit::clock();
    sign_up::run(db.pool(), &clock, &RandomIds, &request("a", "5")).await.unwrap().unwrap();
    let mut other = request("b", "5");
    other.user.email = Some("A@EXAMPLE.com".to_owned());
    let refused = sign_up::run(db.pool(), &clock, &RandomIds, &other).await.unwrap();
    assert!(matches!(refused, Err(IdentityRefusal::EmailTaken)));
    let mut conn = db.pool().get().await.unwrap();
    assert!(identity::users::find(&mut conn, &other.user.user_id).await.unwrap().is_none());
    let accounts = credits::balances(&conn, &clock, &[other.user.user_id]).await.unwrap();
    assert_eq!(accounts, [None]);
}

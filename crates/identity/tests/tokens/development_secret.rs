//! The secret that signs development tokens, kept in the database.

use futures_util::future::join_all;
use identity::development_secret;
use secrecy::ExposeSecret as _;
use testkit::TestDb;

#[tokio::test]
async fn everyone_who_asks_at_once_gets_the_same_secret_and_so_does_everyone_later() {
    let db = TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await;
    let clock = testkit::clock();
    let ask = async || {
        let mut conn = db.connect().await;
        let secret = development_secret(&mut conn, &clock).await.unwrap();
        secret.expose_secret().to_owned()
    };
    let secrets = join_all((0..5).map(|_| ask())).await;
    assert_eq!(secrets[0].len(), 64);
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    assert_eq!(ask().await, secrets[0]);
}

#[tokio::test]
async fn every_database_has_a_secret_of_its_own() {
    let clock = testkit::clock();
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let db = TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await;
        let mut conn = db.connect().await;
        secrets.push(development_secret(&mut conn, &clock).await.unwrap());
    }
    assert_ne!(secrets[0].expose_secret(), secrets[1].expose_secret());
}

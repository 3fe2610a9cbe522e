//! The keys of own tokens in the database: the first one, rotation by the clock, and the end of old ones.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use identity::{
    OwnTokens, Validity,
    seal::{Sealer, SecretKey},
    signing_keys::{self, Rotated, SigningKey, Start},
};
use kernel::{Clock as _, ManualClock};
use pg::{DbError, Tx};
use testkit::TestDb;
use time::Duration;

/// Validity of the tokens of these tests.
const TTL: Duration = Duration::HOUR;

pub fn secret_key(byte: u8) -> SecretKey {
    SecretKey::from_base64(&STANDARD.encode([byte; 32])).unwrap()
}

/// Tokens of a service that seals with this key.
pub fn tokens(key: u8) -> OwnTokens {
    let sealer = Sealer::new(&secret_key(key), &[]).unwrap();
    OwnTokens::new(Arc::new(sealer), "https://users.example.com", validity(TTL))
}

fn validity(access: Duration) -> Validity {
    Validity { access, refresh: Duration::days(30) }
}

pub async fn prepare(db: &TestDb, clock: &ManualClock, tokens: &OwnTokens) -> Result<(), DbError> {
    import(db, clock, tokens, None).await
}

async fn import(
    db: &TestDb,
    clock: &ManualClock,
    tokens: &OwnTokens,
    key: Option<&SigningKey>,
) -> Result<(), DbError> {
    Tx::run(db.pool(), async |tx| signing_keys::prepare(tx, clock, tokens.keyring(), key).await).await
}

pub async fn rotate(db: &TestDb, clock: &ManualClock, start: Start) -> Rotated {
    let tokens = tokens(1);
    Tx::run(db.pool(), async |tx| signing_keys::rotate(tx, clock, tokens.keyring(), start).await)
        .await
        .unwrap()
}

async fn prune(db: &TestDb, clock: &ManualClock) -> usize {
    Tx::run(db.pool(), async |tx| signing_keys::prune(tx, clock).await).await.unwrap()
}

async fn published(db: &TestDb, clock: &ManualClock) -> Vec<String> {
    let mut conn = db.connect().await;
    let keys = signing_keys::published(&mut conn, clock).await.unwrap();
    keys.into_iter().map(|key| key.kid).collect()
}

/// The name of the key that signs.
async fn signing(db: &TestDb, clock: &ManualClock) -> String {
    let user = testkit::user("email|a");
    let mut conn = db.connect().await;
    let token = tokens(1).issue(&mut conn, clock, &user, uuid::Uuid::nil(), None).await.unwrap();
    kid(secrecy::ExposeSecret::expose_secret(&token))
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

pub async fn database() -> TestDb {
    TestDb::create(&[identity::MIGRATIONS], &[identity::AUDITS]).await
}

#[tokio::test]
async fn processes_that_start_at_once_make_one_key() {
    let (db, clock) = (database().await, testkit::clock());
    let tokens = tokens(1);
    for prepared in join_all((0..5).map(|_| prepare(&db, &clock, &tokens))).await {
        prepared.unwrap();
    }
    let kids = published(&db, &clock).await;
    assert_eq!(kids.len(), 1);
    assert_eq!(signing(&db, &clock).await, kids[0]);
}

/// The key of RFC 8037, appendix A.1, with its thumbprint of appendix A.3.
#[tokio::test]
async fn the_first_key_can_be_imported_and_afterwards_the_database_decides() {
    const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let der = [hex("302e020100300506032b657004220420"), seed.clone()].concat();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
    let key = SigningKey::from_pem(&pem).unwrap();
    assert_eq!(key.kid(), KID);
    assert_eq!(SigningKey::from_pem(&pem.replace('\n', "\\n")).unwrap().kid(), KID);
    assert_eq!(format!("{key:?}"), format!("SigningKey({KID})"));

    let (db, clock) = (database().await, testkit::clock());
    import(&db, &clock, &tokens(1), Some(&key)).await.unwrap();
    let mut conn = db.connect().await;
    let keys = signing_keys::published(&mut conn, &clock).await.unwrap();
    assert_eq!(keys[0].kid, KID);
    assert_eq!(keys[0].x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let shown = format!("position('\\x{}' IN sealed_key)", to_hex(&seed));
    let sql = format!("SELECT count(*) FROM identity.signing_keys WHERE {shown} > 0");
    assert_eq!(db.ask(&sql).await, 0, "the private key is sealed");

    import(&db, &clock, &tokens(1), Some(&SigningKey::generate().unwrap())).await.unwrap();
    assert_eq!(published(&db, &clock).await, [KID]);
}

#[test]
fn what_is_no_private_key_is_refused() {
    let public = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let ec = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    for text in ["", "x", public, &ec, "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"] {
        assert!(SigningKey::from_pem(text).is_err(), "{text}");
    }
    let ed = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    assert!(SigningKey::from_pem(&ed).is_ok());
}

#[tokio::test]
async fn a_new_key_is_published_at_once_and_signs_after_five_minutes() {
    let (db, clock) = (database().await, testkit::clock());
    prepare(&db, &clock, &tokens(1)).await.unwrap();
    let old = signing(&db, &clock).await;
    let Rotated { kid: new, signs_from } = rotate(&db, &clock, Start::Later).await;
    assert_eq!(signs_from, clock.now() + Duration::minutes(5));
    assert_eq!(published(&db, &clock).await, [new.clone(), old.clone()]);
    let audited = format!(
        "SELECT count(*) FROM identity.audit_events WHERE action = 'signing_key.rotated' AND details ->> 'kid' = '{new}'"
    );
    assert_eq!(db.ask(&audited).await, 1);
    clock.advance(Duration::minutes(5) - Duration::MICROSECOND);
    assert_eq!(signing(&db, &clock).await, old);
    clock.advance(Duration::MICROSECOND);
    assert_eq!(signing(&db, &clock).await, new);

    // The old one stays as long as its last token is valid, with leeway.
    clock.advance(TTL + Duration::minutes(1));
    assert_eq!(published(&db, &clock).await, [new.clone(), old.clone()]);
    assert_eq!(prune(&db, &clock).await, 0);
    clock.advance(Duration::minutes(10));
    assert_eq!(published(&db, &clock).await, [new.as_str()]);
    assert_eq!(prune(&db, &clock).await, 1);
    assert_eq!(prune(&db, &clock).await, 0);
    clock.advance(Duration::days(1_000));
    assert_eq!(published(&db, &clock).await, [new.as_str()], "the key that signs stays");
    assert_eq!(signing(&db, &clock).await, new);
}

#[tokio::test]
async fn a_key_that_signs_at_once_overtakes_one_that_was_to_sign() {
    let (db, clock) = (database().await, testkit::clock());
    prepare(&db, &clock, &tokens(1)).await.unwrap();
    let waiting = rotate(&db, &clock, Start::Later).await;
    clock.advance(Duration::SECOND);
    let urgent = rotate(&db, &clock, Start::AtOnce).await;
    assert_eq!(urgent.signs_from, clock.now());
    assert_eq!(signing(&db, &clock).await, urgent.kid);
    clock.advance(Duration::minutes(6));
    assert_eq!(signing(&db, &clock).await, urgent.kid);
    assert!(published(&db, &clock).await.contains(&waiting.kid));
    clock.advance(TTL + Duration::minutes(11));
    assert_eq!(published(&db, &clock).await, [urgent.kid]);
    assert_eq!(prune(&db, &clock).await, 2);
}

#[tokio::test]
async fn the_longest_validity_of_any_process_counts() {
    let (db, clock) = (database().await, testkit::clock());
    prepare(&db, &clock, &tokens(1)).await.unwrap();
    let long = {
        let sealer = Sealer::new(&secret_key(1), &[]).unwrap();
        OwnTokens::new(Arc::new(sealer), "https://users.example.com", validity(TTL * 24))
    };
    prepare(&db, &clock, &long).await.unwrap();
    rotate(&db, &clock, Start::AtOnce).await;
    clock.advance(TTL * 24);
    assert_eq!(published(&db, &clock).await.len(), 2);
    clock.advance(Duration::minutes(11));
    assert_eq!(published(&db, &clock).await.len(), 1);
    // The new key inherits it.
    assert_eq!(db.ask("SELECT min(token_ttl_seconds) FROM identity.signing_keys").await, 24 * 3_600);
}

#[tokio::test]
async fn another_secrets_key_is_named_and_a_previous_one_opens() {
    let (db, clock) = (database().await, testkit::clock());
    prepare(&db, &clock, &tokens(1)).await.unwrap();
    let error = prepare(&db, &clock, &tokens(2)).await.unwrap_err();
    let told = pg::pool::chain(&error);
    assert!(told.contains("SECRETS_KEY") && !told.contains('\n'), "{told}");

    let sealer = Sealer::new(&secret_key(2), &[secret_key(1)]).unwrap();
    let both = OwnTokens::new(Arc::new(sealer), "https://users.example.com", validity(TTL));
    prepare(&db, &clock, &both).await.unwrap();
    let rotate = async |tx: &mut Tx| signing_keys::rotate(tx, &clock, both.keyring(), Start::AtOnce).await;
    Tx::run(db.pool(), rotate).await.unwrap();
    prepare(&db, &clock, &tokens(2)).await.unwrap();
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |place: usize| u8::from_str_radix(&text[place..place + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_rotation_needs_the_key_that_sealed_those_before() {
    let (db, clock) = (database().await, testkit::clock());
    prepare(&db, &clock, &tokens(1)).await.unwrap();
    let other = tokens(2);
    let rotated =
        Tx::run(db.pool(), async |tx| signing_keys::rotate(tx, &clock, other.keyring(), Start::AtOnce).await);
    assert!(matches!(rotated.await, Err(DbError::Inconsistent(why)) if why.contains("SECRETS_KEY")));
    assert_eq!(published(&db, &clock).await.len(), 1);
    // A key that does not sign yet counts too.
    rotate(&db, &clock, Start::Later).await;
    assert!(prepare(&db, &clock, &tokens(2)).await.is_err());
    prepare(&db, &clock, &tokens(1)).await.unwrap();
}

//! Tokens of this service.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use identity::{
    Issuer, OwnTokens, Provider, TokenError, Verifier,
    signing_keys::{self, Start},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use kernel::ManualClock;
use pg::{Pool, Tx};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use testkit::TestDb;
use time::Duration;
use uuid::Uuid;

use super::{
    AUDIENCE, AUTH0, JwksTiming, PROJECT, auth0_claims, now, patient, project_claims, secret, verifier,
};
use crate::{
    key_server::KeyServer,
    minting::{Signer, with, without},
    signing_keys::{database, prepare, rotate, tokens},
};

const ISSUER: &str = "https://users.example.com";
const LOGIN: Uuid = Uuid::from_u128(7);

/// A database with a key that signs.
struct Service {
    db: TestDb,
    clock: ManualClock,
    tokens: OwnTokens,
}

impl Service {
    async fn start() -> Self {
        let (db, clock, tokens) = (database().await, testkit::clock(), tokens(1));
        prepare(&db, &clock, &tokens).await.unwrap();
        Self { db, clock, tokens }
    }

    /// The verifier of a process.
    fn process(&self, pool: Pool) -> Verifier {
        let issuer = Issuer::own(ISSUER, pool, Arc::new(self.clock.clone()));
        verifier(vec![issuer], JwksTiming::default(), &self.clock)
    }

    async fn issue(&self, email: Option<&str>) -> String {
        let user = testkit::user("email|a");
        let mut conn = self.db.connect().await;
        let token = self.tokens.issue(&mut conn, &self.clock, &user, LOGIN, email).await.unwrap();
        token.expose_secret().to_owned()
    }
}

fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_says_who_and_by_which_login() {
    let service = Service::start().await;
    let process = service.process(service.db.pool().clone());
    let token = service.issue(Some("a@example.com")).await;
    let claims = json!({"iss": ISSUER, "aud": "user-service", "sub": "email|a", "sid": LOGIN, "iat": now(),
                        "exp": now() + 3_600, "email": "a@example.com"});
    assert_eq!(claims_of(&token), claims);
    for _first_and_remembered in 0..2 {
        let verified = process.verify_or_refresh(&token).await.unwrap();
        assert_eq!(verified.user_id, testkit::user("email|a"));
        assert_eq!(verified.login_id, Some(LOGIN));
        assert_eq!(verified.vouched_email.as_deref(), Some("a@example.com"));
        assert_eq!(verified.provider, Provider::Own);
    }
    let unconfirmed = service.issue(None).await;
    assert!(claims_of(&unconfirmed).get("email").is_none());
    assert_eq!(process.verify_or_refresh(&unconfirmed).await.unwrap().vouched_email, None);
    service.clock.advance(Duration::seconds(3_660));
    assert_eq!(process.verify_or_refresh(&token).await, Err(TokenError::Expired));
}

#[tokio::test]
async fn nothing_but_a_signature_of_the_key_of_the_database_counts() {
    let service = Service::start().await;
    let process = service.process(service.db.pool().clone());
    let good = service.issue(None).await;
    process.verify_or_refresh(&good).await.unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let kid = jsonwebtoken::decode_header(&good).unwrap().kid.unwrap();
    let claims = claims_of(&good);
    let mut conn = service.db.connect().await;
    let public = signing_keys::published(&mut conn, &service.clock).await.unwrap();
    let public = URL_SAFE_NO_PAD.decode(&public[0].x).unwrap();

    let foreign = foreign_key();
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT", "kid": kid});
    let unsigned = |alg: &str| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&header(alg)), part(&claims))
    };
    let confused = Signer { kid: "x", algorithm: Algorithm::HS256, key: EncodingKey::from_secret(&public) };
    let mut changed = signature.to_owned().into_bytes();
    changed[3] = if changed[3] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    for (token, error) in [
        (foreign.token_with(&header("EdDSA"), &claims), TokenError::Signature),
        (format!("{message}.{changed}"), TokenError::Signature),
        (format!("{message}."), TokenError::Signature),
        (format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64])), TokenError::Signature),
        (format!("{message}.{signature}AAAA"), TokenError::Signature),
        (unsigned("none"), TokenError::Algorithm),
        (unsigned("EdDSA"), TokenError::Signature),
        (unsigned("ES256"), TokenError::Algorithm),
        (unsigned("Ed25519"), TokenError::Algorithm),
        (confused.token_with(&header("HS256"), &claims), TokenError::Algorithm),
        (Signer::rsa_first().token_with(&header("RS256"), &claims), TokenError::Algorithm),
        (foreign.token_with(&json!({"alg": "EdDSA", "kid": "another"}), &claims), TokenError::UnknownKey),
        (foreign.token_with(&json!({"alg": "EdDSA"}), &claims), TokenError::Signature),
    ] {
        assert_eq!(process.verify_or_refresh(&token).await, Err(error), "{token}");
    }
    process.verify_or_refresh(&good).await.unwrap();
}

/// A key of the right kind that nobody published.
fn foreign_key() -> Signer {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    Signer { kid: "foreign", algorithm: Algorithm::EdDSA, key }
}

#[tokio::test]
async fn claims_of_own_tokens_are_all_needed() {
    let (db, clock) = (database().await, testkit::clock());
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    let key = signing_keys::SigningKey::from_pem(&pem).unwrap();
    let own = tokens(1);
    Tx::run(db.pool(), async |tx| signing_keys::prepare(tx, &clock, own.keyring(), Some(&key)).await)
        .await
        .unwrap();
    let service = Service { db, clock, tokens: own };
    let process = service.process(service.db.pool().clone());
    let good = claims_of(&service.issue(None).await);
    let key = Signer {
        kid: "x",
        algorithm: Algorithm::EdDSA,
        key: EncodingKey::from_ed_pem(pem.as_bytes()).unwrap(),
    };
    let signed = |claims: &Value| key.token_with(&json!({"alg": "EdDSA"}), claims);
    process.verify_or_refresh(&signed(&good)).await.unwrap();
    for (claims, error) in [
        (without(&good, "sid"), TokenError::Claim("sid")),
        (with(&good, "sid", json!("no uuid")), TokenError::Claim("sid")),
        (with(&good, "sid", json!(7)), TokenError::Claim("sid")),
        (without(&good, "aud"), TokenError::Audience),
        (with(&good, "aud", json!("authenticated")), TokenError::Audience),
        (without(&good, "exp"), TokenError::Claim("exp")),
        (without(&good, "sub"), TokenError::Claim("sub")),
        (with(&good, "iss", json!(format!("{ISSUER}/"))), TokenError::UnknownIssuer),
        (with(&good, "exp", json!(now() - 60)), TokenError::Expired),
        (with(&good, "iat", json!(now() + 61)), TokenError::NotYetValid),
    ] {
        assert_eq!(process.verify_or_refresh(&signed(&claims)).await, Err(error), "{claims}");
    }
}

#[tokio::test]
async fn other_issuers_have_no_such_algorithm_and_no_logins() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
    let foreign = Signer { kid: "ed", algorithm: Algorithm::EdDSA, key };
    let public = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "ed",
                        "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw())});
    let set = json!({"keys": [public, Signer::rsa_first().public()]});
    let server = KeyServer::publishing(&set.to_string()).await;
    let clock = testkit::clock();
    let issuers = vec![
        Issuer::auth0(AUTH0, AUDIENCE, server.url()),
        Issuer::supabase_project(PROJECT, server.url(), Some(secret())),
    ];
    let verifier = verifier(issuers, patient(), &clock);
    for claims in [auth0_claims(), project_claims()] {
        assert_eq!(verifier.verify_or_refresh(&foreign.token(&claims)).await, Err(TokenError::Algorithm));
    }
    let token = Signer::rsa_first().token(&with(&auth0_claims(), "sid", json!(LOGIN)));
    assert_eq!(verifier.verify_or_refresh(&token).await.unwrap().login_id, None);
}

/// Another process has read the keys a moment before they are replaced.
#[tokio::test]
async fn a_key_that_signs_at_once_is_believed_by_every_process_at_once() {
    let service = Service::start().await;
    let processes = [service.process(service.db.pool().clone()), service.process(service.db.second_pool())];
    let mut kids = BTreeSet::new();
    for round in 0..3 {
        let token = service.issue(None).await;
        kids.insert(jsonwebtoken::decode_header(&token).unwrap().kid.unwrap());
        for process in &processes {
            // Garbage asks for the keys, too, just before.
            let garbage = foreign_key().token(&claims_of(&token));
            let (garbage, verified) =
                tokio::join!(process.verify_or_refresh(&garbage), process.verify_or_refresh(&token));
            assert_eq!(garbage, Err(TokenError::UnknownKey));
            assert_eq!(verified.unwrap().login_id, Some(LOGIN), "round {round}");
        }
        rotate(&service.db, &service.clock, Start::AtOnce).await;
    }
    assert_eq!(kids.len(), 3, "{kids:?}");
}

#[tokio::test]
async fn tokens_of_a_deleted_key_are_refused_although_they_were_remembered() {
    let service = Service::start().await;
    let process = service.process(service.db.pool().clone());
    let token = service.issue(None).await;
    process.verify_or_refresh(&token).await.unwrap();
    rotate(&service.db, &service.clock, Start::AtOnce).await;
    service.db.run("DELETE FROM identity.signing_keys WHERE number = (SELECT min(number) FROM identity.signing_keys)").await;
    // A token of the new key makes the process read the keys.
    process.verify_or_refresh(&service.issue(None).await).await.unwrap();
    assert_eq!(process.verify_or_refresh(&token).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn without_the_database_known_keys_pass_and_unknown_ones_are_not_judged() {
    let service = Service::start().await;
    let pool = service.db.second_pool();
    let process = service.process(pool.clone());
    let (known, claims) = (service.issue(None).await, claims_of(&service.issue(None).await));
    process.verify_or_refresh(&known).await.unwrap();
    pool.close();
    let unknown = foreign_key().token(&claims);
    assert_eq!(process.verify_or_refresh(&unknown).await, Err(TokenError::KeysUnavailable));
    process.verify_or_refresh(&known).await.unwrap();
    process.verify_or_refresh(&service.issue(None).await).await.unwrap();
}

#[tokio::test]
async fn any_number_of_unknown_keys_wait_for_few_reads() {
    let service = Service::start().await;
    let process = service.process(service.db.second_pool());
    let claims = claims_of(&service.issue(None).await);
    process.verify_or_refresh(&service.issue(None).await).await.unwrap();
    let foreign = foreign_key();
    // Each read of the one row counts.
    let reads = "CREATE SEQUENCE identity.reads MINVALUE 0 START 0;
         ALTER TABLE identity.signing_keys RENAME TO kept_keys;
         CREATE VIEW identity.signing_keys AS SELECT * FROM identity.kept_keys WHERE nextval('identity.reads') >= 0";
    service.db.run(reads).await;
    let tokens: Vec<_> = (0..500)
        .map(|number| foreign.token_with(&json!({"alg": "EdDSA", "kid": format!("kid-{number}")}), &claims))
        .collect();
    for refused in join_all(tokens.iter().map(|token| process.verify_or_refresh(token))).await {
        assert_eq!(refused, Err(TokenError::UnknownKey));
    }
    let reads = service.db.ask("SELECT last_value FROM identity.reads").await;
    assert!((1..=3).contains(&reads), "{reads}");
}

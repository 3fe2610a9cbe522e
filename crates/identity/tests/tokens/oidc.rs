//! Issuers whose keys are found by discovery (`OIDC_ISSUERS`).

use identity::{Issuer, Provider, TokenError, Verifier};
use kernel::{Clock as _, ManualClock};
use serde_json::{Value, json};
use time::Duration;

use super::{AUDIENCE, AUTH0, auth0_claims, now, patient, secret, supabase_claims, verifier};
use crate::{
    key_server::KeyServer,
    minting::{Signer, key_set, with},
};

/// An issuer: the server of its metadata, and that of its keys.
struct Issuing {
    metadata: KeyServer,
    keys: KeyServer,
}

impl Issuing {
    async fn start() -> Self {
        let keys = KeyServer::publishing(&key_set(&[&Signer::rsa_first(), &Signer::ec_first()])).await;
        let issuing = Self { metadata: KeyServer::publishing("").await, keys };
        issuing.describe(&issuing.iss(), issuing.keys.url().as_str());
        issuing
    }

    fn iss(&self) -> String {
        self.metadata.url().as_str().replace("/jwks.json", "/realm/")
    }

    fn describe(&self, issuer: &str, jwks_uri: &str) {
        let metadata = json!({"issuer": issuer, "jwks_uri": jwks_uri, "id_token_signing_alg_values_supported": ["none"]});
        self.metadata.publish(&metadata.to_string());
    }

    fn issuer(&self) -> Issuer {
        Issuer::oidc("corp", &self.iss(), AUDIENCE).unwrap()
    }

    fn claims(&self) -> Value {
        json!({"iss": self.iss(), "aud": AUDIENCE, "sub": "00u1", "iat": now(), "exp": now() + 3_600})
    }

    async fn verifier(&self, clock: &ManualClock) -> Verifier {
        let verifier = verifier(vec![self.issuer()], patient(), clock);
        verifier.verify_or_refresh(&Signer::rsa_first().token(&self.claims())).await.unwrap();
        verifier
    }
}

#[tokio::test]
async fn its_users_are_known_by_prefix_and_sub() {
    let (issuing, clock) = (Issuing::start().await, testkit::clock());
    let verifier = issuing.verifier(&clock).await;
    for signer in [Signer::rsa_first(), Signer::ec_first()] {
        let claims = with(&issuing.claims(), "email", json!("a@example.com"));
        let token = verifier.verify(&signer.token(&claims)).unwrap();
        assert_eq!((token.user_id.as_str(), token.provider), ("corp|00u1", Provider::Oidc));
        assert_eq!(token.issuer.name(), issuing.iss());
        assert_eq!(token.vouched_email, None);
        let verified = with(&claims, "email_verified", json!(true));
        let token = verifier.verify(&signer.token(&verified)).unwrap();
        assert_eq!(token.vouched_email.as_deref(), Some("a@example.com"));
    }
    for (sub, id) in [("auth0|x", "corp|auth0|x"), ("email|x", "corp|email|x")] {
        let token = Signer::rsa_first().token(&with(&issuing.claims(), "sub", json!(sub)));
        assert_eq!(verifier.verify(&token).unwrap().user_id.as_str(), id);
    }
    let foreign = with(&issuing.claims(), "aud", json!("other"));
    assert_eq!(verifier.verify(&Signer::rsa_first().token(&foreign)), Err(TokenError::Audience));
}

#[tokio::test]
async fn no_other_issuer_brings_an_id_with_its_prefix() {
    let (issuing, clock) = (Issuing::start().await, testkit::clock());
    let others = vec![
        Issuer::auth0(AUTH0, AUDIENCE, issuing.keys.url()),
        Issuer::supabase_legacy(secret()),
        issuing.issuer(),
    ];
    let verifier = verifier(others, patient(), &clock);
    let secret = Signer::secret(super::SECRET);
    for (signer, claims) in [(Signer::rsa_first(), auth0_claims()), (secret, supabase_claims())] {
        let token = |sub: &str| signer.token(&with(&claims, "sub", json!(sub)));
        assert!(verifier.verify_or_refresh(&token("corporation|00u1")).await.is_ok());
        for sub in ["corp|00u1", "email|a", "wechat|a"] {
            assert_eq!(verifier.verify(&token(sub)), Err(TokenError::Claim("sub")), "{sub}");
        }
    }
}

#[tokio::test]
async fn metadata_that_are_wrong_bring_no_keys() {
    let issuing = Issuing::start().await;
    let (iss, keys) = (issuing.iss(), issuing.keys.url().to_string());
    let slashless = iss.trim_end_matches('/').to_owned();
    for (issuer, jwks_uri) in [
        (slashless.as_str(), keys.as_str()),
        ("https://other.example.com/", &keys),
        (&iss, "http://keys.example.com/"),
        (&iss, "file:///etc/passwd"),
        (&iss, "/keys"),
        (&iss, ""),
    ] {
        issuing.describe(issuer, jwks_uri);
        let before = issuing.metadata.requests();
        let verifier = verifier(vec![issuing.issuer()], patient(), &testkit::clock());
        issuing.metadata.wait_for_requests(before + 1).await;
        let judged = verifier.verify_or_refresh(&Signer::rsa_first().token(&issuing.claims())).await;
        assert_eq!(judged, Err(TokenError::KeysUnavailable), "{issuer} {jwks_uri}");
    }
    assert_eq!(issuing.keys.requests(), 0);
}

#[tokio::test]
async fn keys_may_move_and_old_ones_count_while_the_issuer_is_down() {
    let (issuing, clock) = (Issuing::start().await, testkit::clock());
    let verifier = issuing.verifier(&clock).await;
    let second = Signer::rsa_second().token(&issuing.claims());
    // The issuer is down: a known key passes, an unknown one is refused.
    issuing.metadata.answer("503 Service Unavailable", "", "");
    assert_eq!(verifier.verify_or_refresh(&second).await, Err(TokenError::UnknownKey));
    assert!(verifier.verify(&Signer::rsa_first().token(&issuing.claims())).is_ok());
    // It is back, with its keys at another place.
    let moved = KeyServer::publishing(&key_set(&[&Signer::rsa_second()])).await;
    issuing.describe(&issuing.iss(), moved.url().as_str());
    clock.advance(Duration::minutes(1));
    assert!(clock.now().unix_timestamp() > now());
    assert!(verifier.verify_or_refresh(&second).await.is_ok());
    assert_eq!(issuing.keys.requests(), 1);
}

#[tokio::test]
async fn ten_thousand_unknown_keys_ask_the_issuer_once_a_minute() {
    let (issuing, clock) = (Issuing::start().await, testkit::clock());
    let verifier = issuing.verifier(&clock).await;
    let forger = Signer::rsa_second();
    let tokens: Vec<String> = (0..10_000)
        .map(|number| {
            let header = with(&forger.header(), "kid", json!(format!("unknown-{number}")));
            forger.token_with(&header, &issuing.claims())
        })
        .collect();
    for (round, asked) in [(1, 2), (2, 3)] {
        for token in &tokens[..if round == 1 { 10_000 } else { 10 }] {
            assert_eq!(verifier.verify_or_refresh(token).await, Err(TokenError::UnknownKey));
        }
        assert_eq!((issuing.metadata.requests(), issuing.keys.requests()), (asked, asked));
        clock.advance(Duration::minutes(1));
    }
}

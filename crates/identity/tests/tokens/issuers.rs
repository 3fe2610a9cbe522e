//! Each issuer has its own name, algorithms and keys.

use std::sync::Arc;

use identity::{Algorithm, Issuer, IssuerError, JwksTiming, Provider, TokenError, Verifier};
use serde_json::json;
use tokio::runtime::Handle;
use url::Url;

use super::{
    AUDIENCE, AUTH0, PROJECT, SECRET, auth0_claims, full_verifier, project_claims, secret, supabase_claims,
};
use crate::{
    key_server::KeyServer,
    minting::{Signer, key_set, with, without},
};

/// All issuers, with one RSA and one EC key published; the keys are there.
async fn ready() -> (Verifier, KeyServer) {
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first(), &Signer::ec_first()])).await;
    let verifier = full_verifier(&server.url(), &testkit::clock());
    for claims in [auth0_claims(), project_claims()] {
        verifier.verify_or_refresh(&Signer::rsa_first().token(&claims)).await.unwrap();
    }
    (verifier, server)
}

#[tokio::test]
async fn every_documented_kind_of_token_is_accepted() {
    let (verifier, _server) = ready().await;
    for (signer, claims, provider) in [
        (Signer::rsa_first(), auth0_claims(), Provider::Auth0),
        (Signer::secret(SECRET), supabase_claims(), Provider::Supabase),
        (Signer::secret(SECRET), project_claims(), Provider::Supabase),
        (Signer::ec_first(), project_claims(), Provider::Supabase),
        (Signer::rsa_first(), project_claims(), Provider::Supabase),
    ] {
        let verified = verifier.verify(&signer.token(&claims)).unwrap();
        assert_eq!(verified.provider, provider, "{claims}");
    }
}

#[tokio::test]
async fn iss_is_compared_byte_for_byte() {
    let (verifier, _server) = ready().await;
    for iss in [
        "https://tenant.example.com",
        "https://tenant.example.com//",
        "https://tenant.example.com/x",
        "HTTPS://tenant.example.com/",
        "https://tenant.example.com.evil.example.com/",
        " https://tenant.example.com/",
        "",
    ] {
        let token = Signer::rsa_first().token(&with(&auth0_claims(), "iss", json!(iss)));
        assert_eq!(verifier.verify(&token), Err(TokenError::UnknownIssuer), "{iss}");
    }
    for iss in
        [json!("supabase2"), json!("Supabase"), json!("supabas"), json!(["supabase"]), json!(null), json!(1)]
    {
        let token = Signer::secret(SECRET).token(&with(&supabase_claims(), "iss", iss.clone()));
        assert_eq!(verifier.verify(&token), Err(TokenError::UnknownIssuer), "{iss}");
    }
    let token = Signer::secret(SECRET).token(&without(&supabase_claims(), "iss"));
    assert_eq!(verifier.verify(&token), Err(TokenError::UnknownIssuer));
}

#[tokio::test]
async fn no_issuer_accepts_the_algorithm_of_another() {
    let (verifier, _server) = ready().await;
    for (signer, claims) in [
        (Signer::secret(SECRET), auth0_claims()),
        (Signer::ec_first(), auth0_claims()),
        (Signer::rsa_first(), supabase_claims()),
        (Signer::ec_first(), supabase_claims()),
    ] {
        assert_eq!(verifier.verify(&signer.token(&claims)), Err(TokenError::Algorithm), "{claims}");
    }
}

#[tokio::test]
async fn alg_none_and_unknown_algorithms_are_refused() {
    let (verifier, _server) = ready().await;
    let signer = Signer::rsa_first();
    for alg in ["none", "None", "NONE", "", "hs256", "HS384", "RS384", "PS256", "ES384", "EdDSA", "RS256 "] {
        for claims in [auth0_claims(), supabase_claims(), project_claims()] {
            let token = signer.token_with(&with(&signer.header(), "alg", json!(alg)), &claims);
            assert_eq!(verifier.verify(&token), Err(TokenError::Algorithm), "{alg}");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert_eq!(verifier.verify(&unsigned), Err(TokenError::Algorithm), "{alg}");
        }
    }
}

/// The classic confusion: a public key is known to all, so as HS256 "secret" it would let anyone sign.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let (verifier, _server) = ready().await;
    let public = Signer::rsa_first().public();
    let pem = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBg\n-----END PUBLIC KEY-----\n";
    for secret in [&public.to_string(), public["n"].as_str().unwrap(), pem] {
        let forger = Signer::secret(secret).named("rsa-1");
        assert_eq!(verifier.verify(&forger.token(&auth0_claims())), Err(TokenError::Algorithm));
        assert_eq!(verifier.verify(&forger.token(&project_claims())), Err(TokenError::Signature));
    }
}

#[tokio::test]
async fn a_key_serves_its_own_algorithm_only() {
    let (verifier, _server) = ready().await;
    let claims = project_claims();
    for (signer, kid) in [(Signer::ec_first(), "rsa-1"), (Signer::rsa_first(), "ec-1")] {
        assert_eq!(verifier.verify(&signer.named(kid).token(&claims)), Err(TokenError::Algorithm));
    }
    let ec = Signer::ec_first();
    let mislabelled = ec.token_with(&with(&ec.header(), "alg", json!("RS256")), &claims);
    assert_eq!(verifier.verify(&mislabelled), Err(TokenError::Algorithm));
}

#[tokio::test]
async fn another_key_of_the_same_name_signs_in_vain() {
    let (verifier, _server) = ready().await;
    let rsa = Signer::rsa_second().named("rsa-1");
    assert_eq!(verifier.verify(&rsa.token(&auth0_claims())), Err(TokenError::Signature));
    let ec = Signer::ec_second().named("ec-1");
    assert_eq!(verifier.verify(&ec.token(&project_claims())), Err(TokenError::Signature));
}

#[tokio::test]
async fn keys_that_a_token_brings_along_are_never_used() {
    let (verifier, _server) = ready().await;
    let forger = Signer::rsa_second().named("rsa-1");
    let trap = KeyServer::publishing(&key_set(&[&forger])).await;
    for (member, value) in [
        ("jku", json!(trap.url().as_str())),
        ("x5u", json!(trap.url().as_str())),
        ("jwk", forger.public()),
        ("x5c", json!(["MIIB"])),
    ] {
        let token = forger.token_with(&with(&forger.header(), member, value), &auth0_claims());
        assert_eq!(verifier.verify_or_refresh(&token).await, Err(TokenError::Signature), "{member}");
    }
    assert_eq!(trap.requests(), 0);
}

#[tokio::test]
async fn each_issuer_checks_its_own_audience_and_role() {
    let (verifier, _server) = ready().await;
    let rsa = Signer::rsa_first();
    let crossed = with(&auth0_claims(), "aud", json!("authenticated"));
    assert_eq!(verifier.verify(&rsa.token(&crossed)), Err(TokenError::Audience));
    let crossed = with(&project_claims(), "aud", json!(AUDIENCE));
    assert_eq!(verifier.verify(&rsa.token(&crossed)), Err(TokenError::Audience));
    let staff = with(&project_claims(), "role", json!("service_role"));
    assert_eq!(verifier.verify(&rsa.token(&staff)), Err(TokenError::Claim("role")));
    // To Auth0 the claim `role` means nothing.
    assert!(verifier.verify(&rsa.token(&with(&auth0_claims(), "role", json!("x")))).is_ok());
}

#[tokio::test]
async fn without_a_secret_the_project_accepts_no_shared_secret_tokens() {
    let server = KeyServer::publishing(&key_set(&[&Signer::ec_first()])).await;
    let issuers = vec![Issuer::supabase_project(PROJECT, server.url(), None)];
    let verifier = super::verifier(issuers, super::patient(), &testkit::clock());
    let token = Signer::secret(SECRET).token(&project_claims());
    assert_eq!(verifier.verify_or_refresh(&token).await, Err(TokenError::Algorithm));
    let token = Signer::secret(SECRET).token(&supabase_claims());
    assert_eq!(verifier.verify_or_refresh(&token).await, Err(TokenError::UnknownIssuer));
    assert!(verifier.verify_or_refresh(&Signer::ec_first().token(&project_claims())).await.is_ok());
}

#[tokio::test]
async fn a_table_that_is_not_safe_does_not_start() {
    let start = |issuers| {
        Verifier::start(issuers, JwksTiming::default(), Arc::new(testkit::clock()), &Handle::current())
    };
    let remote = Url::parse("http://keys.example.com/jwks.json").unwrap();
    let twice = vec![Issuer::supabase_legacy(secret()), Issuer::supabase_legacy(secret())];
    assert!(matches!(start(twice), Err(IssuerError::Duplicate(iss)) if iss == "supabase"));
    assert!(matches!(start(vec![Issuer::auth0(AUTH0, AUDIENCE, remote)]), Err(IssuerError::InsecureUrl(_))));
    assert!(matches!(start(vec![Issuer::supabase_legacy("".into())]), Err(IssuerError::NoKey(_))));
    assert!(matches!(start(vec![Issuer::new(Provider::Auth0, "i", "a")]), Err(IssuerError::NoKey(_))));
    let nobody = start(Vec::new()).unwrap();
    assert_eq!(
        nobody.verify(&Signer::secret(SECRET).token(&supabase_claims())),
        Err(TokenError::UnknownIssuer)
    );
}

#[tokio::test]
async fn a_key_set_never_brings_shared_secrets() {
    let published = json!({"keys": [{"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}]}).to_string();
    let server = KeyServer::publishing(&published).await;
    let issuer =
        Issuer::new(Provider::Auth0, AUTH0, AUDIENCE).with_key_set(server.url(), &[Algorithm::Hs256]);
    let verifier = super::verifier(vec![issuer], super::patient(), &testkit::clock());
    server.wait_for_requests(1).await;
    let token = Signer::secret("secret").token(&auth0_claims());
    assert_eq!(verifier.verify_or_refresh(&token).await, Err(TokenError::Algorithm));
}

//! Everything that can be wrong with a token, and the keys behind it.

mod claims;
mod dev_token;
mod development_secret;
mod form;
mod issuers;
mod key_sets;
mod oidc;
mod own;
mod remembered;

use std::{sync::Arc, time::Duration};

use identity::{Issuer, JwksTiming, Verifier};
use kernel::ManualClock;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use url::Url;

const SECRET: &str = "a shared secret of more than 32 bytes";
const AUTH0: &str = "https://tenant.example.com/";
const AUDIENCE: &str = "https://api.example.com";
const PROJECT: &str = "https://project.example.com/auth/v1";

/// The instant at which the clock stands, in seconds since 1970.
fn now() -> i64 {
    testkit::instant().unix_timestamp()
}

/// Claims of a Supabase token that is right in every way.
fn supabase_claims() -> Value {
    json!({"iss": "supabase", "aud": "authenticated", "role": "authenticated", "sub": "auth0|test123",
           "email": "test@example.com", "iat": now() - 60, "exp": now() + 3600})
}

/// Claims of an Auth0 token that is right in every way.
fn auth0_claims() -> Value {
    json!({"iss": AUTH0, "aud": [AUDIENCE, "https://tenant.example.com/userinfo"], "sub": "google-oauth2|1000",
           "iat": now(), "exp": now() + 86400, "azp": "client", "scope": "openid"})
}

/// Claims of a token of the Supabase project.
fn project_claims() -> Value {
    let mut claims = supabase_claims();
    claims["iss"] = PROJECT.into();
    claims
}

fn secret() -> SecretString {
    SecretString::from(SECRET)
}

/// Patient with a slow machine: waits are ended by what is waited for.
fn patient() -> JwksTiming {
    JwksTiming {
        wait_max: Duration::from_secs(30),
        fetch_timeout: Duration::from_secs(30),
        ..JwksTiming::default()
    }
}

fn verifier(issuers: Vec<Issuer>, timing: JwksTiming, clock: &ManualClock) -> Verifier {
    Verifier::start(issuers, timing, Arc::new(clock.clone()), &Handle::current()).unwrap()
}

/// Knows nothing but the shared secret.
fn secret_verifier(clock: &ManualClock) -> Verifier {
    verifier(vec![Issuer::supabase_legacy(secret())], patient(), clock)
}

/// Knows Auth0 by its keys at `url`.
fn auth0_verifier(url: Url, timing: JwksTiming, clock: &ManualClock) -> Verifier {
    verifier(vec![Issuer::auth0(AUTH0, AUDIENCE, url)], timing, clock)
}

/// Knows all kinds of issuers, with the same key set for those that publish one.
fn full_verifier(url: &Url, clock: &ManualClock) -> Verifier {
    let issuers = vec![
        Issuer::auth0(AUTH0, AUDIENCE, url.clone()),
        Issuer::supabase_legacy(secret()),
        Issuer::supabase_project(PROJECT, url.clone(), Some(secret())),
    ];
    verifier(issuers, patient(), clock)
}

//! Tokens for development.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use identity::{Provider, TokenError, dev_token};
use kernel::Clock;
use serde_json::{Value, json};
use time::Duration;

use super::{now, secret, secret_verifier};

#[tokio::test]
async fn a_development_token_is_what_the_contract_says() {
    let token = dev_token(&secret(), &testkit::user("auth0|test123"), "test@example.com", testkit::instant());
    let parts: Vec<Vec<u8>> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    assert_eq!(String::from_utf8_lossy(&parts[0]), r#"{"alg":"HS256","typ":"JWT"}"#);
    assert_eq!(
        serde_json::from_slice::<Value>(&parts[1]).unwrap(),
        json!({"aud": "authenticated", "exp": now() + 3600, "sub": "auth0|test123", "email": "test@example.com",
               "role": "authenticated", "iss": "supabase", "iat": now() - 60})
    );
}

#[tokio::test]
async fn a_development_token_is_valid_for_an_hour() {
    let clock = testkit::clock();
    let verifier = secret_verifier(&clock);
    let token = dev_token(&secret(), &testkit::user("u"), "\"quoted\"@example.com", clock.now());
    let verified = verifier.verify(&token).unwrap();
    assert_eq!(verified.vouched_email.as_deref(), Some("\"quoted\"@example.com"));
    assert_eq!(verified.provider, Provider::Supabase);
    clock.advance(Duration::minutes(61));
    assert_eq!(verifier.verify(&token), Err(TokenError::Expired));
}

#[tokio::test]
async fn a_development_token_of_another_secret_is_refused() {
    let token = dev_token(&"another".into(), &testkit::user("u"), "u@example.com", testkit::instant());
    assert_eq!(secret_verifier(&testkit::clock()).verify(&token), Err(TokenError::Signature));
}

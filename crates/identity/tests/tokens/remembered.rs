//! A token that was accepted before is judged like a new one.

use identity::TokenError;
use serde_json::json;
use time::Duration;

use super::{SECRET, auth0_claims, auth0_verifier, now, patient, secret_verifier, supabase_claims};
use crate::{
    key_server::KeyServer,
    minting::{Signer, key_set, with},
};

#[tokio::test]
async fn time_is_checked_at_each_use() {
    let clock = testkit::clock();
    let verifier = secret_verifier(&clock);
    let lasting = |seconds: i64| with(&supabase_claims(), "exp", json!(now() + seconds));
    let token = Signer::secret(SECRET).token(&with(&lasting(1), "nbf", json!(now() - 5)));
    let first = verifier.verify(&token).unwrap();
    // The clock is set back to the leeway before `nbf`, then further.
    clock.advance(Duration::seconds(-65));
    assert_eq!(verifier.verify(&token).unwrap(), first);
    clock.advance(Duration::microseconds(-1));
    assert_eq!(verifier.verify(&token), Err(TokenError::NotYetValid));
    // To the end of the leeway after `exp`.
    clock.advance(Duration::seconds(65 + 61));
    assert_eq!(verifier.verify(&token).unwrap(), first);
    clock.advance(Duration::microseconds(1));
    for _ in 0..2 {
        assert_eq!(verifier.verify(&token), Err(TokenError::Expired));
    }
}

#[tokio::test]
async fn wrong_tokens_stay_wrong_and_are_not_taken_for_right_ones() {
    let verifier = secret_verifier(&testkit::clock());
    let (right, forged) = (Signer::secret(SECRET), Signer::secret("another secret of more than 32 bytes"));
    let claims = supabase_claims();
    let (right, forged) = (right.token(&claims), forged.token(&claims));
    let (message, signature) = right.rsplit_once('.').unwrap();
    let other = Signer::secret(SECRET).token(&with(&claims, "sub", json!("auth0|other")));
    let (other_message, other_signature) = other.rsplit_once('.').unwrap();
    let crossed =
        [format!("{message}.{other_signature}"), format!("{other_message}.{signature}"), forged.clone()];
    for _ in 0..3 {
        for wrong in &crossed {
            assert_eq!(verifier.verify(wrong), Err(TokenError::Signature));
        }
        assert_eq!(verifier.verify(&format!("{right}.")), Err(TokenError::Malformed));
        assert_eq!(verifier.verify(&right).unwrap().user_id.as_str(), "auth0|test123");
        assert_eq!(verifier.verify(&other).unwrap().user_id.as_str(), "auth0|other");
    }
}

#[tokio::test]
async fn each_token_has_claims_of_its_own() {
    let verifier = secret_verifier(&testkit::clock());
    let signer = Signer::secret(SECRET);
    let claims = supabase_claims();
    let later = with(&claims, "exp", json!(now() + 7200));
    let unnamed = with(&claims, "email", json!(null));
    let same = signer.named("other header").token(&claims);
    let tokens = [&claims, &later, &unnamed].map(|claims| Signer::secret(SECRET).token(claims));
    for _ in 0..2 {
        let [first, later, unnamed] =
            [&tokens[0], &tokens[1], &tokens[2]].map(|token| verifier.verify(token));
        let first = first.unwrap();
        assert_eq!(verifier.verify(&same).unwrap(), first);
        assert_eq!(later.unwrap().expires_at, first.expires_at + Duration::hours(1));
        assert_eq!((unnamed.unwrap().vouched_email, first.vouched_email.is_some()), (None, true));
    }
}

/// The new key has the name of the old one, so nothing but the signature shows the difference.
#[tokio::test]
async fn keys_are_checked_at_each_use() {
    let clock = testkit::clock();
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    let verifier = auth0_verifier(server.url(), patient(), &clock);
    let token = Signer::rsa_first().token(&auth0_claims());
    verifier.verify_or_refresh(&token).await.unwrap();
    let fresh = Signer::rsa_first().named("any other").token(&auth0_claims());
    server.publish(&key_set(&[&Signer::rsa_second().named("rsa-1")]));
    assert!(verifier.verify_or_refresh(&fresh).await.is_err(), "it has the set fetched again");
    for _ in 0..2 {
        assert_eq!(verifier.verify_or_refresh(&token).await, Err(TokenError::Signature));
    }
    clock.advance(Duration::minutes(2));
    server.publish(&key_set(&[&Signer::rsa_first()]));
    assert!(verifier.verify_or_refresh(&fresh).await.is_err());
    assert!(verifier.verify(&token).is_ok(), "it is valid again");
    clock.advance(Duration::hours(24) - Duration::minutes(2));
    assert!(verifier.verify(&token).is_ok());
    clock.advance(Duration::minutes(2) + Duration::seconds(1));
    assert_eq!(verifier.verify(&token), Err(TokenError::KeysUnavailable));
}

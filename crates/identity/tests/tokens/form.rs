//! Texts that are not quite tokens.

use base64::{
    Engine,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use identity::{TokenError, token::TOKEN_BYTES_MAX};
use serde_json::json;

use super::{SECRET, now, secret_verifier, supabase_claims};
use crate::minting::{Signer, with};

fn judge(token: &str) -> Result<identity::VerifiedToken, TokenError> {
    secret_verifier(&testkit::clock()).verify(token)
}

#[tokio::test]
async fn texts_of_another_form_are_malformed() {
    let good = Signer::secret(SECRET).token(&supabase_claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "garbage".to_owned(),
        message.to_owned(),
        format!("{good}.{signature}"),
        format!("{header}.{payload}.x.{signature}"),
        format!(" {good}"),
        format!("{header}=.{payload}.{signature}"),
        format!("\u{e9}{good}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
    ] {
        assert_eq!(judge(&text), Err(TokenError::Malformed), "{text}");
    }
    assert!(judge(&good).is_ok());
}

#[tokio::test]
async fn parts_that_are_no_json_objects_are_malformed() {
    let signer = Signer::secret(SECRET);
    let (header, claims) = (signer.header().to_string(), supabase_claims().to_string());
    for part in [
        "",
        "x",
        "null",
        "5",
        "\"text\"",
        "[]",
        r#"["HS256",null]"#,
        "{",
        "{}x",
        "{\"alg\":1e999,\"exp\":1e999}",
    ] {
        assert_eq!(judge(&signer.token_of_texts(part, &claims)), Err(TokenError::Malformed), "{part}");
        assert_eq!(judge(&signer.token_of_texts(&header, part)), Err(TokenError::Malformed), "{part}");
    }
    for header in [r#"{"typ":"JWT"}"#, r#"{"alg":256}"#, r#"{"alg":null}"#, r#"{"alg":"HS256","kid":5}"#] {
        assert_eq!(judge(&signer.token_of_texts(header, &claims)), Err(TokenError::Malformed), "{header}");
    }
}

#[tokio::test]
async fn repeated_members_are_malformed() {
    let signer = Signer::secret(SECRET);
    let (header, claims) = (signer.header().to_string(), supabase_claims().to_string());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    assert_eq!(
        judge(&signer.token_of_texts(&twice(&header, r#""alg":"none""#), &claims)),
        Err(TokenError::Malformed)
    );
    assert_eq!(
        judge(&signer.token_of_texts(&header, &twice(&claims, r#""sub":"root""#))),
        Err(TokenError::Malformed)
    );
}

#[tokio::test]
async fn a_token_over_8_kib_is_not_looked_at() {
    let signer = Signer::secret(SECRET);
    let sized =
        |filling: usize| signer.token(&with(&supabase_claims(), "filling", json!("x".repeat(filling))));
    // Three bytes of payload are four of token; the rest is evened out.
    let filling = (TOKEN_BYTES_MAX - sized(0).len()) / 4 * 3 - 3;
    assert!(sized(filling).len() <= TOKEN_BYTES_MAX);
    assert!(judge(&sized(filling)).is_ok());
    assert!(sized(filling + 9).len() > TOKEN_BYTES_MAX);
    assert_eq!(judge(&sized(filling + 9)), Err(TokenError::TooLong));
    assert_eq!(judge(&"x".repeat(10_000_000)), Err(TokenError::TooLong));
}

#[tokio::test]
async fn critical_extensions_are_refused_whatever_they_are() {
    let signer = Signer::secret(SECRET);
    for crit in [json!(["exp"]), json!([]), json!(null), json!("b64")] {
        let token = signer.token_with(&with(&signer.header(), "crit", crit.clone()), &supabase_claims());
        assert_eq!(judge(&token), Err(TokenError::CriticalHeader), "{crit}");
    }
}

#[tokio::test]
async fn a_changed_token_has_a_wrong_signature() {
    let good = Signer::secret(SECRET).token(&supabase_claims());
    let parts: Vec<&str> = good.split('.').collect();
    let other = URL_SAFE_NO_PAD.encode(with(&supabase_claims(), "sub", json!("root")).to_string());
    let later = URL_SAFE_NO_PAD.encode(with(&supabase_claims(), "exp", json!(now() + 9999)).to_string());
    let padded = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(parts[2]).unwrap());
    for (payload, signature) in [
        (other.as_str(), parts[2]),
        (&later, parts[2]),
        (parts[1], ""),
        (parts[1], "AAAA"),
        (parts[1], &parts[2][1..]),
        (parts[1], &padded),
        (parts[1], "not base64!"),
    ] {
        let token = format!("{}.{payload}.{signature}", parts[0]);
        assert_eq!(judge(&token), Err(TokenError::Signature), "{token}");
    }
}

#[tokio::test]
async fn another_secret_makes_another_signature() {
    for secret in ["", "another secret", &SECRET[1..], &SECRET.to_uppercase()] {
        let token = Signer::secret(secret).token(&supabase_claims());
        assert_eq!(judge(&token), Err(TokenError::Signature), "{secret}");
    }
}

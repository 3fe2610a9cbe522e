//! Claims that are missing, of the wrong type, or untrue.

use identity::{Provider, SubjectKind, TokenError};
use kernel::Clock;
use serde_json::{Value, json};
use time::Duration;

use super::{SECRET, now, secret_verifier, supabase_claims};
use crate::minting::{Signer, with, without};

/// What becomes of a token with these claims and the right signature.
fn judge(claims: &Value) -> Result<identity::VerifiedToken, TokenError> {
    secret_verifier(&testkit::clock()).verify(&Signer::secret(SECRET).token(claims))
}

#[tokio::test]
async fn a_right_token_tells_who_speaks() {
    let token = judge(&supabase_claims()).unwrap();
    assert_eq!(token.user_id, testkit::user("auth0|test123"));
    assert_eq!(token.vouched_email.as_deref(), Some("test@example.com"));
    assert_eq!(token.expires_at, testkit::clock().now() + Duration::hours(1));
    assert_eq!(token.provider, Provider::Supabase);
    assert_eq!(token.subject, SubjectKind::Person);
}

#[tokio::test]
async fn a_token_expires_a_minute_after_exp_and_not_a_microsecond_later() {
    let clock = testkit::clock();
    let verifier = secret_verifier(&clock);
    let token = Signer::secret(SECRET).token(&with(&supabase_claims(), "exp", json!(now())));
    assert!(verifier.verify(&token).is_ok());
    clock.advance(Duration::seconds(60) - Duration::microseconds(1));
    assert!(verifier.verify(&token).is_ok());
    clock.advance(Duration::microseconds(1));
    assert_eq!(verifier.verify(&token), Err(TokenError::Expired));
}

#[tokio::test]
async fn a_token_begins_a_minute_before_nbf_and_iat() {
    for claim in ["nbf", "iat"] {
        let early = |seconds: Value| judge(&with(&supabase_claims(), claim, seconds));
        assert!(early(json!(now() + 60)).is_ok(), "{claim}");
        assert_eq!(early(json!(now() + 61)), Err(TokenError::NotYetValid), "{claim}");
        assert_eq!(early(json!(60.5 + seconds(now()))), Err(TokenError::NotYetValid), "{claim}");
        assert_eq!(early(json!((now() + 61).to_string())), Err(TokenError::Claim(claim)));
        assert!(early(Value::Null).is_ok(), "{claim}");
    }
    assert!(judge(&without(&supabase_claims(), "iat")).is_ok());
}

#[tokio::test]
async fn exp_must_be_a_number_of_seconds() {
    assert_eq!(judge(&without(&supabase_claims(), "exp")), Err(TokenError::Claim("exp")));
    for wrong in [
        json!((now() + 3600).to_string()),
        Value::Null,
        json!(true),
        json!([now() + 3600]),
        json!({"seconds": now()}),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(i64::MIN),
    ] {
        assert_eq!(
            judge(&with(&supabase_claims(), "exp", wrong.clone())),
            Err(TokenError::Claim("exp")),
            "{wrong}"
        );
    }
    assert!(judge(&with(&supabase_claims(), "exp", json!(seconds(now()) + 0.5))).is_ok());
    assert_eq!(judge(&with(&supabase_claims(), "exp", json!(0))), Err(TokenError::Expired));
    assert_eq!(judge(&with(&supabase_claims(), "exp", json!(-1.5))), Err(TokenError::Expired));
}

#[tokio::test]
async fn aud_may_be_a_text_or_a_list_and_must_name_this_service() {
    for right in [json!("authenticated"), json!(["authenticated"]), json!(["other", "authenticated"])] {
        assert!(judge(&with(&supabase_claims(), "aud", right.clone())).is_ok(), "{right}");
    }
    for wrong in [
        json!("anon"),
        json!("authenticated "),
        json!("Authenticated"),
        json!("authenticated,anon"),
        json!(["other"]),
        json!([]),
        json!([["authenticated"]]),
        json!({"authenticated": true}),
        json!(5),
        Value::Null,
    ] {
        assert_eq!(
            judge(&with(&supabase_claims(), "aud", wrong.clone())),
            Err(TokenError::Audience),
            "{wrong}"
        );
    }
    assert_eq!(judge(&without(&supabase_claims(), "aud")), Err(TokenError::Audience));
}

#[tokio::test]
async fn role_may_be_absent_but_not_another_one() {
    assert!(judge(&without(&supabase_claims(), "role")).is_ok());
    for wrong in [json!("anon"), json!("service_role"), json!(""), json!(["authenticated"]), json!(1)] {
        assert_eq!(
            judge(&with(&supabase_claims(), "role", wrong.clone())),
            Err(TokenError::Claim("role")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn sub_must_be_a_user_id() {
    assert_eq!(judge(&without(&supabase_claims(), "sub")), Err(TokenError::Claim("sub")));
    for wrong in
        [json!(""), json!("a b"), json!("a/b"), json!("a".repeat(256)), json!(7), json!(["a"]), Value::Null]
    {
        assert_eq!(
            judge(&with(&supabase_claims(), "sub", wrong.clone())),
            Err(TokenError::Claim("sub")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn email_is_optional_and_otherwise_a_text() {
    for odd in [json!(5), Value::Null, json!(["a@example.com"])] {
        assert_eq!(judge(&with(&supabase_claims(), "email", odd)).unwrap().vouched_email, None);
    }
    let without_email = judge(&without(&supabase_claims(), "email")).unwrap();
    assert_eq!(without_email.vouched_email, None);
}

#[tokio::test]
async fn guests_and_programs_are_told_from_persons() {
    use SubjectKind::{Anonymous, Machine, Person};
    for (claim, value, expected) in [
        ("is_anonymous", json!(true), Anonymous),
        ("is_anonymous", json!(false), Person),
        ("is_anonymous", Value::Null, Person),
        ("gty", json!("client-credentials"), Machine),
        ("gty", json!(["client-credentials"]), Machine),
        ("gty", json!("password"), Person),
        ("sub", json!("0123abc@clients"), Machine),
        ("sub", json!("clients@example.com"), Person),
    ] {
        let token = judge(&with(&supabase_claims(), claim, value.clone())).unwrap();
        assert_eq!(token.subject, expected, "{claim} {value}");
    }
}

/// For claims with a fraction of a second.
fn seconds(whole: i64) -> f64 {
    f64::from(u32::try_from(whole).unwrap())
}

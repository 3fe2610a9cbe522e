//! Tokens that must open nothing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use crate::prelude::*;

/// Every way a token can be wrong, with a word for it.
pub fn bad_tokens(sub: &str, now: OffsetDateTime) -> Vec<(&'static str, String)> {
    let now = now.unix_timestamp();
    let good = json!({
        "iss": "supabase", "aud": "authenticated", "role": "authenticated", "sub": sub,
        "iat": now - 60, "exp": now + 3_600,
    });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signed(&claims, testkit::TOKEN_SECRET, Algorithm::HS256)
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        signed(&claims, testkit::TOKEN_SECRET, Algorithm::HS256)
    };
    let fine = signed(&good, testkit::TOKEN_SECRET, Algorithm::HS256);
    let (head, _signature) = fine.rsplit_once('.').unwrap();
    let unsigned = |alg: &str| {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "JWT"}).to_string());
        format!("{header}.{}.", URL_SAFE_NO_PAD.encode(good.to_string()))
    };
    let own = json!({
        "iss": "http://127.0.0.1:8100", "aud": "user-service", "sub": sub, "sid": uuid::Uuid::nil(),
        "iat": now, "exp": now + 3_600,
    });
    let own_unsigned = {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT"}).to_string());
        format!("{header}.{}.", URL_SAFE_NO_PAD.encode(own.to_string()))
    };
    vec![
        ("of this service without a signature", own_unsigned),
        ("of this service signed by a secret", signed(&own, testkit::TOKEN_SECRET, Algorithm::HS256)),
        ("that is no token", "nonsense".to_owned()),
        ("that has two parts", head.to_owned()),
        ("without a signature", format!("{head}.")),
        ("of algorithm none", unsigned("none")),
        ("of algorithm NONE", unsigned("NONE")),
        ("signed by another key", signed(&good, "another secret of the same kind", Algorithm::HS256)),
        ("of another algorithm of the family", signed(&good, testkit::TOKEN_SECRET, Algorithm::HS512)),
        ("that has expired", with("exp", json!(now - 61))),
        ("without an expiry", without("exp")),
        ("whose expiry is text", with("exp", json!("tomorrow"))),
        ("for another audience", with("aud", json!("anon"))),
        ("without an audience", without("aud")),
        ("of another issuer", with("iss", json!("https://evil.example.com/"))),
        ("of an issuer that begins right", with("iss", json!("supabase.example.com"))),
        ("without an issuer", without("iss")),
        ("of another role", with("role", json!("service_role"))),
        ("without a subject", without("sub")),
        ("whose subject is no id", with("sub", json!("a b"))),
        ("whose subject is a path segment", with("sub", json!(".."))),
        ("whose subject is a single dot", with("sub", json!("."))),
        ("whose subject is a route", with("sub", json!("me"))),
        ("whose subject is another route", with("sub", json!("ensure"))),
        ("that is not valid yet", with("nbf", json!(now + 120))),
        ("issued in the future", with("iat", json!(now + 120))),
        ("that is too long", with("padding", json!("x".repeat(9_000)))),
    ]
}

fn signed(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

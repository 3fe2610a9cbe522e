//! Tokens that somebody has changed, over HTTP: none is accepted, and none is a fault of the service.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::{prelude::*, sample::Index, strategy::ValueTree as _, test_runner::TestRunner};

use crate::{
    issuers::{Auth0, supabase_token},
    own_logins::log_in,
    prelude::*,
};

/// A change of the text of a token.
#[derive(Debug, Clone)]
enum Change {
    /// One bit of the decoded part.
    Bit {
        part: usize,
        at: Index,
        bit: u8,
    },
    /// One character.
    Letter {
        at: Index,
        letter: char,
    },
    Remove(Index),
    Insert {
        at: Index,
        letter: char,
    },
    Truncate(Index),
    Repeat(usize),
    Swap(usize, usize),
    /// A member of the header or of the claims gets another value.
    Member {
        part: usize,
        name: &'static str,
        value: Value,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let letter = || prop::char::range('!', '~');
    let value = prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("none")),
        Just(json!("HS256")),
        Just(json!("RS256")),
        Just(json!("EdDSA")),
        Just(json!("ES256")),
        Just(json!(-1)),
        Just(json!(9e99)),
        Just(json!(true)),
        Just(json!("../x")),
        Just(json!("' OR 1=1 --")),
        Just(json!("\u{0}")),
        Just(json!("auth0|b")),
        Just(json!(["a", "b"])),
    ];
    let name = prop::sample::select(vec![
        "alg", "kid", "typ", "crit", "jku", "jwk", "x5u", "iss", "sub", "aud", "exp", "nbf", "iat", "sid",
        "role",
    ]);
    prop_oneof![
        4 => (0..3_usize, any::<Index>(), 0..8_u8).prop_map(|(part, at, bit)| Change::Bit { part, at, bit }),
        3 => (any::<Index>(), letter()).prop_map(|(at, letter)| Change::Letter { at, letter }),
        1 => any::<Index>().prop_map(Change::Remove),
        1 => (any::<Index>(), letter()).prop_map(|(at, letter)| Change::Insert { at, letter }),
        1 => any::<Index>().prop_map(Change::Truncate),
        1 => (0..3_usize).prop_map(Change::Repeat),
        1 => (0..3_usize, 0..3_usize).prop_map(|(one, other)| Change::Swap(one, other)),
        4 => (0..2_usize, name, value).prop_map(|(part, name, value)| Change::Member { part, name, value }),
    ]
}

fn changed(token: &str, change: &Change) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut letters: Vec<char> = token.chars().collect();
    match change {
        Change::Bit { part, at, bit } => {
            let mut bytes = URL_SAFE_NO_PAD.decode(&parts[*part]).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            parts[*part] = URL_SAFE_NO_PAD.encode(bytes);
            return parts.join(".");
        }
        Change::Repeat(part) => parts.push(parts[*part].clone()),
        Change::Swap(one, other) => parts.swap(*one, *other),
        Change::Member { part, name, value } => {
            let mut object: Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[*part]).unwrap()).unwrap();
            object[*name] = value.clone();
            parts[*part] = URL_SAFE_NO_PAD.encode(object.to_string());
        }
        Change::Letter { at, letter } => {
            let at = at.index(letters.len());
            letters[at] = *letter;
            return letters.into_iter().collect();
        }
        Change::Remove(at) => {
            letters.remove(at.index(letters.len()));
            return letters.into_iter().collect();
        }
        Change::Insert { at, letter } => {
            letters.insert(at.index(letters.len()), *letter);
            return letters.into_iter().collect();
        }
        Change::Truncate(at) => {
            letters.truncate(at.index(letters.len()));
            return letters.into_iter().collect();
        }
    }
    parts.join(".")
}

#[tokio::test]
async fn two_thousand_changed_tokens_open_nothing() {
    let auth0 = Auth0::start().await;
    let app = auth0.app(&[]).await;
    let by_auth0 = auth0.token(&app, "auth0|a", json!({}));
    app.post("/api/v1/users/ensure")
        .token(&by_auth0)
        .json(json!({"email": "a@example.com", "name": "A"}))
        .ok()
        .await;
    let by_secret = supabase_token(&app, "secret|a", json!({}));
    app.post("/api/v1/users/ensure")
        .token(&by_secret)
        .json(json!({"email": "b@example.com", "name": "B"}))
        .ok()
        .await;
    let own = log_in(&app, "email|a").await.user.token;
    let tokens = [&by_auth0, &by_secret, &own];
    let mut runner = TestRunner::default();
    let mut sent = 0;
    while sent < 2_000 {
        let token = tokens[sent % tokens.len()];
        let change = change().new_tree(&mut runner).unwrap().current();
        let hostile = changed(token, &change);
        if hostile == *token {
            continue;
        }
        sent += 1;
        let reply = app.get("/api/v1/users/me").token(&hostile).await;
        assert_eq!(reply.status, 401, "{change:?} of {token}: {}", reply.text);
    }
    for token in tokens {
        app.get("/api/v1/users/me").token(token).ok().await;
    }
}

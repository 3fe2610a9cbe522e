//! `GET /.well-known/jwks.json`

use std::collections::BTreeSet;

use identity::signing_keys::{self, Start};
use pg::Tx;

use crate::{own_logins::log_in, prelude::*};

async fn kids(app: &TestApp) -> BTreeSet<String> {
    let reply = app.get("/.well-known/jwks.json").expect(200).await;
    assert_eq!(reply.header("cache-control"), "public, max-age=300");
    let key = |key: &Value| {
        key.has(json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA"}));
        assert_eq!(key.as_object().unwrap().len(), 6, "{key}");
        assert_eq!(key["x"].text().len(), 43);
        key["kid"].text().to_owned()
    };
    reply.json()["keys"].list().iter().map(key).collect()
}

#[tokio::test]
async fn the_keys_of_valid_tokens_are_published() {
    let app = TestApp::start().await;
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let login = log_in(&app, "email|a").await;
    let old = kid(&login.user.token);
    assert_eq!(kids(&app).await, BTreeSet::from([old.clone()]));

    let (tokens, clock) = (app.app().own_tokens.as_ref().unwrap(), app.clock());
    let pool = app.db().pool();
    let rotate = async |tx: &mut Tx| signing_keys::rotate(tx, clock, tokens.keyring(), Start::Later).await;
    let new = Tx::run(pool, rotate).await.unwrap().kid;
    let both = BTreeSet::from([old.clone(), new.clone()]);
    assert_eq!(kids(&app).await, both);
    clock.advance(Duration::minutes(5));
    let later = log_in(&app, "email|a").await;
    assert_eq!(kid(&later.user.token), new);
    for login in [&login, &later] {
        app.get("/api/v1/users/email|a/credits/balance").by(&login.user).ok().await;
    }
    assert_eq!(kids(&app).await, both);
    clock.advance(Duration::minutes(71));
    assert_eq!(kids(&app).await, BTreeSet::from([new]));
}

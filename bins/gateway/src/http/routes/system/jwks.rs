//! `GET /.well-known/jwks.json`: the public keys of own tokens (HTTP contract 2).

use actix_web::http::header;
use identity::signing_keys;

use crate::http::prelude::*;

/// A set of public keys (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A public key (RFC 8037).
#[derive(Debug, Serialize, ToSchema)]
struct Key {
    kty: &'static str,
    crv: &'static str,
    /// Its use: signatures.
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    /// Named in the header of each token.
    kid: String,
    /// The key, in base64url.
    x: String,
}

pub fn doc() -> Doc {
    Doc::new("system", "Public keys of own tokens")
        .description(
            "The keys that sign the access tokens of this service, will sign them, or did. A new key is here before it signs; an old \
             one stays until its last token has expired.",
        )
        .reply::<KeySet>(json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }]}))
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let keys = match call.app.own_tokens {
        Some(_) => call.look_up(async |conn| signing_keys::published(conn, &*call.app.clock).await).await?,
        None => Vec::new(),
    };
    let key = |key: signing_keys::PublicKey| Key {
        kty: "OKP",
        crv: "Ed25519",
        usage: "sig",
        alg: "EdDSA",
        kid: key.kid,
        x: key.x,
    };
    let set = KeySet { keys: keys.into_iter().map(key).collect() };
    Ok(Reply::json(&set)?.header(header::CACHE_CONTROL, "public, max-age=300"))
}

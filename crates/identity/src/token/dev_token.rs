//! Tokens for trying the API out, without an identity provider.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use diesel_async::AsyncPgConnection;
use jsonwebtoken::{EncodingKey, crypto};
use kernel::{Clock, UserId};
use pg::DbError;
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use crate::store;

/// Validity of a development token, in seconds (HTTP contract 2).
pub const DEV_TOKEN_TTL_SECONDS: i64 = 3_600;

/// The secret of this database that signs development tokens (HTTP contract 1.3), made at the first call. Concurrent calls
/// return the same one.
///
/// Only a process in the development environment may call this: elsewhere such tokens are never accepted.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn development_secret(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
) -> Result<SecretString, DbError> {
    if let Some(secret) = store::development_secret::find(conn).await? {
        return Ok(secret.into());
    }
    store::development_secret::insert_unless_there(conn, clock.now()).await?;
    // A statement of its own sees what the insert ran into.
    let secret = store::development_secret::find(conn).await?;
    secret
        .map(Into::into)
        .ok_or_else(|| DbError::Inconsistent("no development secret after it was made".to_owned()))
}

/// A token as Supabase would make it for this user, signed with `secret` (HTTP contract 2).
///
/// Valid from a minute before `now` for an hour. Whether it may be handed out is the caller's decision.
#[must_use]
#[expect(clippy::expect_used, reason = "HMAC takes keys and messages of any length")]
pub fn dev_token(secret: &SecretString, sub: &UserId, email: &str, now: OffsetDateTime) -> String {
    let now = now.unix_timestamp();
    let claims = serde_json::json!({
        "aud": "authenticated",
        "exp": now.saturating_add(DEV_TOKEN_TTL_SECONDS),
        "sub": sub,
        "email": email,
        "role": "authenticated",
        "iss": "supabase",
        "iat": now.saturating_sub(60),
    });
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256)
        .expect("an HMAC can always be computed");
    format!("{message}.{signature}")
}

//! Access tokens of this service (HTTP contract 1.3).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use diesel_async::AsyncPgConnection;
use kernel::{Clock, UserId};
use pg::DbError;
use secrecy::SecretString;
use serde_json::json;
use time::Duration;
use uuid::Uuid;

use super::issuer::OWN_AUDIENCE;
use crate::{
    seal::Sealer,
    signing_keys::{self, Keyring},
};

/// Signs access tokens with the key of the database.
#[derive(Debug, Clone)]
pub struct OwnTokens {
    sealer: Arc<Sealer>,
    issuer: Arc<str>,
    validity: Validity,
}

/// Times for which tokens are valid, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Of an access token.
    pub access: Duration,
    /// Of a refresh token that nobody uses.
    pub refresh: Duration,
}

impl OwnTokens {
    /// Tokens of this issuer (`PUBLIC_URL`).
    #[must_use]
    pub fn new(sealer: Arc<Sealer>, issuer: &str, validity: Validity) -> Self {
        Self { sealer, issuer: issuer.into(), validity }
    }

    /// Validity of the tokens.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Derives the secrets of logins.
    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The sealer and the validity for the keys of these tokens.
    #[must_use]
    pub fn keyring(&self) -> Keyring<'_> {
        Keyring { sealer: &self.sealer, token_ttl: self.validity.access }
    }

    /// An access token of a login, signed with the key that the database says signs now. `email` is an address that the user has
    /// confirmed: other services may rely on it.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be asked. [`DbError::Inconsistent`] when the key was sealed with another one than that
    /// of the configuration.
    pub async fn issue(
        &self,
        conn: &mut AsyncPgConnection,
        clock: &dyn Clock,
        user_id: &UserId,
        login_id: Uuid,
        email: Option<&str>,
    ) -> Result<SecretString, DbError> {
        let (kid, key) = signing_keys::signer(conn, clock, &self.sealer).await?;
        let now = clock.now().unix_timestamp();
        let mut claims = json!({
            "iss": &*self.issuer,
            "aud": OWN_AUDIENCE,
            "sub": user_id,
            "sid": login_id,
            "iat": now,
            "exp": now.saturating_add(self.validity.access.whole_seconds()),
        });
        if let (Some(email), Some(claims)) = (email, claims.as_object_mut()) {
            claims.insert("email".to_owned(), email.into());
        }
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": kid});
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        Ok(format!("{message}.{}", key.sign(&message)).into())
    }
}

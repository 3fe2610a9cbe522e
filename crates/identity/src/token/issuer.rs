//! Issuers of tokens, and their keys.

use std::{fmt, sync::Arc};

use kernel::Clock;
use pg::Pool;
use secrecy::SecretString;
use url::Url;

use super::{
    Algorithm,
    issuer_ids::{IdForm, IssuerIds, OWN_NAME},
};

use crate::outside::is_loopback;

/// The claim `aud` of tokens of this service (HTTP contract 1.3).
pub(super) const OWN_AUDIENCE: &str = "user-service";

/// The claim that Supabase puts into `aud` and `role` of every signed-in user's token.
const SUPABASE_USER: &str = "authenticated";

/// Identity provider of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Auth0.
    Auth0,
    /// Supabase; development tokens count as its.
    Supabase,
    /// An issuer of `OIDC_ISSUERS`.
    Oidc,
    /// This service.
    Own,
}

impl Provider {
    /// The word that answers and metrics use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth0 => "auth0",
            Self::Supabase => "supabase",
            Self::Oidc => "oidc",
            Self::Own => OWN_NAME,
        }
    }
}

/// One row of the issuer table (HTTP contract 1.3): an exact `iss` with its own algorithms, keys and required claims.
#[derive(Debug, Clone)]
pub struct Issuer {
    pub(super) provider: Provider,
    pub(super) iss: String,
    pub(super) ids: Arc<IssuerIds>,
    pub(super) audience: String,
    pub(super) role: Option<&'static str>,
    pub(super) secrets: Vec<SecretString>,
    pub(super) key_set: Option<KeySetSource>,
    pub(super) own_keys: Option<OwnKeys>,
}

/// Where public keys are published, and for what they may be used.
#[derive(Debug, Clone)]
pub(super) struct KeySetSource {
    pub(super) url: Url,
    /// The issuer, if `url` is that of its metadata, which name the address of the keys (OpenID Connect Discovery 1.0).
    pub(super) discovery: Option<String>,
    pub(super) algorithms: &'static [Algorithm],
}

/// The public keys of this service, in its database.
#[derive(Clone)]
pub(super) struct OwnKeys {
    pub(super) pool: Pool,
    pub(super) clock: Arc<dyn Clock>,
}

impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnKeys")
    }
}

/// Why a table of issuers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// Two rows have the same `iss`.
    #[error("token issuer {0} is configured twice")]
    Duplicate(String),
    /// A row has no key at all, or an empty secret.
    #[error("token issuer {0} has no usable key")]
    NoKey(String),
    /// Keys would come over a connection that anyone on the way could change.
    #[error("signing keys must be fetched by https: {0}")]
    InsecureUrl(Url),
    /// The HTTP client cannot be made.
    #[error("the client that fetches signing keys could not be made")]
    Client(#[source] reqwest::Error),
}

impl Issuer {
    /// A row without keys: tokens must say exactly this `iss`, and their `aud` must contain `audience`.
    #[must_use]
    pub fn new(provider: Provider, iss: impl Into<String>, audience: impl Into<String>) -> Self {
        let iss = iss.into();
        let (name, form) = match provider {
            Provider::Auth0 | Provider::Oidc => (iss.clone(), IdForm::WithProvider),
            // A project names itself in two ways.
            Provider::Supabase => (provider.as_str().to_owned(), IdForm::Uuid),
            Provider::Own => (provider.as_str().to_owned(), IdForm::Own),
        };
        Self {
            provider,
            iss,
            ids: Arc::new(IssuerIds::new(name, form)),
            audience: audience.into(),
            role: None,
            secrets: Vec::new(),
            key_set: None,
            own_keys: None,
        }
    }

    /// This service: EdDSA with the keys of its database (see [`signing_keys`](crate::signing_keys)).
    #[must_use]
    pub fn own(iss: impl Into<String>, pool: Pool, clock: Arc<dyn Clock>) -> Self {
        let own_keys = Some(OwnKeys { pool, clock });
        Self { own_keys, ..Self::new(Provider::Own, iss, OWN_AUDIENCE) }
    }

    /// The algorithms of the public keys.
    pub(super) fn algorithms(&self) -> &'static [Algorithm] {
        match (&self.key_set, &self.own_keys) {
            (_, Some(_)) => &[Algorithm::EdDsa],
            (Some(source), None) => source.algorithms,
            (None, None) => &[],
        }
    }

    /// An issuer of `OIDC_ISSUERS` (HTTP contract 14): RS256 or ES256 with the keys that its metadata name, which are at
    /// `{iss}/.well-known/openid-configuration`. Its users are `<prefix>|<sub>`, and ids with this prefix belong to it alone.
    ///
    /// # Errors
    /// `iss` is no URL.
    pub fn oidc(prefix: &str, iss: &str, audience: &str) -> Result<Self, url::ParseError> {
        let metadata = format!("{}/.well-known/openid-configuration", iss.trim_end_matches('/'));
        let key_set = KeySetSource {
            url: Url::parse(&metadata)?,
            discovery: Some(iss.to_owned()),
            algorithms: &[Algorithm::Rs256, Algorithm::Es256],
        };
        let ids = IssuerIds::new(iss.to_owned(), IdForm::Prefixed(prefix.to_owned()));
        let issuer = Self::new(Provider::Oidc, iss, audience);
        Ok(Self { ids: Arc::new(ids), key_set: Some(key_set), ..issuer })
    }

    /// The ids that its tokens bring.
    #[must_use]
    pub fn ids(&self) -> &Arc<IssuerIds> {
        &self.ids
    }

    /// Accepts HS256 under this shared secret, next to those given before. Its tokens may bring any user id.
    #[must_use]
    pub fn with_secret(mut self, secret: SecretString) -> Self {
        self.secrets.push(secret);
        self.ids = Arc::new(IssuerIds::new(self.ids.name().to_owned(), IdForm::Any));
        self
    }

    /// Accepts these algorithms under the public keys at `url`, each key for its own algorithm only. HS256 is never
    /// among them, whatever the list says: a published key is no secret.
    #[must_use]
    pub fn with_key_set(mut self, url: Url, algorithms: &'static [Algorithm]) -> Self {
        self.key_set = Some(KeySetSource { url, discovery: None, algorithms });
        self
    }

    /// Refuses tokens that have a `role` other than this one.
    #[must_use]
    pub fn with_role(mut self, role: &'static str) -> Self {
        self.role = Some(role);
        self
    }

    /// Auth0: RS256 with the keys at `key_set_url`. The issuer usually ends in a slash.
    #[must_use]
    pub fn auth0(iss: impl Into<String>, audience: impl Into<String>, key_set_url: Url) -> Self {
        Self::new(Provider::Auth0, iss, audience).with_key_set(key_set_url, &[Algorithm::Rs256])
    }

    /// Tokens whose issuer is just `supabase`: HS256 with the project's shared secret. Development tokens are of this
    /// kind.
    #[must_use]
    pub fn supabase_legacy(secret: SecretString) -> Self {
        Self::supabase("supabase").with_secret(secret)
    }

    /// Tokens of a Supabase project: ES256 or RS256 with the keys at `key_set_url`, and HS256 if there is a secret.
    ///
    /// `iss` is `{SUPABASE_URL}/auth/v1`.
    #[must_use]
    pub fn supabase_project(iss: &str, key_set_url: Url, secret: Option<SecretString>) -> Self {
        let issuer = Self::supabase(iss).with_key_set(key_set_url, &[Algorithm::Es256, Algorithm::Rs256]);
        match secret {
            Some(secret) => issuer.with_secret(secret),
            None => issuer,
        }
    }

    fn supabase(iss: &str) -> Self {
        Self::new(Provider::Supabase, iss, SUPABASE_USER).with_role(SUPABASE_USER)
    }
}

impl KeySetSource {
    /// Returns true if the keys lie on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// Returns true if what comes from there can be trusted: https, or plain http that does not leave the machine.
    pub(super) fn is_trustworthy(&self) -> bool {
        match self.url.scheme() {
            "https" => self.url.host().is_some(),
            "http" => self.is_loopback(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_loopback_http_are_trustworthy() {
        let judge = |url: &str| {
            KeySetSource { url: Url::parse(url).unwrap(), discovery: None, algorithms: &[] }.is_trustworthy()
        };
        for url in [
            "https://t.example.com/jwks",
            "http://127.0.0.1:1/jwks",
            "http://[::1]/jwks",
            "http://localhost/",
        ] {
            assert!(judge(url), "{url}");
        }
        for url in [
            "http://t.example.com/jwks",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "file:///etc/jwks",
            "ftp://localhost/",
        ] {
            assert!(!judge(url), "{url}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let text = format!("{:?}", Issuer::supabase_legacy(SecretString::from("topsecret")));
        assert!(!text.contains("topsecret"), "{text}");
    }
}

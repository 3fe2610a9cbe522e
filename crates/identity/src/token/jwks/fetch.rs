//! One HTTP request for a key set, with everything bounded.

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect::Policy};
use serde::Deserialize;
use url::Url;

use super::key_set::KeySet;
use crate::{
    outside::{BodyError, read_body},
    token::{IssuerError, issuer::KeySetSource},
};

/// Most bytes of a published key set.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// Fetches the key set of one issuer.
pub(super) struct Fetcher {
    client: Client,
    source: KeySetSource,
}

/// Why a key set could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the key set could not be fetched")]
    Transport(#[from] reqwest::Error),
    #[error("the key set was answered with status {0}")]
    Status(StatusCode),
    #[error("the key set is larger than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer is not a key set, or not the metadata of an issuer")]
    Shape(#[from] serde_json::Error),
    #[error("the metadata are of another issuer: {0:?}")]
    Issuer(String),
    #[error("the metadata name an address of keys that is neither https nor on this machine: {0}")]
    InsecureUrl(String),
    #[error("the key set holds no key that can be used here")]
    NoKeys,
    #[error("the keys could not be read from the database")]
    Database(#[from] pg::DbError),
}

impl Fetcher {
    /// A client that follows no redirect: where keys come from is configured, not negotiated.
    pub(super) fn new(source: KeySetSource, timeout: Duration) -> Result<Self, IssuerError> {
        let builder = Client::builder()
            .redirect(Policy::none())
            .timeout(timeout)
            .pool_max_idle_per_host(0)
            .user_agent("user-service");
        // A proxy for the way out of the network leads nowhere from here to here.
        let builder = if source.is_loopback() { builder.no_proxy() } else { builder.https_only(true) };
        let client = builder.build().map_err(IssuerError::Client)?;
        Ok(Self { client, source })
    }

    /// Fetches the set once. A set without a usable key is an error: it is a provider's accident, and taking it for the
    /// truth would lock every user out.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let url = match &self.source.discovery {
            Some(issuer) => self.discover(issuer).await?,
            None => self.source.url.clone(),
        };
        let keys = KeySet::parse(&self.get(url).await?, self.source.algorithms)?;
        if keys.len() == 0 {
            return Err(FetchError::NoKeys);
        }
        Ok(keys)
    }

    /// The address of the keys, as the issuer's metadata name it now. They must be of exactly this issuer (OpenID Connect
    /// Discovery 1.0, section 4.3).
    async fn discover(&self, issuer: &str) -> Result<Url, FetchError> {
        let metadata: Metadata = serde_json::from_slice(&self.get(self.source.url.clone()).await?)?;
        if metadata.issuer != issuer {
            return Err(FetchError::Issuer(shortened(&metadata.issuer)));
        }
        let keys = Url::parse(&metadata.jwks_uri).map(|url| KeySetSource { url, ..self.source.clone() });
        // An issuer elsewhere has no keys on this machine.
        let is_fine = |keys: &KeySetSource| {
            keys.is_trustworthy() && (self.source.is_loopback() || keys.url.scheme() == "https")
        };
        match keys {
            Ok(keys) if is_fine(&keys) => Ok(keys.url),
            _ => Err(FetchError::InsecureUrl(shortened(&metadata.jwks_uri))),
        }
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, FetchError> {
        let response = self.client.get(url).header("accept", "application/json").send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        read_body(response, JWKS_BYTES_MAX).await.map_err(|error| match error {
            BodyError::Transport(error) => error.into(),
            BodyError::TooLarge => FetchError::TooLarge,
        })
    }
}

/// The beginning of a foreign text, for the log.
fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The members of an issuer's metadata that are used.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

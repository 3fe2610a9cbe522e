//! One HTTP request for a key set, with everything bounded.

use std::time::Duration;

use reqwest::{Client, StatusCode, redirect::Policy};

use super::key_set::KeySet;
use crate::token::{IssuerError, issuer::KeySetSource};

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
    #[error("the answer is not a key set")]
    Shape(#[from] serde_json::Error),
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
        let mut response =
            self.client.get(self.source.url.clone()).header("accept", "application/json").send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len().saturating_add(chunk.len()) > JWKS_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let keys = KeySet::parse(&body, self.source.algorithms)?;
        if keys.len() == 0 {
            return Err(FetchError::NoKeys);
        }
        Ok(keys)
    }
}

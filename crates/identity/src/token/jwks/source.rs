//! Where the public keys of an issuer come from.

use std::time::Duration;

use super::{
    fetch::{FetchError, Fetcher},
    key_set::KeySet,
    own_keys::OwnKeysReader,
};
use crate::token::{Issuer, IssuerError};

/// A source of public keys.
pub(crate) struct Source(KeyOrigin);

enum KeyOrigin {
    /// An address at which the issuer publishes them.
    Published(Fetcher),
    /// The database of this service.
    Own(OwnKeysReader),
}

impl Source {
    /// The source of the keys of an issuer, if it has public keys.
    pub(crate) fn of(issuer: &Issuer, fetch_timeout: Duration) -> Result<Option<Self>, IssuerError> {
        let origin = match (&issuer.own_keys, &issuer.key_set) {
            (Some(own), _) => KeyOrigin::Own(OwnKeysReader::new(own.clone())),
            (None, Some(source)) => KeyOrigin::Published(Fetcher::new(source.clone(), fetch_timeout)?),
            (None, None) => return Ok(None),
        };
        Ok(Some(Self(origin)))
    }

    pub(super) async fn fetch(&mut self) -> Result<KeySet, FetchError> {
        match &mut self.0 {
            KeyOrigin::Published(fetcher) => fetcher.fetch().await,
            KeyOrigin::Own(keys) => keys.read().await,
        }
    }
}

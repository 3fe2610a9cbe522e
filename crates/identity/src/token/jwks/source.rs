//! Where the public keys of an issuer come from.

use std::time::Duration;

use super::{
    fetch::{FetchError, Fetcher},
    key_set::KeySet,
    own_keys::OwnKeysReader,
};
use crate::token::{Issuer, IssuerError};

/// A source of public keys.
pub(crate) struct Source(Place);

enum Place {
    /// An address at which the issuer publishes them.
    Published(Fetcher),
    /// The database of this service.
    Own(OwnKeysReader),
}

impl Source {
    /// The source of the keys of an issuer, if it has public keys.
    pub(crate) fn of(issuer: &Issuer, fetch_timeout: Duration) -> Result<Option<Self>, IssuerError> {
        let place = match (&issuer.own_keys, &issuer.key_set) {
            (Some(own), _) => Place::Own(OwnKeysReader::new(own.clone())),
            (None, Some(source)) => Place::Published(Fetcher::new(source.clone(), fetch_timeout)?),
            (None, None) => return Ok(None),
        };
        Ok(Some(Self(place)))
    }

    pub(super) async fn fetch(&mut self) -> Result<KeySet, FetchError> {
        match &mut self.0 {
            Place::Published(fetcher) => fetcher.fetch().await,
            Place::Own(keys) => keys.read().await,
        }
    }
}

//! The public keys of this service, read from its database.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{fetch::FetchError, key_set::KeySet};
use crate::{signing_keys, token::issuer::OwnKeys};

/// From the beginning of a read to that of the next. Tokens with unknown keys, which anybody can write, wait for it together.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the public keys of this service.
pub(super) struct OwnKeysReader {
    keys: OwnKeys,
    next_at: Option<Instant>,
}

impl OwnKeysReader {
    pub(super) fn new(keys: OwnKeys) -> Self {
        Self { keys, next_at: None }
    }

    /// Reads the keys, after a pause since the last read.
    pub(super) async fn read(&mut self) -> Result<KeySet, FetchError> {
        if let Some(next_at) = self.next_at {
            sleep_until(next_at).await;
        }
        self.next_at = Instant::now().checked_add(PAUSE);
        let OwnKeys { pool, clock } = &self.keys;
        let keys = pool.read(async |conn| signing_keys::published(conn, &**clock).await).await?;
        if keys.is_empty() {
            return Err(FetchError::NoKeys);
        }
        Ok(KeySet::own(keys))
    }
}

//! The store of files, and the keys of links to it.

use std::sync::Arc;

use files::{
    FileLimits,
    links::LinkKeys,
    objects::{Objects, StorageSettings},
};
use flows::files::{FileSettings, Files};
use identity::seal::Sealer;
use kernel::{Clock, Ids};
use pg::{DbError, Pool};

use crate::config::Config;

/// Purpose of the keys that are derived from SECRETS_KEY (docs/adr/0028).
const PURPOSE: &str = "links to files";

/// The storage of files.
pub struct Storage {
    /// Files; none if they cannot be kept.
    pub files: Option<Files>,
    /// True if that is a fault of the storage.
    pub is_broken: bool,
}

/// Files of the configured store; none if links to them could not be signed. Their work runs on the present tokio runtime.
///
/// # Errors
/// [`DbError`]. A storage that cannot be used is logged, and there are no files.
pub async fn start(
    config: &Config,
    sealer: Option<&Arc<Sealer>>,
    pool: &Pool,
    clock: &Arc<dyn Clock>,
    ids: &Arc<dyn Ids>,
) -> Result<Storage, DbError> {
    let storage = &config.files.storage;
    let links = sealer.and_then(|sealer| keys(sealer));
    let links = match (links, storage) {
        (Some(links), _) => links,
        // S3 checks its own links.
        (None, StorageSettings::S3(_)) => LinkKeys::none(),
        (None, StorageSettings::Folder(_)) => return Ok(Storage { files: None, is_broken: false }),
    };
    let store_id = pool.read(async |conn| files::store_id(conn).await).await?;
    let objects = match Objects::open(&storage.clone().of_store(store_id)) {
        Ok(objects) => objects,
        Err(fault) => {
            tracing::error!(fault = %fault, "files cannot be kept");
            return Ok(Storage { files: None, is_broken: true });
        }
    };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let limits = FileLimits {
        file_bytes: number(config.files.max_bytes),
        user_bytes: number(config.files.quota_bytes),
        user_files: config.files.quota_files.into(),
    };
    let memory_bytes = usize::try_from(config.limits.body_bytes_in_flight / 2).unwrap_or(usize::MAX);
    let settings = FileSettings { limits, links, public_url: config.public_url(), memory_bytes };
    let files = Files::start(pool.clone(), Arc::clone(clock), Arc::clone(ids), objects, settings);
    files.test_store();
    Ok(Storage { files: Some(files), is_broken: false })
}

fn keys(sealer: &Sealer) -> Option<LinkKeys> {
    let keys: Vec<[u8; 32]> = sealer.derive(PURPOSE, &[]).map(|key| *key).collect();
    let (current, previous) = keys.split_first()?;
    Some(LinkKeys::new(current, previous))
}

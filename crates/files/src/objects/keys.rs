//! Keys of objects. They name neither users nor files.

use object_store::path::Path;
use uuid::Uuid;

use super::fault::{FaultCause, StorageFault};

/// Prefix of the keys of files.
pub const FINAL: &str = "files";
/// Prefix of the keys of direct uploads, before they are judged.
pub const UPLOADED: &str = "uploads";
/// Prefix of the keys of self-tests.
pub const SELF_TEST: &str = "self-test";

/// The key of a file.
#[must_use]
pub fn final_key(object_id: Uuid) -> String {
    key_of(FINAL, object_id)
}

/// The key of a direct upload, before it is judged.
#[must_use]
pub fn upload_key(file_id: Uuid) -> String {
    key_of(UPLOADED, file_id)
}

/// Spread by the last digits, which are random: the first ones of a UUID of version 7 are the time.
fn key_of(prefix: &str, id: Uuid) -> String {
    let last = id.as_bytes().last().copied().unwrap_or_default();
    format!("{prefix}/{last:02x}/{id}")
}

/// Keys are made by this service, so a malformed one is a bug; it must not lead out of the folder.
pub(super) fn key_path(key: &str) -> Result<Path, StorageFault> {
    // The library drops slashes at both ends.
    let path = Path::parse(key).ok().filter(|path| !key.is_empty() && path.as_ref() == key);
    path.ok_or_else(|| {
        StorageFault::new(FaultCause::Endpoint, "storage", format!("{key:?} is no key of an object"))
    })
}

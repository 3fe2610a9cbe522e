//! The HS256 secret of a development installation: random, made once, kept in the data folder.
//!
//! Development tokens stay valid over restarts that way, and no two installations share a secret.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use kernel::Ids;
use secrecy::SecretString;

const FILE: &str = "dev-jwt-secret";
/// 32 bytes as hexadecimal digits.
const SECRET_CHARS: usize = 64;

/// Why the development secret cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentSecretError {
    /// The file or its folder cannot be read or written.
    #[error("could not keep the development secret in {}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} does not hold {SECRET_CHARS} hexadecimal digits: delete it, or set SUPABASE_JWT_SECRET", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// The secret in `data_dir`, made if it is missing. Two processes that start at once get the same one.
pub(super) fn keep(data_dir: &Path, ids: &dyn Ids) -> Result<SecretString, DevelopmentSecretError> {
    let path = data_dir.join(FILE);
    keep_in(data_dir, &path, ids).map_err(|source| DevelopmentSecretError::Io {
        path: path.clone(),
        source,
    })?;
    let text = fs::read_to_string(&path).map_err(|source| DevelopmentSecretError::Io {
        path: path.clone(),
        source,
    })?;
    let text = text.trim();
    if text.len() == SECRET_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.into())
    } else {
        Err(DevelopmentSecretError::Malformed { path })
    }
}

/// Written beside its place and linked there, so that nobody ever reads half of it, and the first writer wins.
fn keep_in(data_dir: &Path, path: &Path, ids: &dyn Ids) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    // The mode that local-postgres gives it: the account of the private server must be able to pass.
    DirBuilder::new().recursive(true).mode(0o711).create(data_dir)?;
    let draft = data_dir.join(format!("{FILE}.{}", ids.uuid().simple()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    // Two version 4 UUIDs: 32 bytes with 244 random bits.
    let secret = format!("{}{}\n", ids.uuid().simple(), ids.uuid().simple());
    let linked = file
        .write_all(secret.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use kernel::SeededIds;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let first = keep(&data_dir, &SeededIds::new(1)).unwrap();
        let again = keep(&data_dir, &SeededIds::new(2)).unwrap();
        assert_eq!(first.expose_secret(), again.expose_secret());
        assert_eq!(first.expose_secret().len(), 64);
        let mode = fs::metadata(data_dir.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_foreign_file_is_refused_without_being_repeated() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "hunter2").unwrap();
        let error = keep(folder.path(), &SeededIds::new(1)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

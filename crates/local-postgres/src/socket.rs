//! The folder of the server's socket: private to its account, short enough for the kernel, and with a name that every client
//! reads in a connection string.

use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};

use crate::Error;
use crate::account::Account;
use crate::folder::{Folder, Readers};
use crate::location::Home;

/// The kernel takes 107 bytes (103 on macOS); the lock file's name is the longest PostgreSQL makes there.
const PATH_BYTES_MAX: usize = 99;
const NOTE: &str = "postgres.socket";
const LOCK_FILE: &str = ".s.PGSQL.5432.lock";

/// Where short folders are made. Not the environment's temporary folder, which is long on macOS.
const SHORT_PARENT: &str = "/tmp";

/// Where clients connect; clients build the file's name from it.
#[derive(Debug, Clone)]
pub(crate) struct SocketDir {
    pub(crate) path: PathBuf,
    /// The folder with the note that names `path` for the next start, if it is not the cluster itself.
    note: Option<Folder>,
}

impl SocketDir {
    /// The cluster itself if its path is short and plain, else the short folder of the last start, else a new one.
    pub(crate) fn choose(home: &Home, account: &Account) -> Result<SocketDir, Error> {
        let cluster = home.cluster();
        if lock_file_in(&cluster).as_os_str().len() <= PATH_BYTES_MAX && is_plain(&cluster) {
            return Ok(SocketDir { path: cluster, note: None });
        }
        let note = home.folder.clone();
        if let Some(content) = note.read_if_there(NOTE, Readers::Anyone)? {
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(content.trim_ascii_end()));
            if is_private_to(account, &path) {
                return Ok(SocketDir { path, note: Some(note) });
            }
        }
        let path = nix::unistd::mkdtemp(&Path::new(SHORT_PARENT).join("pg-XXXXXX"))
            .map_err(|errno| Error::io("make a folder in", Path::new(SHORT_PARENT))(errno.into()))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o700))
            .map_err(Error::io("set the permissions of", &path))?;
        account.give(&path)?;
        note.write_whole(NOTE, path.as_os_str().as_bytes())?;
        Ok(SocketDir { path, note: Some(note) })
    }

    /// `postgresql://role@%2Fsocket%2Ffolder/database`, every part percent-encoded, as libpq and tokio-postgres read it.
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        let (role, database) = (encode(role.as_bytes()), encode(database.as_bytes()));
        format!("postgresql://{role}@{}/{database}", encode(self.path.as_os_str().as_bytes()))
    }

    /// Removes a short folder after the server has ended; the cluster itself stays.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let Some(note) = &self.note else { return Ok(()) };
        std::fs::remove_dir_all(&self.path).map_err(Error::io("remove", &self.path))?;
        note.remove_if_there(NOTE)
    }
}

/// Percent-encodes all that some client may not take literally.
fn encode(bytes: &[u8]) -> PercentEncode<'_> {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encode(bytes, PLAIN)
}

/// Returns whether every client reads the path as one host. A comma separates hosts, an `@` may begin the name of an abstract
/// socket, and clients differ in what they think of white space.
fn is_plain(path: &Path) -> bool {
    let reserved = |character: char| {
        character == ',' || character == '@' || character.is_whitespace() || character.is_control()
    };
    path.to_str().is_some_and(|text| !text.contains(reserved))
}

/// PostgreSQL's lock file beside its socket.
pub(crate) fn lock_file_in(socket_dir: &Path) -> PathBuf {
    socket_dir.join(LOCK_FILE)
}

/// Others may write to the parent, so a folder that is there by the right name may still be a trap.
fn is_private_to(account: &Account, path: &Path) -> bool {
    path.parent() == Some(Path::new(SHORT_PARENT))
        && std::fs::symlink_metadata(path).is_ok_and(|found| {
            found.is_dir() && found.uid() == account.uid.as_raw() && found.mode() & 0o777 == 0o700
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_reads_back_what_was_written() {
        let url = SocketDir { path: "/tmp/a b%/c".into(), note: None }.url("röle@x", "da/ta");
        let config: tokio_postgres::Config = url.parse().unwrap();
        assert_eq!(config.get_user(), Some("röle@x"));
        assert_eq!(config.get_dbname(), Some("da/ta"));
        assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix("/tmp/a b%/c".into())]);
    }
}

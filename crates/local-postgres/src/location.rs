//! Where the cluster is: in the data folder, or where a pointer file in it says.
//!
//! The pointer exists for root. The account the server runs as must be able to enter the folder of the cluster,
//! and a checkout below a private home directory it cannot enter; opening that up is not ours to do.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Metadata, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::data_files::{read_if_there, write_whole};
use crate::{Binaries, Error};

/// Enterable by every account, listable by its owner only.
const MODE_ENTERABLE: u32 = 0o711;

/// The folder that holds the cluster, its log and its notes.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
}

impl Home {
    /// The PostgreSQL data directory, which exists only when it is complete.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// Major version that made the cluster; nothing before the first start.
    pub(crate) fn cluster_version(&self) -> Result<Option<String>, Error> {
        let content = read_if_there(&self.cluster().join("PG_VERSION"))?;
        Ok(content.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
    }

    /// Who owns the cluster; nothing before the first start.
    pub(crate) fn cluster_owner(&self) -> Option<Metadata> {
        std::fs::symlink_metadata(self.cluster()).ok()
    }
}

/// Makes the data folder if it is missing and returns its absolute path.
pub(crate) fn prepare(data_dir: &Path) -> Result<PathBuf, Error> {
    if !data_dir.is_dir() {
        make_enterable(data_dir)?;
    }
    data_dir
        .canonicalize()
        .map_err(Error::io("resolve the folder", data_dir))
}

/// Where an earlier start put the cluster, complete or not.
///
/// # Errors
/// [`Error::LocationLost`] if the pointer names a folder that is gone: an empty database in its place would look
/// like lost data.
pub(crate) fn recorded(data_dir: &Path) -> Result<Home, Error> {
    let pointer = pointer_in(data_dir);
    let Some(content) = read_if_there(&pointer)? else {
        return Ok(Home {
            dir: data_dir.to_owned(),
        });
    };
    let dir = PathBuf::from(OsStr::from_bytes(content.trim_ascii_end()));
    if !dir.is_absolute() || !dir.is_dir() {
        return Err(Error::LocationLost { pointer, home: dir });
    }
    Ok(Home { dir })
}

/// Keeps `home` if the account can work there, else makes a place where it can and records it.
///
/// # Errors
/// [`Error::Unreachable`] if there is data already that the account cannot reach.
pub(crate) fn settle(
    home: Home,
    data_dir: &Path,
    fallback_dir: &Path,
    account: &Account,
    binaries: &Binaries,
) -> Result<Home, Error> {
    let cluster = home.cluster();
    if home.cluster_owner().is_some() {
        return match account.can_enter(&cluster, binaries)? {
            true => Ok(home),
            false => Err(Error::Unreachable {
                path: cluster,
                account: account.name.clone(),
            }),
        };
    }
    if account.can_enter(&home.dir, binaries)? {
        return Ok(home);
    }
    if home.dir != data_dir {
        return Err(Error::Unreachable {
            path: home.dir,
            account: account.name.clone(),
        });
    }
    let elsewhere = make_elsewhere(data_dir, fallback_dir)?;
    if !account.can_enter(&elsewhere.dir, binaries)? {
        return Err(Error::Unreachable {
            path: elsewhere.dir,
            account: account.name.clone(),
        });
    }
    let mut content = elsewhere.dir.as_os_str().as_bytes().to_vec();
    content.push(b'\n');
    write_whole(&pointer_in(data_dir), &content)?;
    tracing::info!(
        postgres.account = account.name,
        "{} cannot be entered by the server's account: the database is kept in {}",
        data_dir.display(),
        elsewhere.dir.display()
    );
    Ok(elsewhere)
}

fn pointer_in(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres.location")
}

/// A new folder with a name of its own, which notes for whom it was made so that an operator can tell.
fn make_elsewhere(data_dir: &Path, fallback_dir: &Path) -> Result<Home, Error> {
    if !fallback_dir.is_dir() {
        make_enterable(fallback_dir)?;
    }
    let dir = nix::unistd::mkdtemp(&fallback_dir.join("XXXXXX"))
        .map_err(|errno| Error::io("make a folder in", fallback_dir)(errno.into()))?;
    std::fs::set_permissions(&dir, Permissions::from_mode(MODE_ENTERABLE))
        .map_err(Error::io("set the permissions of", &dir))?;
    write_whole(&dir.join("belongs-to"), data_dir.as_os_str().as_bytes())?;
    Ok(Home { dir })
}

fn make_enterable(dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(MODE_ENTERABLE)
        .create(dir)
        .map_err(Error::io("make the folder", dir))?;
    // The umask may have taken permissions away. Its folder is ours, so this is no one else's decision.
    std::fs::set_permissions(dir, Permissions::from_mode(MODE_ENTERABLE))
        .map_err(Error::io("set the permissions of", dir))
}

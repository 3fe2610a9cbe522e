//! Where the cluster is: in the data folder, or where a pointer file in it says.
//!
//! The pointer exists for root. The account the server runs as must be able to enter the folder of the cluster,
//! and a checkout below a private home directory it cannot enter; opening that up is not ours to do.

use std::ffi::OsStr;
use std::fs::{DirBuilder, Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, geteuid};

use crate::account::{Account, name_of};
use crate::folder::{Folder, Readers, give_command, read_of_server};
use crate::{Binaries, Error};

pub(crate) const POINTER: &str = "postgres.location";

/// Enterable by every account, listable by its owner only.
const MODE_ENTERABLE: u32 = 0o711;

/// The folder that holds the cluster, its log and its notes.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) folder: Folder,
}

impl Home {
    /// The PostgreSQL data directory, which exists only when it is complete.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// Major version that made the cluster; nothing before the first start.
    pub(crate) fn cluster_version(&self) -> Result<Option<String>, Error> {
        // Not through a link, wherever it leads.
        if self.cluster_owner()?.is_none() {
            return Ok(None);
        }
        let content = read_of_server(&self.cluster().join("PG_VERSION"))?;
        Ok(content.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
    }

    /// Owner of the cluster; nothing before the first start.
    ///
    /// # Errors
    /// [`Error::Untrusted`] if there is a link or a file in its place; [`Error::ForeignOwner`] if it is someone else's and this
    /// process is not root.
    pub(crate) fn cluster_owner(&self) -> Result<Option<Metadata>, Error> {
        let cluster = self.cluster();
        match std::fs::symlink_metadata(&cluster) {
            Ok(found) if found.is_dir() && (geteuid().is_root() || found.uid() == geteuid().as_raw()) => {
                Ok(Some(found))
            }
            Ok(found) if found.is_dir() => Err(Error::ForeignOwner {
                path: cluster,
                owner: name_of(Uid::from_raw(found.uid())),
                account: name_of(geteuid()),
                command: give_command(self.folder.path()),
            }),
            Ok(_) => Err(Error::untrusted(
                &cluster,
                "is no folder, and no symbolic link is followed here: put the folder itself there, or set the data folder to \
                 the one that holds it",
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("examine", &cluster)(error)),
        }
    }
}

/// Opens the data folder, which is made if it is missing.
///
/// # Errors
/// [`Error::Untrusted`] if another account could change what is in it.
pub(crate) fn prepare(data_dir: &Path) -> Result<Folder, Error> {
    if !data_dir.is_dir() {
        make_enterable(data_dir)?;
    }
    let folder = open(data_dir)?;
    if folder.is_group_writable() {
        tracing::warn!(
            "{} can be changed by the group of this process: chmod g-w it unless this account is alone in its group",
            folder.path().display()
        );
    }
    Ok(folder)
}

/// Opens the data folder as it is; nothing if there is none.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn find(data_dir: &Path) -> Result<Option<Folder>, Error> {
    match data_dir.try_exists() {
        Ok(false) => Ok(None),
        _ => open(data_dir).map(Some),
    }
}

fn open(data_dir: &Path) -> Result<Folder, Error> {
    let path = data_dir.canonicalize().map_err(Error::io("resolve the folder", data_dir))?;
    Folder::open(&path)
}

/// Where an earlier start put the cluster, complete or not.
///
/// # Errors
/// [`Error::LocationLost`] if the pointer names a folder that is gone: an empty database in its place would look
/// like lost data. [`Error::Untrusted`] if another account could have written it.
pub(crate) fn recorded(data_dir: &Folder) -> Result<Home, Error> {
    let Some(content) = data_dir.read_if_there(POINTER, Readers::Anyone)? else {
        return Ok(Home { folder: data_dir.clone() });
    };
    let dir = pointed_at(&content);
    if !dir.is_absolute() || !dir.is_dir() {
        let pointer = data_dir.join(POINTER);
        return Err(Error::LocationLost { pointer, home: dir });
    }
    Ok(Home { folder: Folder::open(&dir)? })
}

/// The folder that the content of the pointer names.
pub(crate) fn pointed_at(content: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(content.trim_ascii_end()))
}

/// Keeps `home` if the account can work there, else makes a place where it can and records it.
///
/// # Errors
/// [`Error::Unreachable`] if there is data already that the account cannot reach.
pub(crate) fn settle(
    home: Home,
    data_dir: &Folder,
    fallback_dir: &Path,
    account: &Account,
    binaries: &Binaries,
) -> Result<Home, Error> {
    let cluster = home.cluster();
    if home.cluster_owner()?.is_some() {
        return match account.can_enter(&cluster, binaries)? {
            true => Ok(home),
            false => Err(Error::Unreachable { path: cluster, account: account.name.clone() }),
        };
    }
    let unreachable = |folder: &Folder| Error::Unreachable {
        path: folder.path().to_owned(),
        account: account.name.clone(),
    };
    if account.can_enter(home.folder.path(), binaries)? {
        return Ok(home);
    }
    if home.folder.path() != data_dir.path() {
        return Err(unreachable(&home.folder));
    }
    let elsewhere = make_elsewhere(data_dir, fallback_dir)?;
    if !account.can_enter(elsewhere.path(), binaries)? {
        return Err(unreachable(&elsewhere));
    }
    let mut content = elsewhere.path().as_os_str().as_bytes().to_vec();
    content.push(b'\n');
    data_dir.write_whole(POINTER, &content)?;
    Ok(Home { folder: elsewhere })
}

/// A new folder with a name of its own, which notes for whom it was made so that an operator can tell.
fn make_elsewhere(data_dir: &Folder, fallback_dir: &Path) -> Result<Folder, Error> {
    let parent = prepare(fallback_dir)?;
    let dir = nix::unistd::mkdtemp(&parent.join("XXXXXX"))
        .map_err(|errno| Error::io("make a folder in", fallback_dir)(errno.into()))?;
    let folder = Folder::open(&dir)?;
    folder.set_mode(Permissions::from_mode(MODE_ENTERABLE))?;
    folder.write_whole("belongs-to", data_dir.path().as_os_str().as_bytes())?;
    Ok(folder)
}

/// Makes a folder that every account can enter. Other accounts may be able to write where it is made.
fn make_enterable(dir: &Path) -> Result<(), Error> {
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(MODE_ENTERABLE)
            .create(parent)
            .map_err(Error::io("make the folder", parent))?;
    }
    // Not recursive, which would take a link to a folder for the folder. A folder that another process of this account made
    // meanwhile is used, and its mode stays; a link is refused.
    match DirBuilder::new().mode(MODE_ENTERABLE).create(dir) {
        Ok(()) => set_enterable(dir),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Folder::open(dir).map(drop),
        Err(error) => Err(Error::io("make the folder", dir)(error)),
    }
}

/// Gives a folder that this process made the mode that the umask may have reduced. Another account that can write beside it may have
/// exchanged it, so no link is followed and its owner is checked.
fn set_enterable(dir: &Path) -> Result<(), Error> {
    Folder::open(dir)?.set_mode(Permissions::from_mode(MODE_ENTERABLE))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn folder_is_made_with_those_above_it() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("a/b/data");
        make_enterable(&dir).unwrap();
        assert_eq!(mode(&dir), MODE_ENTERABLE);
    }

    #[test]
    fn mode_of_what_a_link_names_stays() {
        let outer = tempfile::tempdir().unwrap();
        let (home, link) = (outer.path().join("home"), outer.path().join("data"));
        DirBuilder::new().mode(0o700).create(&home).unwrap();
        symlink(&home, &link).unwrap();
        // As if the link had been put there after the look for a folder, and between making and opening it.
        for refused in [make_enterable(&link), set_enterable(&link)] {
            let refused = refused.unwrap_err();
            assert!(refused.to_string().contains("symbolic link"), "{refused}");
        }
        assert_eq!(mode(&home), 0o700);
    }

    #[test]
    fn folder_of_another_account_keeps_its_mode() {
        if !geteuid().is_root() {
            return; // Only root can give a folder away.
        }
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("data");
        DirBuilder::new().mode(0o700).create(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(54_321), None).unwrap();
        let refused = set_enterable(&dir).unwrap_err();
        assert!(refused.to_string().contains("belongs to uid 54321"), "{refused}");
        assert_eq!(mode(&dir), 0o700);
    }
}

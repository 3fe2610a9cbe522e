//! A folder that only this process's account may change, and its files, opened through the folder itself.
//!
//! The path to the folder may go through symbolic links. Its entries may not be links: an account that could once put
//! one there would choose what this process reads, truncates or gives away. The folder is opened once, and its entries
//! are found from there, so that nothing is exchanged between a check and a use.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, UnlinkatFlags, getegid, geteuid, unlinkat};

use crate::Error;
use crate::account::name_of;

/// Flags of every open: no link is followed, no other end of a pipe is waited for, no child gets the file.
const GUARDED: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
/// The files of this crate hold a line or two.
const READ_BYTES_MAX: u64 = 64 * 1024;
const FOR_OWNER: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const FOR_READERS: Mode = FOR_OWNER.union(Mode::S_IRGRP).union(Mode::S_IROTH);

/// A folder that was found fit to be trusted.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    handle: Arc<File>,
}

/// Readers of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Anyone who can enter the folder.
    Anyone,
    /// Its owner only.
    Owner,
}

impl Folder {
    /// Opens the folder at `path`, whose last part is no link.
    ///
    /// # Errors
    /// [`Error::Untrusted`] unless it belongs to this process's account or root and no other account may change it.
    pub(crate) fn open(path: &Path) -> Result<Folder, Error> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
            .open(path);
        let handle = opened.map_err(|error| refused(path, path, error))?;
        let found = handle.metadata().map_err(Error::io("examine", path))?;
        check_owner_and_mode(path, &found)?;
        Ok(Folder { path: path.to_owned(), handle: Arc::new(handle) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it, for messages and for the programs of the server.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Changes its mode, also if another folder has got its name meanwhile.
    pub(crate) fn set_mode(&self, permissions: Permissions) -> Result<(), Error> {
        self.handle.set_permissions(permissions).map_err(Error::io("set the permissions of", &self.path))
    }

    /// Returns true if the process's own group may change it too, which a group of several people should not.
    pub(crate) fn is_group_writable(&self) -> bool {
        self.handle.metadata().is_ok_and(|found| found.mode() & 0o020 != 0)
    }

    /// Opens a file in it, making it if `flags` say so.
    ///
    /// # Errors
    /// [`Error::Untrusted`] for a link, for what is no ordinary file, and for a file of another account or one that
    /// others may change, or read if that is not for them.
    pub(crate) fn open_file(&self, name: &str, flags: OFlag, readers: Readers) -> Result<File, Error> {
        self.try_open(name, flags, readers)?
            .ok_or_else(|| Error::io("open", &self.join(name))(ErrorKind::NotFound.into()))
    }

    /// The content of a file, or nothing if there is no such file.
    pub(crate) fn read_if_there(&self, name: &str, readers: Readers) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.try_open(name, OFlag::O_RDONLY, readers)? else {
            return Ok(None);
        };
        content(&file).map(Some).map_err(Error::io("read", &self.join(name)))
    }

    /// Writes beside and renames, so that a reader never sees half of it, also after a crash of the machine.
    pub(crate) fn write_whole(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let file = self.write_beside(name, content, FOR_READERS)?;
        let synced = file.sync_all().and_then(|()| self.rename_beside(name));
        synced.map_err(Error::io("write", &self.join(name)))?;
        self.sync()
    }

    /// The same for a file that only its owner may read, from the first instant on. Its content is worth nothing after
    /// the process has ended, so no crash of the machine has to keep it.
    pub(crate) fn write_private(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        self.write_beside(name, content, FOR_OWNER)?;
        self.rename_beside(name).map_err(Error::io("write", &self.join(name)))
    }

    /// Removes a file; one that is not there is as good.
    pub(crate) fn remove_if_there(&self, name: &str) -> Result<(), Error> {
        match unlinkat(&*self.handle, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.refused(name, errno)),
        }
    }

    /// Makes the names in it survive a crash of the machine.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.handle.sync_all().map_err(Error::io("flush the folder", &self.path))
    }

    fn try_open(&self, name: &str, flags: OFlag, readers: Readers) -> Result<Option<File>, Error> {
        let mode = match readers {
            Readers::Anyone => FOR_READERS,
            Readers::Owner => FOR_OWNER,
        };
        let file = match self.open_at(name, flags, mode) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.refused(name, errno)),
        };
        let path = self.join(name);
        let found = file.metadata().map_err(Error::io("examine", &path))?;
        if !found.is_file() {
            return Err(Error::untrusted(&path, "is no ordinary file: remove it"));
        }
        check_owner_and_mode(&path, &found)?;
        if readers == Readers::Owner && found.mode() & 0o077 != 0 {
            let mode = found.mode() & 0o777;
            let command = format!("chmod 600 {}", path.display());
            let why = format!("is for its owner only, and its mode is {mode:04o}: {command}");
            return Err(Error::untrusted(&path, why));
        }
        Ok(Some(file))
    }

    fn write_beside(&self, name: &str, content: &[u8], mode: Mode) -> Result<File, Error> {
        let beside = beside(name);
        // What a killed process left there may have another owner or mode.
        self.remove_if_there(&beside)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mut file = self.open_at(&beside, flags, mode).map_err(|errno| self.refused(name, errno))?;
        file.write_all(content).map_err(Error::io("write", &self.join(name)))?;
        Ok(file)
    }

    fn rename_beside(&self, name: &str) -> std::io::Result<()> {
        Ok(renameat(&*self.handle, beside(name).as_str(), &*self.handle, name)?)
    }

    fn open_at(&self, name: &str, flags: OFlag, mode: Mode) -> nix::Result<File> {
        let opened: OwnedFd = openat(&*self.handle, name, flags | GUARDED, mode)?;
        Ok(opened.into())
    }

    fn refused(&self, name: &str, errno: Errno) -> Error {
        refused(&self.path, &self.join(name), errno.into())
    }
}

/// The content of a file that belongs to the server, or nothing if there is no such file. Its account may have put anything
/// in its place.
pub(crate) fn read_of_server(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let opened = OpenOptions::new().read(true).custom_flags(GUARDED.bits()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(path, path, error)),
    };
    let found = file.metadata().map_err(Error::io("examine", path))?;
    if !found.is_file() {
        return Err(Error::untrusted(path, "is no ordinary file: remove it"));
    }
    content(&file).map(Some).map_err(Error::io("read", path))
}

fn content(file: &File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The name under which a file is written before it gets its own.
fn beside(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("{stem}.new")
}

/// Refuses what another account could have made or can change.
fn check_owner_and_mode(path: &Path, found: &Metadata) -> Result<(), Error> {
    let me = geteuid();
    if let Some(owner) = foreign_owner(found) {
        // Root would have to leave the cluster in it to an account that is not root.
        let remedy = if me.is_root() { String::new() } else { format!(", or {}", give_command(path)) };
        let (owner, me) = (name_of(owner), name_of(me));
        return Err(Error::untrusted(
            path,
            format!("belongs to {owner}, and this process runs as {me}: run it as {owner} (RUN_AS){remedy}"),
        ));
    }
    if others_can_write(found) {
        let (mode, path_text) = (found.mode() & 0o7777, path.display());
        let why = format!("can be changed by other accounts (mode {mode:04o}): chmod go-w {path_text}");
        return Err(Error::untrusted(path, why));
    }
    Ok(())
}

/// The owner, if that is neither the account of this process nor root.
pub(crate) fn foreign_owner(found: &Metadata) -> Option<Uid> {
    Some(Uid::from_raw(found.uid())).filter(|owner| *owner != geteuid() && !owner.is_root())
}

/// Returns whether the mode lets other accounts write. Those of the own group are trusted.
pub(crate) fn others_can_write(found: &Metadata) -> bool {
    let others = if Gid::from_raw(found.gid()) == getegid() { 0o002 } else { 0o022 };
    found.mode() & others != 0
}

/// The command by which root gives all of a folder to the account of this process.
pub(crate) fn give_command(folder: &Path) -> String {
    format!("chown -R {}:{} {}", geteuid(), getegid(), folder.display())
}

/// Words for a refusal of the system, with the remedy where there is one.
fn refused(folder: &Path, path: &Path, error: std::io::Error) -> Error {
    let found = std::fs::symlink_metadata(path);
    let is_link = found.as_ref().is_ok_and(|found| found.file_type().is_symlink());
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP | Errno::EMLINK | Errno::ENOTDIR) if is_link => Error::untrusted(
            path,
            "is a symbolic link, and none is followed here: put what it names in its place",
        ),
        Some(Errno::EACCES | Errno::EPERM) => match found {
            Ok(found) => of_another(folder, path, &found),
            // It is not there and could not be made.
            Err(missing) if missing.kind() == ErrorKind::NotFound => {
                match std::fs::symlink_metadata(folder) {
                    Ok(found) => of_another(folder, folder, &found),
                    Err(_) => out_of_reach(folder),
                }
            }
            Err(_) => out_of_reach(path),
        },
        _ => Error::io("open", path)(error),
    }
}

fn of_another(folder: &Path, path: &Path, found: &Metadata) -> Error {
    let (owner, account) = (name_of(Uid::from_raw(found.uid())), name_of(geteuid()));
    let command = give_command(folder);
    Error::untrusted(
        path,
        format!("belongs to {owner}, and this process runs as {account}, which may not use it: {command}"),
    )
}

fn out_of_reach(path: &Path) -> Error {
    let account = name_of(geteuid());
    Error::untrusted(
        path,
        format!(
            "cannot be reached by {account}, which this process runs as: give it execute permission on the folders above"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn folder(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (outer, path)
    }

    fn why(refused: Result<impl std::fmt::Debug, Error>) -> String {
        match refused.unwrap_err() {
            error @ Error::Untrusted { .. } => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_that_others_may_change_is_refused() {
        for mode in [0o777, 0o703, 0o702, 0o1777] {
            let (_outer, path) = folder(mode);
            let text = why(Folder::open(&path));
            assert!(text.contains("chmod go-w") && text.contains(&format!("{mode:04o}")), "{text}");
        }
        for mode in [0o700, 0o711, 0o755] {
            let (_outer, path) = folder(mode);
            assert!(!Folder::open(&path).unwrap().is_group_writable(), "{mode:o}");
        }
    }

    #[test]
    fn the_groups_right_to_write_is_accepted_for_the_own_group_only() {
        let (_outer, path) = folder(0o770);
        assert!(Folder::open(&path).unwrap().is_group_writable());
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, None, Some(getegid().as_raw() + 12_345)).unwrap();
            assert!(why(Folder::open(&path)).contains("chmod go-w"));
        }
    }

    #[test]
    fn a_folder_of_another_account_is_refused_with_what_to_do() {
        if !geteuid().is_root() {
            return; // Only root can give a folder away.
        }
        let (_outer, path) = folder(0o700);
        std::os::unix::fs::chown(&path, Some(54_321), None).unwrap();
        let text = why(Folder::open(&path));
        assert!(
            text.contains("belongs to uid 54321") && text.contains("RUN_AS") && !text.contains("chown"),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_opened_through_a_link() {
        let (outer, path) = folder(0o700);
        let target = outer.path().join("target");
        fs::write(&target, "precious").unwrap();
        symlink(&target, path.join("entry")).unwrap();
        let folder = Folder::open(&path).unwrap();
        for readers in [Readers::Anyone, Readers::Owner] {
            assert!(why(folder.read_if_there("entry", readers)).contains("symbolic link"));
            let flags = OFlag::O_RDWR | OFlag::O_CREAT;
            assert!(why(folder.open_file("entry", flags, readers)).contains("symbolic link"));
        }
        assert!(why(read_of_server(&path.join("entry"))).contains("symbolic link"));
        // Writing replaces the link, not what it names; so does a link where the draft goes.
        symlink(&target, path.join("entry.new")).unwrap();
        folder.write_whole("entry", b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(folder.read_if_there("entry", Readers::Anyone).unwrap().unwrap(), b"new");
        symlink(&path, outer.path().join("link")).unwrap();
        assert!(why(Folder::open(&outer.path().join("link"))).contains("symbolic link"));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let (_outer, path) = folder(0o700);
        nix::unistd::mkfifo(&path.join("entry"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let folder = Folder::open(&path).unwrap();
        assert!(why(folder.read_if_there("entry", Readers::Anyone)).contains("no ordinary file"));
        assert!(why(read_of_server(&path.join("entry"))).contains("no ordinary file"));
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let (_outer, path) = folder(0o711);
        let folder = Folder::open(&path).unwrap();
        folder.write_private("secret.url", b"x").unwrap();
        assert!(folder.read_if_there("secret.url", Readers::Owner).unwrap().is_some());
        fs::set_permissions(path.join("secret.url"), Permissions::from_mode(0o644)).unwrap();
        let text = why(folder.read_if_there("secret.url", Readers::Owner));
        assert!(text.contains("chmod 600"), "{text}");
        fs::set_permissions(path.join("secret.url"), Permissions::from_mode(0o602)).unwrap();
        let text = why(folder.read_if_there("secret.url", Readers::Anyone));
        assert!(text.contains("chmod go-w"), "{text}");
        assert_eq!(folder.read_if_there("missing", Readers::Owner).unwrap(), None);
    }
}

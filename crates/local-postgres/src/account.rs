//! The account of the server: that of the caller, or an unprivileged one if the caller is root, which PostgreSQL refuses.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, geteuid};

use crate::{Binaries, Error};

/// The account the server and its tools run as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    gid: Gid,
    /// True if the process is root and has to become this account.
    switches: bool,
}

impl Account {
    /// The owner of an existing cluster, else the caller, else (for root) `postgres` or `nobody`.
    ///
    /// # Errors
    /// [`Error::NoAccount`].
    pub(crate) fn choose(cluster: Option<&Metadata>) -> Result<Account, Error> {
        let caller = geteuid();
        match cluster {
            Some(owner) if caller.is_root() && owner.uid() != 0 => Ok(Account {
                name: name_of(Uid::from_raw(owner.uid())),
                uid: Uid::from_raw(owner.uid()),
                gid: Gid::from_raw(owner.gid()),
                switches: true,
            }),
            _ if caller.is_root() => unprivileged(),
            _ => Ok(Account {
                name: name_of(caller),
                uid: caller,
                gid: nix::unistd::getegid(),
                switches: false,
            }),
        }
    }

    /// Makes `command` run as this account, with its one group and none of the caller's others.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.switches {
            // std drops the supplementary groups itself when root sets another uid. The account's own are
            // not taken on: the server needs none.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
    }

    /// Gives a file or folder this process has just made to the account.
    pub(crate) fn give(&self, path: &Path) -> Result<(), Error> {
        if !self.switches {
            return Ok(());
        }
        lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
            .map_err(Error::io("give the server's account the folder", path))
    }

    /// Returns true if the account may enter `dir`; asked of the kernel, as mode bits are not the only rule.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it may not run the binaries; [`Error::Io`] for any other failure.
    pub(crate) fn can_enter(&self, dir: &Path, binaries: &Binaries) -> Result<bool, Error> {
        if !self.switches {
            return Ok(true);
        }
        let starts_in = |dir: &Path| {
            let mut command = Command::new(binaries.postgres());
            command.arg("--version").current_dir(dir).env_clear();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            self.apply(&mut command);
            match command.status() {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
                Err(error) => Err(Error::io("run", &binaries.postgres())(error)),
            }
        };
        if starts_in(dir)? {
            return Ok(true);
        }
        if starts_in(Path::new("/"))? {
            return Ok(false);
        }
        Err(Error::Unreachable { path: binaries.dir().to_owned(), account: self.name.clone() })
    }
}

fn unprivileged() -> Result<Account, Error> {
    for name in ["postgres", "nobody"] {
        let found = User::from_name(name).map_err(|errno| {
            Error::io("look up the account", Path::new(name))(std::io::Error::from(errno))
        })?;
        if let Some(user) = found.filter(|user| !user.uid.is_root()) {
            return Ok(Account { name: user.name, uid: user.uid, gid: user.gid, switches: true });
        }
    }
    Err(Error::NoAccount)
}

/// For messages: the name, or the number where an account has none.
pub(crate) fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name)
}

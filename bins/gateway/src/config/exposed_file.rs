//! Check that others cannot read or change `.env`, which holds secrets and decides which programs are run.

use std::{fs::Metadata, os::unix::fs::MetadataExt as _, path::Path};

use nix::unistd::{Gid, Uid, getegid, geteuid};

use super::{environment, sections::Environment};

/// `.env` as it was found: whose it is and who may do what with it.
#[derive(Debug)]
pub struct EnvFile {
    found: Metadata,
}

impl EnvFile {
    /// The one in the working directory, if there is one.
    #[must_use]
    pub fn find() -> Option<Self> {
        let found = Path::new(environment::FILE).metadata().ok()?;
        Some(Self { found })
    }

    /// Sentences for the log, for the present account of this process; none for a file that is well kept.
    #[must_use]
    pub fn notices(&self, environment: Environment) -> Vec<String> {
        judge(&self.found, environment, (geteuid(), getegid()))
    }
}

fn judge(found: &Metadata, environment: Environment, (me, my_group): (Uid, Gid)) -> Vec<String> {
    let (file, mode) = (environment::FILE, found.mode() & 0o777);
    let mut lines = Vec::new();
    if found.uid() != me.as_raw() && found.uid() != 0 {
        lines.push(format!(
            "{file} belongs to another account (uid {}), which can change what this service does: chown it",
            found.uid()
        ));
    }
    if mode & 0o020 != 0 && found.gid() != my_group.as_raw() {
        lines.push(format!(
            "{file} can be changed by a group that is not the one of this process (gid {}, mode {mode:04o}): chmod g-w {file}",
            found.gid()
        ));
    }
    if mode & 0o002 != 0 {
        lines.push(format!(
            "{file} can be changed by every account of this machine (mode {mode:04o}): chmod 600 {file}"
        ));
    } else if mode & 0o004 != 0 && !environment.is_development() {
        lines.push(format!(
            "{file} can be read by every account of this machine (mode {mode:04o}), and it may hold secrets: chmod 600 {file}"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_that_others_can_read_or_change_is_pointed_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        fs::write(&file, "PORT=1\n").unwrap();
        let found = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            file.metadata().unwrap()
        };
        let (owner, group) = (found(0o600).uid(), found(0o600).gid());
        let own = (Uid::from_raw(owner), Gid::from_raw(group));
        let told = |mode, environment| judge(&found(mode), environment, own).concat();
        for mode in [0o600, 0o640, 0o660] {
            assert_eq!(told(mode, Environment::Production), "");
        }
        assert!(told(0o644, Environment::Staging).contains("can be read by every account"));
        assert_eq!(told(0o644, Environment::Development), "");
        assert!(told(0o666, Environment::Development).contains("can be changed by every account"));

        let other_group = (own.0, Gid::from_raw(group + 1));
        let told = |mode| judge(&found(mode), Environment::Development, other_group).concat();
        for mode in [0o660, 0o664] {
            assert!(told(mode).contains(&format!("gid {group}, mode {mode:04o}): chmod g-w")));
        }
        assert_eq!(told(0o640), "");

        let other_account = (Uid::from_raw(owner + 1), own.1);
        let of_another = judge(&found(0o600), Environment::Development, other_account).concat();
        // A file of root may be used by anyone.
        assert_eq!(of_another.contains("belongs to another account"), owner != 0);
    }
}

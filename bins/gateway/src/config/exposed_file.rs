//! Whether others can read or change `.env`, which holds secrets and decides which programs are run.

use std::{fs::Metadata, os::unix::fs::MetadataExt as _, path::Path};

use nix::unistd::geteuid;

use super::sections::Environment;

/// Sentences for the log; none for a file that is well kept or not there.
pub(super) fn notices(file: &Path, environment: Environment) -> Vec<String> {
    match file.metadata() {
        Ok(found) => judge(file, &found, environment, geteuid().as_raw()),
        Err(_) => Vec::new(),
    }
}

fn judge(file: &Path, found: &Metadata, environment: Environment, me: u32) -> Vec<String> {
    let (file, mode) = (file.display(), found.mode() & 0o777);
    let mut lines = Vec::new();
    if found.uid() != me && found.uid() != 0 {
        lines.push(format!(
            "{file} belongs to another account (uid {}), which can change what this service does: chown it",
            found.uid()
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
        let file = folder.path().join(".env");
        assert_eq!(notices(&file, Environment::Production), Vec::<String>::new());
        fs::write(&file, "PORT=1\n").unwrap();
        let told = |mode, environment| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            notices(&file, environment).concat()
        };
        for mode in [0o600, 0o640] {
            assert_eq!(told(mode, Environment::Production), "");
        }
        assert!(told(0o644, Environment::Staging).contains("can be read by every account"));
        assert_eq!(told(0o644, Environment::Development), "");
        assert!(told(0o666, Environment::Development).contains("can be changed by every account"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let found = file.metadata().unwrap();
        let of_another = judge(&file, &found, Environment::Development, found.uid() + 1).concat();
        // A file of root may be used by anyone.
        assert_eq!(
            of_another.contains("belongs to another account"),
            found.uid() != 0
        );
    }
}

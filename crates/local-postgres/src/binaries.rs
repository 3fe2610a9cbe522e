//! Finding `postgres` and `initdb` on the machine, the newest supported version first.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Error, VERSION_MIN};

/// Server binaries of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    dir: PathBuf,
    version: u32,
}

impl Binaries {
    /// The folder they are in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Major version, 15 or more.
    pub fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(crate) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }
}

/// Finds the binaries to use: `explicit` alone if given, else `pg_config`, `path` (the value of `PATH`) and the
/// usual install folders, in this order.
///
/// # Errors
/// [`Error::BinariesNotFound`], whose text says what to install.
pub fn find_binaries(explicit: Option<&Path>, path: Option<&OsStr>) -> Result<Binaries, Error> {
    let mut rejected = Vec::new();
    for dir in candidates(explicit, path) {
        match inspect(&dir) {
            Inspection::Usable(binaries) => return Ok(binaries),
            Inspection::Rejected(why) => rejected.push(why),
            // Silence is right for folders we guessed, not for the one the operator named.
            Inspection::Absent if explicit.is_some() => {
                rejected.push(format!("{} has no postgres and initdb", dir.display()));
            }
            Inspection::Absent => {}
        }
    }
    Err(Error::BinariesNotFound { rejected })
}

/// Finds binaries of the major version that made `cluster`, wherever they are on the machine.
///
/// # Errors
/// [`Error::VersionMismatch`] if only others are there, [`Error::BinariesNotFound`] if none is.
pub(crate) fn find_matching(
    cluster: &Path,
    cluster_version: &str,
    explicit: Option<&Path>,
    path: Option<&OsStr>,
) -> Result<Binaries, Error> {
    let preferred = find_binaries(explicit, path)?;
    let mut installed = vec![preferred.version];
    if preferred.version.to_string() == cluster_version {
        return Ok(preferred);
    }
    for dir in candidates(None, path) {
        if let Inspection::Usable(binaries) = inspect(&dir) {
            if binaries.version.to_string() == cluster_version {
                tracing::info!(
                    postgres.version = binaries.version,
                    postgres.bin_dir = %binaries.dir.display(),
                    "using the PostgreSQL that made the existing database"
                );
                return Ok(binaries);
            }
            if !installed.contains(&binaries.version) {
                installed.push(binaries.version);
            }
        }
    }
    Err(Error::VersionMismatch { path: cluster.to_owned(), cluster: cluster_version.to_owned(), installed })
}

enum Inspection {
    Usable(Binaries),
    Rejected(String),
    Absent,
}

/// Folders whose name ends in a version: (parent, what precedes the version, what follows it).
const VERSIONED_FOLDERS: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/lib", "postgresql", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

const PLAIN_FOLDERS: [&str; 4] = ["/usr/local/pgsql/bin", "/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"];

fn candidates(explicit: Option<&Path>, path: Option<&OsStr>) -> Vec<PathBuf> {
    if let Some(dir) = explicit {
        return vec![dir.to_owned()];
    }
    let searched: Vec<PathBuf> = path
        .map(|path| std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect())
        .unwrap_or_default();
    let mut dirs: Vec<PathBuf> = searched.iter().filter_map(|dir| ask_pg_config(dir)).take(1).collect();
    dirs.extend(searched);
    for (parent, prefix, suffix) in VERSIONED_FOLDERS {
        dirs.extend(newest_first(Path::new(parent), prefix, suffix));
    }
    dirs.extend(PLAIN_FOLDERS.map(PathBuf::from));
    dirs
}

fn ask_pg_config(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("pg_config");
    let answer = program.is_file().then(|| first_line_of(&program, "--bindir"))??;
    Some(PathBuf::from(answer)).filter(|dir| dir.is_absolute())
}

fn newest_first(parent: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(suffix)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

fn inspect(dir: &Path) -> Inspection {
    let program = dir.join("postgres");
    if !program.is_file() || !dir.join("initdb").is_file() {
        return Inspection::Absent;
    }
    match first_line_of(&program, "--version").as_deref().map(parse_version) {
        Some(Some(version)) if version >= VERSION_MIN => {
            Inspection::Usable(Binaries { dir: dir.to_owned(), version })
        }
        Some(Some(version)) => Inspection::Rejected(format!("{} is version {version}", dir.display())),
        _ => Inspection::Rejected(format!("{} does not tell its version", program.display())),
    }
}

/// The first line a program prints for one argument; nothing if it cannot be run or fails.
fn first_line_of(program: &Path, argument: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg(argument).current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned())
}

/// Reads the major version out of `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`, `… 17beta1` and the like.
fn parse_version(line: &str) -> Option<u32> {
    let number = line.strip_prefix("postgres (PostgreSQL) ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn fake(dir: &Path, version: &str) {
        for (name, text) in [("postgres", version), ("initdb", version)] {
            let file = dir.join(name);
            std::fs::write(&file, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {text}'\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn versions_of_releases_and_previews_are_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(parse_version("postgres (PostgreSQL) 9.6.24"), Some(9));
        assert_eq!(parse_version("something else 15"), None);
    }

    #[test]
    fn newest_folder_comes_first_by_number() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pg9", "pg16", "pg15", "other"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let found = newest_first(dir.path(), "pg", "bin");
        assert_eq!(found, ["pg16/bin", "pg15/bin", "pg9/bin"].map(|name| dir.path().join(name)));
    }

    // One test for all that runs a script: a file that a second thread's fork still holds open for writing
    // cannot be executed ("text file busy").
    #[test]
    fn unfit_binaries_are_told_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let text = find_binaries(Some(dir.path()), None).unwrap_err().to_string();
        for part in
            ["apt-get install postgresql", "dnf", "apk", "brew", "DATABASE_URL", "PG_BIN_DIR", "has no"]
        {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        fake(dir.path(), "14.2");
        let text = find_binaries(Some(dir.path()), None).unwrap_err().to_string();
        assert!(text.contains("is version 14"), "{text}");

        fake(dir.path(), "99.1");
        let found = find_binaries(Some(dir.path()), None).unwrap();
        assert_eq!((found.version(), found.dir()), (99, dir.path()));
        let error = find_matching(Path::new("/c"), "98", Some(dir.path()), None).unwrap_err();
        assert!(matches!(error, Error::VersionMismatch { installed, .. } if installed.first() == Some(&99)));
    }
}

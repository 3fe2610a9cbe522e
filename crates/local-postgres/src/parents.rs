//! The folders above the data folder. An account that can change one of them can put another folder in the place of the
//! data folder, whatever the owner and mode of that are.
//!
//! The rule is the one of OpenSSH's `StrictModes` and of sudo: each of them belongs to the account of this process or to
//! root, and other accounts cannot write in it unless it is sticky. Symbolic links on the way are followed one by one, so
//! the folders that hold them are judged too.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::Error;
use crate::account::name_of;
use crate::folder::{Readers, foreign_owner, others_can_write};
use crate::location::{POINTER, find, pointed_at};

/// The number of links that Linux follows in one path.
const LINKS_MAX: usize = 40;

/// A folder that lets other accounts put another folder in the place of the data folder, or of the one that
/// `postgres.location` in it names: an [`Error::Untrusted`] for each folder above it, and for each symbolic link on the way
/// to it, that they can change. A folder that is missing is made by the start.
///
/// # Errors
/// Like [`running_url`](crate::running_url), and [`Error::Io`] if a folder on the path cannot be examined.
pub fn exposed_parents(data_dir: &Path) -> Result<Vec<Error>, Error> {
    let mut exposed = judge_way(data_dir)?;
    if let Some(folder) = find(data_dir)?
        && let Some(content) = folder.read_if_there(POINTER, Readers::Anyone)?
    {
        exposed.extend(judge_way(&pointed_at(&content))?);
    }
    Ok(exposed)
}

fn judge_way(path: &Path) -> Result<Vec<Error>, Error> {
    let Way { folders, links } = way(path).map_err(Error::io("examine the way to", path))?;
    let mut exposed = Vec::new();
    for folder in folders {
        exposed.extend(judge_folder(&folder).map_err(Error::io("examine the folder", &folder))?);
    }
    for (link, found) in links {
        let why = "which can let it lead elsewhere than to the data folder";
        exposed.extend(judge_owner(&link, &found, why));
    }
    Ok(exposed)
}

/// A component of a path.
#[derive(Debug, Default)]
struct Way {
    /// Folders in which a name was looked up, each once; not the one at the end.
    folders: Vec<PathBuf>,
    /// Symbolic links, and what they are themselves.
    links: Vec<(PathBuf, Metadata)>,
}

/// Walks as far as the path exists.
fn way(path: &Path) -> io::Result<Way> {
    let mut way = Way::default();
    let mut at = PathBuf::from("/");
    let mut names: VecDeque<OsString> = names(&std::path::absolute(path)?).collect();
    while let Some(name) = names.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        if !way.folders.contains(&at) {
            way.folders.push(at.clone());
        }
        let next = at.join(name);
        let found = match next.symlink_metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        if !found.is_symlink() {
            at = next;
            continue;
        }
        if way.links.len() == LINKS_MAX {
            return Err(Errno::ELOOP.into());
        }
        let target = next.read_link()?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for name in self::names(&target).rev() {
            names.push_front(name);
        }
        way.links.push((next, found));
    }
    Ok(way)
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn judge_folder(folder: &Path) -> io::Result<Option<Error>> {
    let found = folder.metadata()?;
    let why = "which can put another folder in the place of the data folder below it";
    let mode = found.mode() & 0o7777;
    let is_sticky = mode & 0o1000 != 0;
    Ok(judge_owner(folder, &found, why).or_else(|| {
        (others_can_write(&found) && !is_sticky).then(|| {
            let why = format!(
                "can be changed by other accounts (mode {mode:04o}), which can put another folder in the place of the data \
                 folder below it: chmod go-w {}, or move the data folder",
                folder.display()
            );
            Error::untrusted(folder, why)
        })
    }))
}

fn judge_owner(path: &Path, found: &Metadata, consequence: &str) -> Option<Error> {
    foreign_owner(found).map(|owner| {
        let (owner, me) = (name_of(owner), name_of(geteuid()));
        let why = format!(
            "belongs to {owner}, {consequence}: give it to {me} or to root, or run as {owner}, or move the data folder"
        );
        Error::untrusted(path, why)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    /// A folder with `above/data` in it, and the mode of `above`.
    fn above(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let above = outer.path().canonicalize().unwrap().join("above");
        fs::create_dir_all(above.join("data")).unwrap();
        fs::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
        (outer, above)
    }

    /// The sentences about what is below the folder of the test.
    fn told(outer: &tempfile::TempDir, data_dir: &Path) -> Vec<String> {
        let outer = outer.path().canonicalize().unwrap();
        let exposed = exposed_parents(data_dir).unwrap().into_iter();
        let own = exposed.filter(|error| match error {
            Error::Untrusted { path, .. } => path.starts_with(&outer),
            other => panic!("{other:?}"),
        });
        own.map(|error| error.to_string()).collect()
    }

    #[test]
    fn a_folder_above_that_others_can_change_is_told() {
        for mode in [0o777, 0o703, 0o757] {
            let (outer, above) = above(mode);
            // Also before the data folder is made, and wherever below it.
            for below in ["data", "missing", "data/missing/deeper"] {
                let told = told(&outer, &above.join(below));
                assert_eq!(told.len(), 1, "{mode:o} {below}: {told:?}");
                let command = format!("chmod go-w {}", above.display());
                assert!(told[0].contains(&command) && told[0].contains(&format!("{mode:04o}")));
            }
        }
        // The sticky bit keeps others from what is not theirs; the group is the one of this process.
        for mode in [0o700, 0o755, 0o775, 0o1777] {
            let (outer, above) = above(mode);
            assert_eq!(told(&outer, &above.join("data")), [""; 0], "{mode:o}");
        }
    }

    #[test]
    fn folders_that_hold_links_on_the_way_are_judged_too() {
        let (outer, above) = above(0o777);
        let safe = outer.path().canonicalize().unwrap().join("safe");
        fs::create_dir_all(safe.join("data")).unwrap();
        symlink(&safe, above.join("link")).unwrap();
        symlink("link", above.join("again")).unwrap();
        for path in ["link/data", "again/data", "again/../safe/data", "data/../../safe/data"] {
            let told = told(&outer, &above.join(path));
            assert_eq!(told.len(), 1, "{path}: {told:?}");
            assert!(told[0].starts_with(above.to_str().unwrap()), "{told:?}");
        }
        assert_eq!(told(&outer, &safe.join("data")), [""; 0]);
        symlink("round", above.join("round")).unwrap();
        let error = exposed_parents(&above.join("round")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }

    #[test]
    fn a_folder_or_link_of_another_account_is_told() {
        if !geteuid().is_root() {
            return; // Only root can give a folder away.
        }
        let (outer, above) = above(0o755);
        let link = above.join("link");
        symlink(above.join("data"), &link).unwrap();
        lchown(&link, Some(54_321), None).unwrap();
        let of_link = told(&outer, &link);
        assert_eq!(of_link.len(), 1, "{of_link:?}");
        assert!(of_link[0].contains("link belongs to uid 54321"), "{of_link:?}");

        // A group that is not the one of this process.
        chown(&above, None, Some(54_321)).unwrap();
        assert_eq!(told(&outer, &above.join("data")), [""; 0]);
        fs::set_permissions(&above, Permissions::from_mode(0o775)).unwrap();
        assert!(told(&outer, &above.join("data"))[0].contains("chmod go-w"));

        chown(&above, Some(54_321), None).unwrap();
        let of_folder = told(&outer, &above.join("data"));
        assert_eq!(of_folder.len(), 1, "{of_folder:?}");
        assert!(of_folder[0].contains("above belongs to uid 54321"), "{of_folder:?}");
    }

    #[test]
    fn the_folder_that_the_pointer_names_is_judged_too() {
        let (outer, above) = above(0o777);
        let data = outer.path().join("own");
        fs::create_dir(&data).unwrap();
        fs::write(data.join(POINTER), above.join("data").to_str().unwrap()).unwrap();
        assert!(told(&outer, &data)[0].starts_with(above.to_str().unwrap()));
    }
}

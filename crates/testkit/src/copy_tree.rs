//! Copying a folder with owners and permissions, and counting what was copied.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
};

use nix::unistd::geteuid;

/// Size of a folder; distinguishes a whole copy from one that a cleaner of temporary files has thinned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) files: u64,
    pub(crate) size_bytes: u64,
}

/// Copies the folder `from` to `to`, which must not exist.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<Content> {
    let mut content = Content::default();
    copy_into(from, to, &mut content)?;
    Ok(content)
}

/// Counts without copying.
pub(crate) fn content_of(dir: &Path) -> io::Result<Content> {
    let mut content = Content::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            let inner = content_of(&entry.path())?;
            content.files += inner.files;
            content.size_bytes += inner.size_bytes;
        } else {
            content.files += 1;
            content.size_bytes += found.len();
        }
    }
    Ok(content)
}

fn copy_into(from: &Path, to: &Path, content: &mut Content) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let found = entry.metadata()?;
        if found.is_dir() {
            copy_into(&entry.path(), &target, content)?;
        } else {
            content.files += 1;
            content.size_bytes += fs::copy(entry.path(), &target)?;
            keep_owner(&target, &found)?;
        }
    }
    let found = fs::metadata(from)?;
    fs::set_permissions(to, found.permissions())?;
    keep_owner(to, &found)
}

/// Only root can have files of someone else to copy.
fn keep_owner(target: &Path, found: &fs::Metadata) -> io::Result<()> {
    if geteuid().is_root() {
        chown(target, Some(found.uid()), Some(found.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_copy_has_the_same_files_modes_and_empty_folders() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("empty")).unwrap();
        fs::write(from.join("file"), "four").unwrap();
        fs::set_permissions(from.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o700)).unwrap();

        let content = copy_tree(&from, &to).unwrap();

        assert_eq!(content, Content { files: 1, size_bytes: 4 });
        assert_eq!(content_of(&to).unwrap(), content);
        assert!(to.join("empty").is_dir());
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(to.join("file")).unwrap().mode() & 0o777, 0o600);
    }
}

//! One process a folder: an advisory lock the kernel drops when its holder dies, however it dies.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};

use nix::fcntl::OFlag;

use crate::Error;
use crate::folder::{Folder, Readers};

const FILE: &str = "lock";

/// Held for as long as the value lives. No child keeps it, since std opens files close-on-exec.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Locks `dir` by the file `lock` in it, which then names this process.
    pub(crate) fn acquire(dir: &Folder) -> Result<Lock, Error> {
        let file = dir.open_file(FILE, OFlag::O_RDWR | OFlag::O_CREAT, Readers::Owner)?;
        let path = dir.join(FILE);
        match file.try_lock() {
            Ok(()) => {
                let lock = Lock { file };
                write_holder(&lock.file).map_err(Error::io("write the lock file", &path))?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                Err(Error::Locked { dir: dir.path().to_owned(), holder: read_holder(&file) })
            }
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }
}

impl Drop for Lock {
    /// Gives it back now. Closing the file is not enough: a child that another thread has begun and that has not yet become
    /// another program holds the same open file, and with it the lock.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "a lock file could not be unlocked; it is free when the process has ended");
        }
    }
}

fn write_holder(mut file: &File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The number is for the message only, so one that cannot be read is none.
fn read_holder(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Folder::open(dir.path()).unwrap();
        let first = Lock::acquire(&dir).unwrap();
        let refusal = Lock::acquire(&dir).unwrap_err();
        assert!(matches!(refusal, Error::Locked { holder: Some(pid), .. } if pid == std::process::id()));
        drop(first);
        Lock::acquire(&dir).unwrap();
    }

    #[test]
    fn a_copy_of_the_open_file_does_not_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Folder::open(dir.path()).unwrap();
        let first = Lock::acquire(&dir).unwrap();
        let inherited = first.file.try_clone().unwrap();
        drop(first);
        Lock::acquire(&dir).unwrap();
        drop(inherited);
    }
}

//! The server's log file: everything the server and its tools say, kept small, read back for error messages.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::Stdio;

use nix::fcntl::OFlag;

use crate::Error;
use crate::folder::{Folder, Readers};

const FILE: &str = "postgres.log";
const EARLIER: &str = "postgres.log.1";

const ROTATE_ABOVE_BYTES: u64 = 10 * 1024 * 1024;
const TAIL_BYTES_MAX: u64 = 16 * 1024;
const TAIL_LINES_MAX: usize = 20;

/// `postgres.log` beside the cluster; the one before it is `postgres.log.1`.
#[derive(Debug)]
pub(crate) struct ServerLog {
    folder: Folder,
    path: PathBuf,
}

impl ServerLog {
    /// Begins a new file if the present one has grown past 10 MB.
    pub(crate) fn open(home: &Folder) -> Result<ServerLog, Error> {
        let log = ServerLog {
            folder: home.clone(),
            path: home.join(FILE),
        };
        if log.size()? > ROTATE_ABOVE_BYTES {
            home.rename(FILE, EARLIER)?;
        }
        Ok(log)
    }

    /// A handle a child can write to. It is opened here, so the child's account needs no access to the file.
    pub(crate) fn sink(&self) -> Result<Stdio, Error> {
        Ok(Stdio::from(self.file()?))
    }

    /// Bytes written so far: where what comes next begins.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        let metadata = self
            .file()?
            .metadata()
            .map_err(Error::io("measure", &self.path))?;
        Ok(metadata.len())
    }

    /// What was written after `start_bytes`, at most its last 16 KiB.
    pub(crate) fn since(&self, start_bytes: u64) -> Result<String, Error> {
        let read = |mut file: File| {
            let end = file.metadata()?.len();
            file.seek(SeekFrom::Start(
                start_bytes.max(end.saturating_sub(TAIL_BYTES_MAX)),
            ))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read(self.file()?).map_err(Error::io("read", &self.path))
    }

    /// The last lines after `start_bytes`, for an error that is already on its way.
    pub(crate) fn tail_since(&self, start_bytes: u64) -> String {
        match self.since(start_bytes) {
            Ok(text) => last_lines(&text),
            Err(error) => format!("({error})"),
        }
    }

    fn file(&self) -> Result<File, Error> {
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT;
        self.folder.open_file(FILE, flags, Readers::Owner)
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines
        .get(lines.len().saturating_sub(TAIL_LINES_MAX)..)
        .unwrap_or_default()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_file_is_put_aside_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("postgres.log");
        File::create(&path)
            .unwrap()
            .set_len(ROTATE_ABOVE_BYTES + 1)
            .unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let log = ServerLog::open(&Folder::open(dir.path()).unwrap()).unwrap();
        assert_eq!(log.size().unwrap(), 0);
        assert!(dir.path().join("postgres.log.1").exists());
    }

    #[test]
    fn tail_begins_where_it_was_told_and_keeps_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = ServerLog::open(&Folder::open(dir.path()).unwrap()).unwrap();
        std::fs::write(dir.path().join("postgres.log"), "old\n").unwrap();
        let start = log.size().unwrap();
        let new: String = (0..50).map(|n| format!("line {n}\n")).collect();
        std::fs::write(dir.path().join("postgres.log"), format!("old\n{new}")).unwrap();
        let tail = log.tail_since(start);
        assert!(tail.starts_with("line 30") && tail.ends_with("line 49"), "{tail}");
    }
}

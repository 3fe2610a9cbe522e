//! The server's log file: everything the server and its tools say, kept small, read back for error messages.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use nix::fcntl::OFlag;

use crate::Error;
use crate::folder::{Folder, Readers};

const FILE: &str = "postgres.log";
const EARLIER: &str = "postgres.log.1";

/// Interval at which the size is checked while a server runs.
const CHECK_EVERY: Duration = Duration::from_secs(1);
pub(crate) const TAIL_BYTES_MAX: u64 = 16 * 1024;
const TAIL_LINES_MAX: usize = 20;

/// `postgres.log` beside the cluster; the one before it is `postgres.log.1`.
#[derive(Debug, Clone)]
pub(crate) struct ServerLog {
    folder: Folder,
    path: PathBuf,
    bytes_max: u64,
}

impl ServerLog {
    /// Opens the log, and begins it anew if it has more than `bytes_max`.
    pub(crate) fn open(home: &Folder, bytes_max: u64) -> Result<ServerLog, Error> {
        let log = ServerLog { folder: home.clone(), path: home.join(FILE), bytes_max };
        log.bound()?;
        Ok(log)
    }

    /// Keeps the log small until the sender of `ended` is dropped.
    pub(crate) fn keep_bounded(&self, ended: &Receiver<()>) {
        while ended.recv_timeout(CHECK_EVERY) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = self.bound() {
                tracing::warn!(%error, "the server's log could not be put aside");
            }
        }
    }

    /// Moves the content to `postgres.log.1` if it has more than `bytes_max`, so that the log begins anew.
    ///
    /// The server keeps its handle, so the file stays and is emptied; the handle appends and goes on at the start.
    fn bound(&self) -> Result<(), Error> {
        let file = self.file()?;
        let size = file.metadata().map_err(Error::io("measure", &self.path))?.len();
        if size <= self.bytes_max {
            return Ok(());
        }
        let kept = self.keep_last_part(&file, size);
        // Also if that failed: on a full disk the log must not take what is freed.
        file.set_len(0).map_err(Error::io("empty", &self.path))?;
        kept
    }

    /// Copies as much of the end to `postgres.log.1` as it may have. An eighth is left for lines written meanwhile.
    fn keep_last_part(&self, mut file: &File, size: u64) -> Result<(), Error> {
        self.folder.remove_if_there(EARLIER)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let mut earlier = self.folder.open_file(EARLIER, flags, Readers::Owner)?;
        let kept = self.bytes_max - self.bytes_max / 8;
        file.seek(SeekFrom::Start(size.saturating_sub(kept)))
            .and_then(|_| std::io::copy(&mut file.take(self.bytes_max), &mut earlier))
            .map_err(Error::io("write", &self.folder.join(EARLIER)))?;
        Ok(())
    }

    /// A handle a child can write to. It is opened here, so the child's account needs no access to the file.
    pub(crate) fn sink(&self) -> Result<Stdio, Error> {
        Ok(Stdio::from(self.file()?))
    }

    /// Bytes written so far: where what comes next begins.
    pub(crate) fn size(&self) -> Result<u64, Error> {
        let metadata = self.file()?.metadata().map_err(Error::io("measure", &self.path))?;
        Ok(metadata.len())
    }

    /// Text written after `start_bytes`, at most its last 16 KiB.
    pub(crate) fn since(&self, start_bytes: u64) -> Result<String, Error> {
        let read = |mut file: File| {
            let end = file.metadata()?.len();
            // A file that was emptied since then has only newer content.
            let start_bytes = if start_bytes > end { 0 } else { start_bytes };
            file.seek(SeekFrom::Start(start_bytes.max(end.saturating_sub(TAIL_BYTES_MAX))))?;
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
    lines.get(lines.len().saturating_sub(TAIL_LINES_MAX)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const BYTES_MAX: u64 = 64 * 1024;

    fn log_in(dir: &tempfile::TempDir) -> ServerLog {
        ServerLog::open(&Folder::open(dir.path()).unwrap(), BYTES_MAX).unwrap()
    }

    #[test]
    fn large_file_is_put_aside_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "kept").unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join("postgres.log.1")).unwrap();
        let mut file = log_in(&dir).file().unwrap();
        file.set_len(100 * BYTES_MAX).unwrap();
        file.write_all(b"last line\n").unwrap();
        let log = log_in(&dir);
        assert_eq!(log.size().unwrap(), 0);
        let earlier = std::fs::read(dir.path().join("postgres.log.1")).unwrap();
        assert!(earlier.ends_with(b"last line\n"));
        assert!(u64::try_from(earlier.len()).unwrap() <= BYTES_MAX);
        assert_eq!(std::fs::read(&precious).unwrap(), b"kept", "not through the link");
    }

    #[test]
    fn file_is_emptied_even_if_nothing_can_be_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let log = log_in(&dir);
        std::fs::create_dir(dir.path().join("postgres.log.1")).unwrap();
        let mut server = log.file().unwrap();
        server.set_len(BYTES_MAX + 1).unwrap();
        log.bound().unwrap_err();
        server.write_all(b"new line\n").unwrap();
        assert_eq!(log.tail_since(BYTES_MAX), "new line");
    }

    #[test]
    fn tail_begins_where_it_was_told_and_keeps_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = log_in(&dir);
        std::fs::write(dir.path().join("postgres.log"), "old\n").unwrap();
        let start = log.size().unwrap();
        let new: String = (0..50).map(|n| format!("line {n}\n")).collect();
        std::fs::write(dir.path().join("postgres.log"), format!("old\n{new}")).unwrap();
        let tail = log.tail_since(start);
        assert!(tail.starts_with("line 30") && tail.ends_with("line 49"), "{tail}");
    }
}

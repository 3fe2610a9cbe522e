//! Where test servers keep their data: one folder an account, in memory or in the system's temporary folder.
//!
//! It holds the seed and a folder for each living test process. A process holds a lock on a file in its folder; the next
//! one to start removes the folders whose lock is free.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::unistd::{AccessFlags, access, geteuid, mkdtemp};

/// Begins the name of a process's folder.
const RUN: &str = "run-";
/// Begins the name of a seed that is being made.
const UNFINISHED: &str = "new-";
/// Enterable by the server's account, listable by the owner only.
const MODE: u32 = 0o711;
/// Memory is used if it has room for the servers of a few processes; containers often have 64 MB.
const MEMORY_BYTES_MIN: u64 = 2 << 30;

/// The folder of this account, with its lock held: nobody else makes or removes anything in it.
#[derive(Debug)]
pub(crate) struct WorkFolder {
    path: PathBuf,
    _lock: File,
}

/// The folder of this process; it is removed when the process has ended, or by the next one.
///
/// A shell waits for the end of the process, then for that of the server, and removes the folder.
#[derive(Debug)]
pub(crate) struct RunFolder {
    pub(crate) path: PathBuf,
    _alive: File,
    _remover: Child,
}

impl WorkFolder {
    /// Makes the folder if it is missing, waits for its lock, and removes what dead processes left.
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_in(&temporary_folder())
    }

    /// A folder of a name of its own, removed by the next process unless it was renamed.
    pub(crate) fn unfinished(&self) -> io::Result<PathBuf> {
        make_dir(&self.path.join(format!("{UNFINISHED}XXXXXX")))
    }

    /// The folder for this process.
    pub(crate) fn run(&self) -> io::Result<RunFolder> {
        let path = make_dir(&self.path.join(format!("{RUN}XXXXXX")))?;
        let alive = File::create(path.join("alive"))?;
        alive.lock()?;
        let remover = spawn_remover(&path)?;
        Ok(RunFolder { path, _alive: alive, _remover: remover })
    }

    /// A path in the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn open_in(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("user-service-testkit-{}", geteuid()));
        match DirBuilder::new().mode(MODE).create(&path) {
            Ok(()) => fs::set_permissions(&path, Permissions::from_mode(MODE))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let found = fs::symlink_metadata(&path)?;
        // The name is known to everyone, so a folder that someone else put there may be a trap.
        if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(io::Error::other(format!(
                "{} is not a folder that only this account writes to",
                path.display()
            )));
        }
        let lock = File::create(path.join("lock"))?;
        lock.lock()?;
        let folder = Self { path, _lock: lock };
        folder.sweep()?;
        Ok(folder)
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(UNFINISHED) || (name.starts_with(RUN) && is_abandoned(&path)) {
                remove(&path);
            }
        }
        Ok(())
    }
}

/// Removes a folder. A server that is still ending may write into it meanwhile: then the next process removes the rest.
pub(crate) fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_err() {
        fs::remove_dir_all(path).unwrap_or_default();
    }
}

/// Its input is a pipe that nobody writes to and that closes when this process ends, however it ends.
fn spawn_remover(path: &Path) -> io::Result<Child> {
    const SCRIPT: &str = "read -r _; n=0; \
        while [ -e \"$1/postgres/postmaster.pid\" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done; \
        rm -rf -- \"$1\"";
    Command::new("/bin/sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(path)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn is_abandoned(run: &Path) -> bool {
    // A folder without the file lost it in an earlier, incomplete removal.
    File::open(run.join("alive")).map_or(true, |alive| alive.try_lock().is_ok())
}

fn make_dir(template: &Path) -> io::Result<PathBuf> {
    let path = mkdtemp(template)?;
    fs::set_permissions(&path, Permissions::from_mode(MODE))?;
    Ok(path)
}

/// `TMPDIR` if it is set, else memory, else the system's temporary folder.
///
/// Nothing is flushed, yet making and deleting hundreds of files for each database was measured to take five to ten times
/// longer on a disk that a build keeps busy.
fn temporary_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let wanted = std::env::temp_dir();
    if is_set("TMPDIR") && is_usable(&wanted) {
        wanted
    } else if is_usable(memory) && room_bytes(memory) >= MEMORY_BYTES_MIN {
        memory.to_owned()
    } else if is_usable(&wanted) {
        wanted
    } else {
        PathBuf::from("/tmp")
    }
}

/// Returns true if this account may write there, and the server's account enter it.
fn is_usable(dir: &Path) -> bool {
    let may_enter = |dir: &Path| fs::metadata(dir).is_ok_and(|found| found.mode() & 0o001 != 0);
    access(dir, AccessFlags::W_OK).is_ok() && (!geteuid().is_root() || dir.ancestors().all(may_enter))
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn room_bytes(dir: &Path) -> u64 {
    nix::sys::statvfs::statvfs(dir)
        .map_or(0, |found| found.blocks_available().saturating_mul(found.fragment_size()))
}

/// Other systems have no such folder, or count in other types.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn room_bytes(_dir: &Path) -> u64 {
    0
}

#[expect(clippy::disallowed_methods, reason = "a test harness has no configuration to take the folder from")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_removed_and_those_of_the_living_stay() {
        let parent = tempfile::tempdir().unwrap();
        let first = WorkFolder::open_in(parent.path()).unwrap();
        let alive = first.run().unwrap();
        // As a process leaves it whose remover was killed too.
        let (dead_path, unfinished) = (first.join("run-dead"), first.unfinished().unwrap());
        fs::create_dir(&dead_path).unwrap();
        File::create(dead_path.join("alive")).unwrap();
        let kept = first.join("seed-1");
        fs::create_dir(&kept).unwrap();
        drop(first);

        WorkFolder::open_in(parent.path()).unwrap();

        assert!(!dead_path.exists() && !unfinished.exists());
        assert!(alive.path.exists() && kept.exists());
    }

    #[test]
    fn folder_of_an_ended_process_is_removed_by_its_remover() {
        let parent = tempfile::tempdir().unwrap();
        let mut run = WorkFolder::open_in(parent.path()).unwrap().run().unwrap();
        fs::write(run.path.join("file"), "content").unwrap();
        drop(run._remover.stdin.take()); // as the end of the process does
        run._remover.wait().unwrap();
        assert!(!run.path.exists());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let trap = parent.path().join(format!("user-service-testkit-{}", geteuid()));
        fs::create_dir(&trap).unwrap();
        fs::set_permissions(&trap, Permissions::from_mode(0o777)).unwrap();
        assert!(WorkFolder::open_in(parent.path()).is_err());
    }
}

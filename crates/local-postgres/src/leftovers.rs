//! Clearing up after a server that was not stopped: one still shutting down, orphans of a killed one, reused ids.
//!
//! The caller holds the lock of the folder, so whatever still works on the cluster has lost its owner.
//!
//! A process id in a file proves nothing: after a restart of a container the same small number is soon another
//! program's. All of PostgreSQL's processes keep the cluster as their working directory, so that is what is asked.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::folder::read_of_server;
use crate::{Error, socket};

/// Each stage is harsher than the one before. Fast shutdown writes everything down and may take long; after the
/// others the next server recovers from its write-ahead log.
const STAGES: [(Stage, Duration); 3] = [
    (Stage::ShutDown, Duration::from_secs(30)),
    (Stage::Quit, Duration::from_secs(10)),
    (Stage::Kill, Duration::from_secs(5)),
];

#[derive(Debug, Clone, Copy)]
enum Stage {
    ShutDown,
    Quit,
    Kill,
}

/// Waits for processes of an earlier server, ends them if they do not end themselves, removes misleading files.
///
/// # Errors
/// [`Error::StillRunning`] if some survive even `SIGKILL` (stuck in the kernel).
pub(crate) fn clear(cluster: &Path, socket_dir: &Path) -> Result<(), Error> {
    let pid_file = cluster.join("postmaster.pid");
    if !pid_file.exists() {
        return Ok(());
    }
    end_processes(cluster, &pid_file)?;
    // PostgreSQL takes any live process of its own account for the holder of its lock files and refuses to start.
    // None of its processes is left, so such a number is someone else's; files with a dead number it handles.
    for lock_file in [pid_file, socket::lock_file_in(socket_dir)] {
        if let Some(pid) = pid_in(&lock_file).filter(|pid| is_taken(*pid)) {
            tracing::info!(
                process.pid = pid.as_raw(),
                "removing the stale lock file {}, its process id is another program's now",
                lock_file.display()
            );
            // A link in its place is removed, not followed.
            std::fs::remove_file(&lock_file).map_err(Error::io("remove", &lock_file))?;
        }
    }
    Ok(())
}

fn end_processes(cluster: &Path, pid_file: &Path) -> Result<(), Error> {
    for (stage, patience) in STAGES {
        let alive = processes_of(cluster);
        if alive.is_empty() {
            return Ok(());
        }
        tracing::info!(
            postgres.processes = alive.len(),
            "an earlier server on {} still runs, ending it ({stage:?})",
            cluster.display()
        );
        send(stage, &alive, pid_in(pid_file));
        let began = Instant::now();
        while began.elapsed() < patience && !processes_of(cluster).is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let pids: Vec<u32> =
        processes_of(cluster).iter().filter_map(|pid| u32::try_from(pid.as_raw()).ok()).collect();
    if pids.is_empty() { Ok(()) } else { Err(Error::StillRunning { path: cluster.to_owned(), pids }) }
}

fn send(stage: Stage, alive: &[Pid], postmaster: Option<Pid>) {
    let leader = postmaster.filter(|pid| alive.contains(pid));
    let (signal, targets) = match (stage, leader) {
        // A live postmaster ends its children itself. Again is harmless: it may be shutting down already.
        (Stage::ShutDown, Some(leader)) => (Signal::SIGINT, vec![leader]),
        (Stage::ShutDown, None) => (Signal::SIGTERM, alive.to_vec()),
        (Stage::Quit, Some(leader)) => (Signal::SIGQUIT, vec![leader]),
        (Stage::Quit, None) => (Signal::SIGQUIT, alive.to_vec()),
        (Stage::Kill, _) => (Signal::SIGKILL, alive.to_vec()),
    };
    for pid in targets {
        if let Err(errno) = kill(pid, signal) {
            // Mostly it has just ended, which is what is wanted; otherwise the wait after this tells.
            tracing::debug!(process.pid = pid.as_raw(), %errno, "could not signal a process of an earlier server");
        }
    }
}

/// The live PostgreSQL processes of `cluster`. A zombie is none: it holds nothing any more.
fn processes_of(cluster: &Path) -> Vec<Pid> {
    if Path::new("/proc/self/cwd").exists() {
        by_working_directory(cluster)
    } else {
        by_command_line(cluster)
    }
}

/// The process id in the first line of a PostgreSQL lock file; negative there for a single-user server.
fn pid_in(lock_file: &Path) -> Option<Pid> {
    let content = read_of_server(lock_file).ok()??;
    let number: i32 = std::str::from_utf8(&content).ok()?.lines().next()?.trim().parse().ok()?;
    Some(Pid::from_raw(number.checked_abs()?)).filter(|pid| pid.as_raw() > 0)
}

/// Returns true if any process has this id, a zombie included: the question PostgreSQL asks.
fn is_taken(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}

fn by_working_directory(cluster: &Path) -> Vec<Pid> {
    let (Ok(wanted), Ok(entries)) = (std::fs::metadata(cluster), std::fs::read_dir("/proc")) else {
        return Vec::new();
    };
    let works_there = |process: &Path| {
        let is_postgres = std::fs::read(process.join("comm")).is_ok_and(|name| name.starts_with(b"postgres"));
        is_postgres
            && std::fs::metadata(process.join("cwd"))
                .is_ok_and(|dir| dir.dev() == wanted.dev() && dir.ino() == wanted.ino())
    };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .filter(|(_, process)| works_there(process))
        .map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}

/// Where there is no `/proc`: only the postmaster is known, by its pid file, and recognised by its `-D` argument.
fn by_command_line(cluster: &Path) -> Vec<Pid> {
    let Some(pid) = pid_in(&cluster.join("postmaster.pid")) else {
        return Vec::new();
    };
    let output = Command::new("/bin/ps").args(["-o", "command=", "-p"]).arg(pid.to_string()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if text.contains("postgres") && text.contains(&*cluster.to_string_lossy()) {
        vec![pid]
    } else {
        Vec::new()
    }
}

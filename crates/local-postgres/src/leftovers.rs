//! Clearing up after a server that was not stopped: one still shutting down, orphans of a killed one, reused ids.
//!
//! The caller holds the lock of the folder, so whatever still works on the cluster has lost its owner.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::processes;
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
        if let Some(pid) = processes::pid_in(&lock_file).filter(|pid| processes::is_taken(*pid)) {
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
        let alive = processes::of_cluster(cluster);
        if alive.is_empty() {
            return Ok(());
        }
        tracing::info!(
            postgres.processes = alive.len(),
            "an earlier server on {} still runs, ending it ({stage:?})",
            cluster.display()
        );
        send(stage, &alive, processes::pid_in(pid_file));
        let began = Instant::now();
        while began.elapsed() < patience && !processes::of_cluster(cluster).is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let pids: Vec<u32> =
        processes::of_cluster(cluster).iter().filter_map(|pid| u32::try_from(pid.as_raw()).ok()).collect();
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

//! Which processes work on a cluster, told from those that merely inherited a process id.
//!
//! A process id in a file proves nothing: after a restart of a container the same small number is soon another
//! program's. All of PostgreSQL's processes keep the cluster as their working directory, so that is what is asked.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::folder::read_of_server;

/// The live PostgreSQL processes of `cluster`. A zombie is none: it holds nothing any more.
pub(crate) fn of_cluster(cluster: &Path) -> Vec<Pid> {
    if Path::new("/proc/self/cwd").exists() {
        by_working_directory(cluster)
    } else {
        by_command_line(cluster)
    }
}

/// The process id in the first line of a PostgreSQL lock file; negative there for a single-user server.
pub(crate) fn pid_in(lock_file: &Path) -> Option<Pid> {
    let content = read_of_server(lock_file).ok()??;
    let number: i32 = std::str::from_utf8(&content).ok()?.lines().next()?.trim().parse().ok()?;
    Some(Pid::from_raw(number.checked_abs()?)).filter(|pid| pid.as_raw() > 0)
}

/// Whether any process has this id, a zombie included: the question PostgreSQL asks.
pub(crate) fn is_taken(pid: Pid) -> bool {
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

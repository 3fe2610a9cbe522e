//! One run of the server: spawned by a thread that lives as long as it, awaited, signalled, stopped.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::folder::read_of_server;
use crate::server_log::ServerLog;
use crate::{Error, ExitWatch};

/// Recovery after a crash replays at most what `max_wal_size` allows, but a disk can be slow.
const READY_PATIENCE: Duration = Duration::from_secs(600);
/// Until the server has written its pid file, the first thing it does.
const PID_FILE_PATIENCE: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(5);
const REPORT_EVERY: Duration = Duration::from_secs(10);
const SHUT_DOWN_PATIENCE: Duration = Duration::from_secs(60);
const QUIT_PATIENCE: Duration = Duration::from_secs(10);

/// A server process that was spawned here.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) pid: u32,
    pub(crate) exit: ExitWatch,
    cluster: PathBuf,
}

impl Server {
    /// Spawns the server and waits until it accepts connections.
    ///
    /// # Errors
    /// [`Error::EndedAtStart`] and [`Error::NotReady`], both with the end of the log.
    pub(crate) fn start(command: Command, cluster: &Path, log: &ServerLog) -> Result<Server, Error> {
        let start_bytes = log.size()?;
        let program = PathBuf::from(command.get_program());
        let exit = ExitWatch::new();
        let pid = spawn_supervised(command, exit.clone(), log.clone()).map_err(Error::io("run", &program))?;
        let server = Server { pid, exit, cluster: cluster.to_owned() };
        let outcome = server.wait_until_ready(log, start_bytes);
        if let (Err(error), None) = (&outcome, server.exit.status()) {
            tracing::warn!(%error, "ending a server that did not become ready");
            server.end(Signal::SIGQUIT, QUIT_PATIENCE);
        }
        outcome.map(|()| server)
    }

    /// Fast shutdown, then harsher. Repeating it, or calling it after the server has ended, does nothing.
    ///
    /// # Errors
    /// [`Error::StopForced`] if the server had to be ended; its data is recovered at the next start.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        if self.exit.status().is_some() || self.end_by(Signal::SIGINT, SHUT_DOWN_PATIENCE) {
            return Ok(());
        }
        self.end(Signal::SIGQUIT, QUIT_PATIENCE);
        Err(Error::StopForced { waited: SHUT_DOWN_PATIENCE })
    }

    /// Ends it for certain: by `signal` if it obeys within `patience`, else by `SIGKILL`.
    fn end(&self, signal: Signal, patience: Duration) {
        if !self.end_by(signal, patience) && !self.end_by(Signal::SIGKILL, patience) {
            tracing::error!(process.pid = self.pid, "the server does not even end when it is killed");
        }
    }

    fn end_by(&self, signal: Signal, patience: Duration) -> bool {
        self.signal(signal);
        self.exit.wait_at_most(patience).is_some()
    }

    /// Under the lock of the exit status, so that the number cannot be another process's already.
    fn signal(&self, signal: Signal) {
        let status = self.exit.lock();
        let Ok(pid) = i32::try_from(self.pid) else { return };
        if status.is_none()
            && let Err(errno) = kill(Pid::from_raw(pid), signal)
        {
            tracing::warn!(process.pid = pid, %errno, "could not send {signal} to the server");
        }
    }

    /// Reads the state the server keeps in its pid file, as `pg_ctl` does: connecting would need a client.
    fn wait_until_ready(&self, log: &ServerLog, start_bytes: u64) -> Result<(), Error> {
        let began = Instant::now();
        let mut reported = Duration::ZERO;
        loop {
            let state = self.state()?;
            if state == State::Ready {
                return Ok(());
            }
            if let Some(status) = self.exit.wait_at_most(READY_POLL) {
                return Err(Error::EndedAtStart { status, log_tail: log.tail_since(start_bytes) });
            }
            let waited = began.elapsed();
            let patience = if state == State::Starting { READY_PATIENCE } else { PID_FILE_PATIENCE };
            if waited > patience {
                return Err(Error::NotReady { waited, log_tail: log.tail_since(start_bytes) });
            }
            if waited - reported > REPORT_EVERY {
                reported = waited;
                tracing::info!(
                    duration_s = waited.as_secs(),
                    "the server still starts, it may be recovering"
                );
            }
        }
    }

    fn state(&self) -> Result<State, Error> {
        let content = read_of_server(&self.cluster.join("postmaster.pid"))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        let mut lines = text.lines();
        if lines.next().and_then(|line| line.trim().parse().ok()) != Some(self.pid) {
            return Ok(State::Unknown);
        }
        // The eighth line; it is padded with blanks.
        let ready = lines.nth(6).is_some_and(|line| line.trim() == "ready");
        Ok(if ready { State::Ready } else { State::Starting })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Starting,
    Ready,
}

/// The kernel reports the death of the *thread* that spawned, so one is kept for it: it also collects the status.
fn spawn_supervised(mut command: Command, exit: ExitWatch, log: ServerLog) -> std::io::Result<u32> {
    // A group of its own: Ctrl-C at the terminal goes to the caller's, which still has things to write.
    command.process_group(0);
    let (answer, spawned) = mpsc::channel();
    let supervise = move || {
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return answer.send(Err(error)).unwrap_or_default(),
        };
        // The other side waits for it below, so it is there.
        answer.send(Ok(child.id())).unwrap_or_default();
        wait_and_bound_log(&child, &log);
        exit.reap(|| collect(child));
    };
    std::thread::Builder::new().name("local-postgres".to_owned()).spawn(supervise)?;
    spawned.recv().unwrap_or_else(|_| Err(std::io::Error::other("the supervising thread ended")))
}

/// Waits for the end; a second thread keeps the log small until then, and has ended before anyone is told.
fn wait_and_bound_log(child: &Child, log: &ServerLog) {
    std::thread::scope(|threads| {
        let (running, ended) = mpsc::channel();
        let bounding = std::thread::Builder::new()
            .name("local-postgres-log".to_owned())
            .spawn_scoped(threads, move || log.keep_bounded(&ended));
        if let Err(error) = bounding {
            tracing::warn!(%error, "the server's log is not bounded: no thread could be started");
        }
        wait_for_end(child);
        drop::<mpsc::Sender<()>>(running);
    });
}

/// Waits without freeing the process id, where the system can.
#[cfg(target_os = "linux")]
fn wait_for_end(child: &Child) {
    use nix::errno::Errno;
    use nix::sys::wait::{Id, WaitPidFlag, waitid};

    let Ok(pid) = i32::try_from(child.id()) else {
        return;
    };
    while waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
        == Err(Errno::EINTR)
    {}
}

/// Elsewhere the status is collected at once, and the number is unprotected for that instant.
#[cfg(not(target_os = "linux"))]
fn wait_for_end(_child: &Child) {}

fn collect(mut child: Child) -> ExitStatus {
    child.wait().unwrap_or_else(|error| {
        // Someone else collects the children of this process. It has ended, but nobody knows how.
        tracing::warn!(%error, "the exit status of the server is lost");
        ExitStatus::from_raw(255 << 8)
    })
}

//! Start of every child: as the right account, with an empty environment, and bound to this process's life.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::server_log::ServerLog;
use crate::{Binaries, Error};

/// Signal that the kernel sends a child when the thread that started it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OnParentDeath {
    /// Disconnect clients, write everything down, end.
    ShutDown,
    /// End at once; for tools whose half-done work is thrown away or recovered.
    Kill,
}

/// The programs of the server, with the account that they run as and the log that they write to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Programs<'a> {
    pub(crate) account: &'a Account,
    pub(crate) binaries: &'a Binaries,
    pub(crate) log: &'a ServerLog,
}

impl Programs<'_> {
    /// A command of the server's binaries, with output to the log.
    ///
    /// The environment is emptied: the server must not see the caller's secrets, and `PG*` or locale variables must
    /// not change what it does.
    pub(crate) fn prepared(&self, program: &Path, on_parent_death: OnParentDeath) -> Result<Command, Error> {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("PATH", "/usr/bin:/bin")
            // Glibc gives memory back to the system after each statement, and faults it in again for the next: a tenth
            // of the time of short writing statements. Up to this many bytes a backend keeps what it had.
            .env("MALLOC_TRIM_THRESHOLD_", "4194304")
            .env("MALLOC_TOP_PAD_", "1048576");
        // The caller's directory may be closed to the account, and the server would keep it busy.
        command.current_dir("/").stdin(Stdio::null()).stdout(self.log.sink()?).stderr(self.log.sink()?);
        self.account.apply(&mut command);
        bind_to_parent(&mut command, on_parent_death);
        Ok(command)
    }

    /// Runs a tool to its end and returns what it wrote.
    ///
    /// # Errors
    /// [`Error::ToolFailed`] if it fails or takes longer than `patience`, with its last lines.
    pub(crate) fn run(
        &self,
        tool: &'static str,
        mut command: Command,
        stdin: Option<&str>,
        patience: Duration,
    ) -> Result<String, Error> {
        let start_bytes = self.log.size()?;
        let program = command.get_program().to_owned();
        if stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(Error::io("run", Path::new(&program)))?;
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            // A tool that ended before it read its input says why itself, below.
            if let Err(error) = pipe.write_all(text.as_bytes()) {
                tracing::debug!(%error, "{tool} did not read its input");
            }
        }
        let outcome =
            match wait_at_most(&mut child, patience).map_err(Error::io("wait for", Path::new(&program)))? {
                Some(status) if status.success() => return self.log.since(start_bytes),
                Some(status) => status.to_string(),
                None => format!("no end after {} s", patience.as_secs()),
            };
        Err(Error::ToolFailed { tool, outcome, log_tail: self.log.tail_since(start_bytes) })
    }
}

/// Nothing if the child was still running and had to be killed.
fn wait_at_most(child: &mut Child, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asks the kernel to signal the child when the thread that spawns it ends, however it ends.
///
/// std runs the closure last, after the change of account: that change would clear the request. Elsewhere than
/// on Linux nothing like it exists, and the next start ends what was left behind.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "pre_exec is the only place between the change of account and exec")]
fn bind_to_parent(command: &mut Command, on_parent_death: OnParentDeath) {
    use nix::sys::signal::Signal;
    use std::os::unix::process::CommandExt as _;

    let signal = match on_parent_death {
        OnParentDeath::ShutDown => Signal::SIGINT,
        OnParentDeath::Kill => Signal::SIGKILL,
    };
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; these are two system calls that
    // neither allocate nor lock.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // A parent that died before the request was made will never be reported.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(nix::errno::Errno::ESRCH.into()) }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn bind_to_parent(_command: &mut Command, _on_parent_death: OnParentDeath) {}

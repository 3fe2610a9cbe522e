//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;

/// The signals that mean "stop": from a supervisor, from a terminal.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

/// One that arrived.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    Terminate,
    Interrupt,
}

impl Signals {
    /// From now on these signals are received here and end nothing by themselves. Needs a tokio runtime.
    pub(super) fn receive() -> Result<Self, Failure> {
        let of = |kind| signal(kind).map_err(Failure::Signals);
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.interrupt.recv() => Stop::Interrupt,
        }
    }
}

impl Stop {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        }
    }

    /// Exit code that a shell reports for a process that this signal ended.
    pub(super) fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 143,
            Self::Interrupt => 130,
        }
    }
}

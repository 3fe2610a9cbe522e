//! A thread of its own for what every request waits for: the committers, the coalescers, and their connections.
//!
//! They talk to one another at each statement. On one single-threaded runtime that costs no wake-up of another thread, and
//! the slow routes, which run elsewhere, cannot get between (docs/adr/0003).

use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The thread. It ends, with all that runs on it, when this is dropped.
#[derive(Debug)]
pub struct CommitThread {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl CommitThread {
    /// Starts the thread and its runtime.
    ///
    /// # Errors
    /// When the system gives no thread, or nothing to wait on.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("hot".to_owned()).spawn(move || {
            if runtime.block_on(stopped).is_ok() {
                tracing::debug!("the hot thread was told to stop");
            }
        })?;
        Ok(Self { handle, _stop: stop })
    }

    /// Its runtime.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

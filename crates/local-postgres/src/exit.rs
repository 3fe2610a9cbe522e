//! The end of the server: one value set once, that any thread may read or wait for.

use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A view on the server's life that outlives [`LocalPostgres`](crate::LocalPostgres); clones see the same.
#[derive(Debug, Clone)]
pub struct ExitWatch {
    shared: Arc<Shared>,
}

impl ExitWatch {
    /// End of the server; nothing while it runs.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.lock()
    }

    /// Blocks until the server has ended, for whatever reason.
    pub fn wait(&self) -> ExitStatus {
        let mut guard = self.lock();
        loop {
            if let Some(status) = *guard {
                return status;
            }
            guard = self.shared.ended.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks until the server has ended, at most for `patience`; nothing if it still runs then.
    pub fn wait_at_most(&self, patience: Duration) -> Option<ExitStatus> {
        let waited = self.shared.ended.wait_timeout_while(self.lock(), patience, |status| status.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn new() -> ExitWatch {
        ExitWatch { shared: Arc::default() }
    }

    /// While this is held a running server's process id stays its own: see [`ExitWatch::reap`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        // The value is a plain copy, so a panic elsewhere cannot have left it half-written.
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frees the process id of a server that has ended, and tells everyone, in one step under the lock.
    pub(crate) fn reap(&self, collect: impl FnOnce() -> ExitStatus) {
        let mut status = self.lock();
        *status = Some(collect());
        drop(status);
        self.shared.ended.notify_all();
    }
}

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

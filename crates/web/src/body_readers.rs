//! The threads that read large bodies.
//!
//! They run at a lower priority than all other threads of the process: where cores are few, a caller with large bodies would
//! otherwise take half of the time of those who serve everybody.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// The nice value of the threads.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Some threads that end when this is dropped.
#[derive(Debug)]
pub struct BodyReaders {
    handle: Handle,
    /// Is there until the drop.
    runtime: Option<Runtime>,
}

impl BodyReaders {
    /// Room for so many threads. They are started when there is work.
    ///
    /// # Errors
    /// What the system raises.
    pub fn new(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .thread_name("body-reader")
            .max_blocking_threads(threads.max(1))
            .on_thread_start(lower_priority)
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to hand in work, with [`Handle::spawn_blocking`].
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for BodyReaders {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The drop of a runtime waits for its threads, which asynchronous code must not do.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of this thread. On Linux the nice value is one of a thread, elsewhere of the process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        // A process that runs at a lower priority already may not raise it.
        tracing::debug!(error = %error, "the priority of a thread cannot be lowered");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn readers_run_at_a_lower_priority_than_their_callers() {
        let readers = BodyReaders::new(1).unwrap();
        let nice = || getpriority_process(None).unwrap();
        let before = nice();
        let of_reader = readers.handle().spawn_blocking(nice).await.unwrap();
        assert_eq!(of_reader, before.max(NICE));
        assert_eq!(nice(), before, "only the thread of the reader");
    }
}

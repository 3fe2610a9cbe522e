//! The long-lived runtime of a command.

use tokio::runtime::{Builder, Runtime};

use super::failure::Failure;

/// Committers, database connections and timers share these threads; HTTP has its own.
const THREADS_MIN: usize = 2;

/// The long-lived runtime on which everything but HTTP runs.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(THREADS_MIN, std::num::NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(cores.max(THREADS_MIN))
        .thread_name("main-runtime")
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
}

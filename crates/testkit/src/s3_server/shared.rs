//! State that requests and tests share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::{call::S3Call, faults::Rule};

/// The only bucket.
pub const S3_BUCKET: &str = "user-files";
/// The only access key.
pub const S3_ACCESS_KEY: &str = "AKIATESTKITEXAMPLE01";
/// Its secret, which nothing may repeat.
pub const S3_SECRET_KEY: &str = "canary-s3-secret-5c1e0b77d2";

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) calls: Mutex<Vec<S3Call>>,
    pub(super) rule: Mutex<Option<Rule>>,
    /// Seconds that the clock of the store is ahead.
    pub(super) ahead: Mutex<time::Duration>,
    pub(super) releases: Semaphore,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

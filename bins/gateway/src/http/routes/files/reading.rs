//! Receiving a large body: how slow its client may be.

use std::time::Duration;

use flows::files::{Files, Memory};
use kernel::UserId;
use tokio::time::{Instant, timeout_at};

use web::bodies::Share;

use crate::http::prelude::*;

/// Longest pause between two pieces.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest time of a body, far below the time after which what it stored is given up.
const TIME_MAX: Duration = Duration::from_mins(30);
/// Bytes of a second that must come on average, after the first pause.
const BYTES_MIN: u64 = 8 * 1024;

/// Takes the memory of an upload for a user, until it is dropped.
///
/// # Errors
/// 503 if uploads have all of theirs, 429 if those of the user have too much.
pub fn hold(
    call: &Call,
    files: &Files,
    user_id: &UserId,
    bytes: Option<usize>,
) -> Result<(Memory, Share), ApiError> {
    let memory = files.memory(bytes).ok_or_else(ApiError::unavailable)?;
    Ok((memory, call.hold_bytes(user_id, files.buffer_bytes(bytes))?))
}

/// A body that is being received.
pub struct Reading {
    began: Instant,
    bytes: u64,
}

impl Reading {
    /// Begins; the request may take as long as its body.
    pub fn begin(call: &Call) -> Self {
        call.allow(TIME_MAX.saturating_add(PAUSE_MAX));
        Self { began: Instant::now(), bytes: 0 }
    }

    /// Counts bytes that came.
    pub fn received(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// The next piece.
    ///
    /// # Errors
    /// 408 if it takes too long.
    pub async fn next<T>(&self, piece: impl Future<Output = T>) -> Result<T, ApiError> {
        let earned = PAUSE_MAX.saturating_add(Duration::from_secs(self.bytes / BYTES_MIN)).min(TIME_MAX);
        let (now, overdue) = (Instant::now(), self.began.checked_add(earned));
        let paused = now.checked_add(PAUSE_MAX);
        let until = overdue.into_iter().chain(paused).min().unwrap_or(now);
        timeout_at(until, piece).await.map_err(|_| ApiError::new(&catalogue::REQUEST_TIMEOUT))
    }

    /// Waits for the store. Its client is not to blame for the time.
    ///
    /// # Errors
    /// 503 if it takes too long.
    pub async fn pause<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ApiError> {
        let before = Instant::now();
        let done = tokio::time::timeout(TIME_MAX, work).await.map_err(|_| ApiError::unavailable())?;
        self.began = self.began.checked_add(before.elapsed()).unwrap_or(self.began);
        Ok(done)
    }
}

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

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    fn reading() -> Reading {
        Reading { began: Instant::now(), bytes: 0 }
    }

    /// Reads pieces of a client that sends one of so many bytes at each interval, until it is refused; the time that took.
    async fn read(bytes: usize, interval: Duration) -> Duration {
        let (mut reading, began) = (reading(), Instant::now());
        loop {
            match reading.next(sleep(interval)).await {
                Ok(()) => reading.received(bytes),
                Err(error) => {
                    assert_eq!(error.code(), "RequestTimeoutException");
                    return began.elapsed();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_refused_and_a_steady_one_has_half_an_hour() {
        let seconds = Duration::from_secs;
        assert_eq!(read(1, seconds(1)).await, seconds(30));
        assert_eq!(read(0, seconds(31)).await, seconds(30));
        assert_eq!(read(1024 * 1024, seconds(31)).await, seconds(30));
        // 4 KiB a second are half of what must come.
        let half = read(4 * 1024, seconds(1)).await;
        assert!(half > seconds(55) && half < seconds(65), "{half:?}");
        assert_eq!(read(32 * 1024, seconds(1)).await, TIME_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_does_not_answer_for_the_store() {
        let mut reading = reading();
        assert!(reading.pause(sleep(Duration::from_mins(5))).await.is_ok());
        assert!(reading.next(sleep(Duration::from_secs(29))).await.is_ok());
        assert!(reading.next(sleep(Duration::from_secs(2))).await.is_err());
    }
}

//! Trying again, a bounded number of times, while it is certain that nothing was done.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use crate::DbError;

/// Number of attempts, with a growing, jittered pause between.
#[derive(Debug, Clone)]
pub struct Attempts {
    left: u32,
    pause: Duration,
    began: Instant,
}

/// Nothing is tried again later than this: who asked has waited long enough, for a server that went silent above all.
const BEGIN_WITHIN: Duration = Duration::from_secs(4);

impl Attempts {
    /// At most `total` attempts, the first one included.
    #[must_use]
    pub fn up_to(total: u32) -> Self {
        Self { left: total.saturating_sub(1), pause: Duration::from_millis(5), began: Instant::now() }
    }

    /// Call after a failure: waits and answers true if it makes sense to try again.
    ///
    /// Only transient errors are tried again ([`DbError::is_transient`]); an unknown outcome never is. Nor is a lock that
    /// did not open in time: it was waited for already, and the caller's patience is not to be tripled. Nor is anything when
    /// the first attempts took long, as with a server that does not answer.
    pub async fn again(&mut self, error: &DbError) -> bool {
        let waited = matches!(error, DbError::LockTimeout(_));
        let too_late = self.began.elapsed() > BEGIN_WITHIN;
        if self.left == 0 || waited || too_late || !error.is_transient() {
            return false;
        }
        self.left = self.left.saturating_sub(1);
        // The jitter only has to differ between processes and attempts; the seed of a hash map is enough for that.
        let spread = RandomState::new().hash_one(self.left) % 1_000;
        let jitter = self.pause.saturating_mul(u32::try_from(spread).unwrap_or(0)) / 1_000;
        tokio::time::sleep(self.pause.saturating_add(jitter)).await;
        self.pause = self.pause.saturating_mul(4);
        tracing::debug!(error = %error, "a transaction is tried again");
        true
    }
}

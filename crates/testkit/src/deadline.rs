//! Waiting for a condition with an end.

use std::time::{Duration, Instant};

/// Time that may pass before the test gives up.
pub(crate) const ALLOWED: Duration = Duration::from_secs(60);
/// Longest time that counts for one look. More is a machine that was busy or a process that was paused, and what the test waits
/// for was paused with it.
const LOOK_MAX: Duration = Duration::from_millis(50);

/// The end of waiting for a condition, asked before every further look at it.
#[derive(Debug)]
pub struct Deadline {
    last: Instant,
    spent: Duration,
}

impl Deadline {
    /// A minute from now.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it begins to run, so it is no default")]
    pub fn new() -> Self {
        Self { last: Instant::now(), spent: Duration::ZERO }
    }

    /// Returns whether there is time for another look.
    pub fn allows_another(&mut self) -> bool {
        self.spent += self.last.elapsed().min(LOOK_MAX);
        self.last = Instant::now();
        self.spent < ALLOWED
    }
}

/// The URL at which a gateway listens, as soon as its log has it.
#[must_use]
pub fn listening_url(log: &str) -> Option<&str> {
    log.split("listening on ").nth(1)?.split([',', '"']).next()
}

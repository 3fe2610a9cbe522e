//! The metrics of a queue.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

/// The metrics of a queue.
pub(super) struct Meters {
    batch_size: Histogram,
    queue_depth: Gauge,
    queue_wait: Histogram,
    pub(super) commit: Histogram,
    pub(super) isolations: Counter,
    pub(super) blocked: Counter,
    pub(super) at_once: Counter,
}

impl Meters {
    pub(super) fn new(queue: &'static str) -> Self {
        Self {
            batch_size: metrics::histogram!("committer_batch_size", "queue" => queue),
            queue_depth: metrics::gauge!("committer_queue_depth", "queue" => queue),
            queue_wait: metrics::histogram!("committer_queue_wait_seconds", "queue" => queue),
            commit: metrics::histogram!("committer_commit_seconds", "queue" => queue),
            isolations: metrics::counter!("committer_isolations_total", "queue" => queue),
            at_once: metrics::counter!("committer_at_once_total", "queue" => queue),
            blocked: metrics::counter!("committer_blocked_total", "queue" => queue),
        }
    }

    /// A batch of `items` was taken, and `left` wait on.
    pub(super) fn batch(&self, items: usize, left: usize) {
        self.batch_size.record(count(items));
        self.queue_depth.set(count(left));
    }

    /// An item waited for its batch.
    pub(super) fn waited(&self, waited: Duration) {
        self.queue_wait.record(waited.as_secs_f64());
    }
}

#[expect(clippy::as_conversions, reason = "metrics are floats; a queue is far below 2^52")]
fn count(items: usize) -> f64 {
    items as f64
}

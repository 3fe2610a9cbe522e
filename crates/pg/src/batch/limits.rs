//! Bounds of batches and queues.

use std::time::Duration;

/// Longest time that an item may be blocked by another transaction (HTTP contract 1.11: a repeat waits for up to 2 s).
pub const BLOCKED_MAX: Duration = Duration::from_secs(2);

/// Bounds of a [`Committer`](super::Committer) or [`Coalescer`](super::Coalescer).
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Label of the metrics, for example `writes`.
    pub name: &'static str,
    /// Queues that work at the same time. One key always goes to the same lane.
    pub lanes: usize,
    /// Batches of one lane that are under way at the same time: one decides, the others write or are in their commit. More
    /// than two only make the batches smaller.
    pub workers: usize,
    /// Most items of one batch.
    pub batch_items_max: usize,
    /// Most items that wait in one lane.
    pub queue_items_max: usize,
    /// Most bytes of one batch, by [`Work::weight`](super::Work::weight). A heavier item is a batch of its own.
    pub batch_bytes_max: usize,
    /// Most bytes that wait in one lane.
    pub queue_bytes_max: usize,
    /// Longest wait of an item before it is rejected undone.
    pub wait_max: Duration,
}

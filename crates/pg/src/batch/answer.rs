//! The way back to a caller: he is always told something, and never more than is known.

use tokio::sync::oneshot;

/// Reasons that there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue is full, or the service is shutting down. Surely not done.
    #[error("the queue is full")]
    Full,
    /// The database could not be reached, or cannot do it for now, or contention did not end. Surely not done.
    #[error("the database is not available")]
    Unavailable,
    /// Another transaction held what the item needs for longer than [`BLOCKED_MAX`](super::BLOCKED_MAX). Surely not done.
    #[error("another transaction blocks the operation")]
    Blocked,
    /// The connection broke while committing, or the lane ended with the item in a batch: done or not.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown,
    /// The item cannot be done, through a fault of ours. Surely not done.
    #[error("the operation failed")]
    Failed,
}

/// Where the outcome of an item goes.
///
/// Dropped without one, as when the runtime of a lane ends, it still tells whether the item can have been done.
pub(super) struct Answer<O> {
    caller: Option<oneshot::Sender<Result<O, Rejected>>>,
    unless_given: Rejected,
}

impl<O> Answer<O> {
    /// The answer of an item that nobody has touched yet, and where it will arrive.
    pub(super) fn to_come() -> (Self, oneshot::Receiver<Result<O, Rejected>>) {
        let (caller, outcome) = oneshot::channel();
        let answer = Self { caller: Some(caller), unless_given: Rejected::Unavailable };
        (answer, outcome)
    }

    /// Answer to the caller if there is no better one.
    pub(super) fn unless_given(&mut self, rejected: Rejected) {
        self.unless_given = rejected;
    }

    pub(super) fn give(mut self, outcome: Result<O, Rejected>) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Result<O, Rejected>) {
        if let Some(caller) = self.caller.take()
            && caller.send(outcome).is_err()
        {
            tracing::debug!("the caller of a finished operation is gone");
        }
    }
}

impl<O> Drop for Answer<O> {
    fn drop(&mut self) {
        self.send(Err(self.unless_given));
    }
}

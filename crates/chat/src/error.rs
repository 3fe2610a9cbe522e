//! Failures of an upstream.

use kernel::{Failure, Kind};

/// The failure of an upstream (`UpstreamException`, HTTP contract 9.1). Safe to log and to show: it has nothing of the key, the
/// conversation or the upstream's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No connection: name, network, TLS.
    #[error("the chat upstream cannot be reached")]
    Unreachable,
    /// A status other than 2xx, redirects included.
    #[error("the chat upstream answered with status {0}")]
    Status(u16),
    /// A pause above the time-out, or [`COMPLETION_MAX`](crate::COMPLETION_MAX) is over.
    #[error("the chat upstream took too long")]
    TimedOut,
    /// An error object in an answer that had begun well.
    #[error("the chat upstream reported an error in its answer")]
    Reported,
    /// An answer that is not of the protocol.
    #[error("the answer of the chat upstream is not of the protocol")]
    Nonsense,
    /// The connection ended before the answer did.
    #[error("the answer of the chat upstream ended early")]
    Broken,
    /// An answer beyond the bounds of this crate.
    #[error("the answer of the chat upstream is too large")]
    TooLarge,
}

impl Failure for UpstreamError {
    fn code(&self) -> &'static str {
        "UpstreamException"
    }

    fn kind(&self) -> Kind {
        Kind::Upstream
    }
}

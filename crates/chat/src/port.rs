//! The port: a model that replies to conversations.

use std::time::Duration;

use futures_util::stream::BoxStream;

use crate::{CompletionRequest, Part, UpstreamError};

/// Longest time of a completion; then it is [`UpstreamError::TimedOut`].
pub const COMPLETION_MAX: Duration = Duration::from_hours(1);

/// A model that replies to conversations, used as `Arc<dyn ChatModel>`.
pub trait ChatModel: Send + Sync + 'static {
    /// The reply to a conversation, part by part, until [`Part::Finished`] or one error; afterwards the stream ends.
    ///
    /// Nothing is sent before the stream is polled. Dropping it ends the reply.
    fn complete(&self, request: CompletionRequest) -> BoxStream<'static, Result<Part, UpstreamError>>;
}

#![doc = include_str!("../README.md")]
#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod error;
pub mod model;
pub mod open_ai;
pub mod port;

pub use error::UpstreamError;
pub use model::{
    CompletionRequest, Finish, FinishReason, Part, PromptMessage, PromptRole, TokenUsage, Transfer,
};
pub use open_ai::{EVENT_BYTES_MAX, OpenAi, OpenAiError, OpenAiSettings};
pub use port::{COMPLETION_MAX, ChatModel};

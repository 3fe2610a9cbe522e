//! Conversations and the parts of a reply.

use std::fmt;

use kernel::FreeForm;

/// The conversation to which a model replies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionRequest {
    /// Name of the model, as the upstream knows it.
    pub model: String,
    /// The messages, oldest first.
    pub messages: Vec<PromptMessage>,
    /// Most tokens of the reply.
    pub max_tokens: u32,
    /// The form in which the upstream sends its answer.
    pub transfer: Transfer,
}

/// The form in which an upstream sends its answer. The parts are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Piece by piece, as the model produces it.
    Streamed,
    /// All at once, when it is complete.
    Whole,
}

/// A message of the conversation. Its `Debug` hides the text.
#[derive(Clone, PartialEq, Eq)]
pub struct PromptMessage {
    /// Its author.
    pub role: PromptRole,
    /// Its text.
    pub content: String,
    /// An array of the calls of tools in it, in the form of the protocol (messages of the assistant).
    pub tool_calls: Option<FreeForm>,
    /// The id of the call that it answers (messages of tools).
    pub tool_call_id: Option<String>,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptRole {
    /// The operator, with instructions.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool that the model called.
    Tool,
}

/// A part of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The upstream accepted the request, and the body of its answer begins. Once, at first.
    Started,
    /// A piece of the text. It is not empty and has no U+0000.
    Text(String),
    /// The array of the calls of tools, in the form of the protocol. At most once, after all text.
    ToolCalls(FreeForm),
    /// The end. Once, at last.
    Finished(Finish),
}

/// The end of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// Its reason; nothing if the upstream gives none.
    pub reason: Option<FinishReason>,
    /// The tokens that the upstream counted; nothing if it does not say so.
    pub usage: Option<TokenUsage>,
}

/// The reason for the end of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It is complete (`stop`).
    Stop,
    /// It has as many tokens as it may have, or the conversation is too long (`length`).
    Length,
    /// The model waits for the answers of tools (`tool_calls`, `function_call`).
    ToolCalls,
    /// A filter of the upstream ended it (`content_filter`).
    ContentFilter,
    /// Another one, unknown here.
    Other,
}

/// The tokens of a conversation and its reply, as the upstream counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens of the conversation.
    pub prompt_tokens: u32,
    /// Those of them that came from a cache of the upstream; at most all.
    pub cached_prompt_tokens: u32,
    /// Tokens of the reply, including those of its reasoning.
    pub completion_tokens: u32,
}

impl PromptMessage {
    /// Instructions of the operator.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(PromptRole::System, content)
    }

    /// A text of the user.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(PromptRole::User, content)
    }

    /// A text of a role, without calls of tools.
    #[must_use]
    pub fn new(role: PromptRole, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), tool_calls: None, tool_call_id: None }
    }
}

impl fmt::Debug for PromptMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromptMessage")
            .field("role", &self.role)
            .field("content_bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

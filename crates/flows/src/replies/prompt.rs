//! The conversation that the model gets, and its size.

use chat::{PromptMessage, PromptRole};
use sessions::{Message, Role};

use super::settings::ReplySettings;

/// Tokens of texts of this many bytes, where nobody counted them: a third, rounded up (HTTP contract 9.1).
pub(super) fn estimated(bytes: usize) -> i64 {
    i64::try_from(bytes.div_ceil(3)).unwrap_or(i64::MAX)
}

/// A conversation: instructions, earlier messages, the new one.
#[derive(Debug)]
pub(super) struct Prompt {
    instructions: Option<PromptMessage>,
    /// The oldest first; those in front are left out first.
    earlier: Vec<PromptMessage>,
    question: PromptMessage,
}

impl Prompt {
    pub(super) fn new(settings: &ReplySettings, earlier: Vec<Message>, question: String) -> Self {
        Self {
            instructions: settings.system_prompt.as_deref().map(PromptMessage::system),
            earlier: complete(earlier.into_iter().map(prompt_message)),
            question: PromptMessage::user(question),
        }
    }

    /// Tokens of all texts, estimated.
    pub(super) fn tokens(&self) -> i64 {
        let fixed = [Some(&self.question), self.instructions.as_ref()];
        let all = fixed.into_iter().flatten().chain(&self.earlier);
        estimated(all.fold(0, |bytes, message| bytes.saturating_add(message.content.len())))
    }

    /// Leaves the oldest of the earlier messages out; false if there is none.
    pub(super) fn forget_oldest(&mut self) -> bool {
        if self.earlier.is_empty() {
            return false;
        }
        self.earlier = complete(std::mem::take(&mut self.earlier).into_iter().skip(1));
        true
    }

    pub(super) fn into_messages(self) -> Vec<PromptMessage> {
        self.instructions.into_iter().chain(self.earlier).chain([self.question]).collect()
    }
}

/// Messages without answers of tools whose call is not there, and without calls that nobody answered: upstreams refuse both.
fn complete(messages: impl Iterator<Item = PromptMessage>) -> Vec<PromptMessage> {
    let mut kept: Vec<PromptMessage> = Vec::new();
    let mut messages = messages.peekable();
    while let Some(mut message) = messages.next() {
        let follows_a_call =
            kept.last().is_some_and(|last| last.role == PromptRole::Tool || last.tool_calls.is_some());
        if message.role == PromptRole::Tool && !follows_a_call {
            continue;
        }
        if message.tool_calls.is_some() && messages.peek().is_none_or(|next| next.role != PromptRole::Tool) {
            message.tool_calls = None;
            if message.content.is_empty() {
                continue;
            }
        }
        kept.push(message);
    }
    kept
}

fn prompt_message(message: Message) -> PromptMessage {
    let role = match message.role {
        Role::User => PromptRole::User,
        Role::Assistant => PromptRole::Assistant,
        Role::System => PromptRole::System,
        Role::Tool => PromptRole::Tool,
    };
    PromptMessage {
        tool_calls: message.tool_calls,
        tool_call_id: message.tool_call_id,
        ..PromptMessage::new(role, message.content)
    }
}

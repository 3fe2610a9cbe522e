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
            earlier: earlier.into_iter().map(prompt_message).collect(),
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
        self.earlier.remove(0);
        true
    }

    pub(super) fn into_messages(mut self) -> Vec<PromptMessage> {
        // The answer of a tool is refused by upstreams if the call that it answers is not there.
        while self.earlier.first().is_some_and(|message| message.role == PromptRole::Tool) {
            self.earlier.remove(0);
        }
        self.instructions.into_iter().chain(self.earlier).chain([self.question]).collect()
    }
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

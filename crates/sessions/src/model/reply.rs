//! The reply of a model to a message.

use kernel::{Credits, FreeForm, Scope, Usd, UserId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{Message, MessageStatus};

/// What a reply may use and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTerms {
    /// Name of the model.
    pub model: String,
    /// The hold that pays for it; `None` where it costs nothing.
    pub hold_id: Option<Uuid>,
    /// Amount of the hold: the reply never costs more.
    pub held: Credits,
    /// Tokens of the prompt, estimated.
    pub prompt_tokens: i64,
    /// Most tokens that the model may produce; above zero.
    pub max_tokens: i64,
}

/// The right of one process to produce a reply, until it ends or is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The process, by a random id.
    pub owner: Uuid,
    /// Life from now.
    pub ttl: Duration,
}

/// A message to which a model is to reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReply {
    /// Users whose sessions the caller may touch.
    pub scope: Scope,
    /// The session.
    pub session_id: Uuid,
    /// Id of the message of the user, fresh from [`kernel::Ids`].
    pub question_id: Uuid,
    /// Its text: at most [`crate::CONTENT_BYTES_MAX`] bytes, without NUL.
    pub content: String,
    /// Id of the message of the assistant, fresh from [`kernel::Ids`].
    pub message_id: Uuid,
    /// What the reply may use and cost.
    pub terms: ReplyTerms,
    /// Who produces it.
    pub lease: Lease,
}

/// A reply by its user and the message of the assistant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyName {
    /// The user.
    pub user_id: UserId,
    /// The session.
    pub session_id: Uuid,
    /// The message of the assistant.
    pub message_id: Uuid,
}

/// A stored reply, running or finished.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The message of the assistant, with the text as far as it is stored.
    pub message: Message,
    /// The message of the user.
    pub question_id: Uuid,
    /// Integer id of the message of the user.
    pub question_number: i64,
    /// The `seq` of the message of the user.
    pub question_seq: i64,
    /// Integer id of the session.
    pub session_number: i64,
    /// What the reply may use and cost.
    pub terms: ReplyTerms,
    /// A caller asked for its end.
    pub cancel_requested: bool,
    /// When it ended; `None` while it runs.
    pub finished_at: Option<OffsetDateTime>,
    /// Why it failed or broke off.
    pub error_code: Option<String>,
    /// The charge; `None` while it runs.
    pub credits_charged: Option<Credits>,
    /// Balance of the user after the charge; `None` while it runs.
    pub balance_after: Option<Credits>,
}

impl Reply {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> ReplyName {
        let Message { user_id, session_id, message_id, .. } = &self.message;
        ReplyName { user_id: user_id.clone(), session_id: *session_id, message_id: *message_id }
    }
}

/// The end of a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyEnd {
    /// Status of the message of the assistant; not in progress.
    pub status: MessageStatus,
    /// Its whole text; `None` leaves what is stored.
    pub content: Option<String>,
    /// Tools that the model calls: a JSON array.
    pub tool_calls: Option<FreeForm>,
    /// Tokens of the prompt, counted at the message of the user; zero if nothing is charged.
    pub prompt_tokens: i64,
    /// Tokens of the reply.
    pub completion_tokens: i64,
    /// Cost of both.
    pub cost_usd: Usd,
    /// Why it failed or broke off.
    pub error_code: Option<&'static str>,
    /// The charge.
    pub credits_charged: Credits,
    /// Balance of the user after the charge.
    pub balance_after: Credits,
}

/// The text of a reply behind an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyText {
    /// The bytes, in UTF-8; they may begin inside a character if the offset was there.
    pub bytes: Vec<u8>,
    /// The status of the message.
    pub status: MessageStatus,
}

//! `POST /api/sessions/{session_id}/messages`: sends a message, and answers with the reply of the model (HTTP contract 9.1).

use chat::COMPLETION_MAX;
use flows::{
    Replay,
    replies::{Ask, Asked, ReplyEvent, ReplyReader, ReplyRefusal},
};
use kernel::{Detail, fingerprint::v1};
use sessions::{CONTENT_BYTES_MAX, MessageStatus, Reply as StoredReply};
use uuid::Uuid;

use super::{
    body::{ReplyBody, own_session, replies_of, reply_example},
    events::{self, Start},
};
use crate::{
    http::{
        call::rejected_caller,
        fault::Problem,
        fields::parser::{Parse, parser},
        idempotency,
        prelude::*,
    },
    telemetry::Moved,
};

const ROLES: &[(&str, ())] = &[("user", ())];

input! {
    /// A message to the model.
    pub keyed struct SendMessage {
        /// The text, 1 character to 1 MiB.
        content: String = required(Body, content()), example("消息内容");
        /// Always `user`.
        role: Option<()> = optional(Body, parse::one_of(ROLES)), default("user"), unhashed();
        /// True for server-sent events.
        stream: Option<bool> = optional(Body, parse::boolean()), default(false), unhashed();
    }
}

pub fn doc() -> Doc {
    Doc::new("chat", "Send a message")
        .description(
            "The model of the installation replies, and the reply is charged for exactly what was produced. With \
             `\"stream\": true` the answer is `text/event-stream`: `message.created`, `message.delta`, then `message.completed` or \
             `message.failed`, then `done`. A client that goes away does not stop the reply.",
        )
        .named_user()
        .idempotent()
        .body::<SendMessage>(json!({"content": "消息内容", "role": "user"}))
        .reply::<ReplyBody>(reply_example())
        .errors(&[
            &catalogue::SESSION_NOT_FOUND,
            &catalogue::INSUFFICIENT_CREDITS,
            &catalogue::BUDGET_EXCEEDED,
            &catalogue::REPLY_IN_PROGRESS,
            &catalogue::TOO_MANY_HOLDS,
            &catalogue::UPSTREAM,
            &catalogue::PROVIDER_NOT_CONFIGURED,
        ])
}

/// The limit is in bytes, unlike that of other texts.
fn content() -> impl Parse<Output = String> {
    parser(
        || json!({"type": "string", "minLength": 1, "maxLength": CONTENT_BYTES_MAX}),
        |value| {
            let text = parse::text(1, CONTENT_BYTES_MAX).parse(value)?;
            if text.len() > CONTENT_BYTES_MAX {
                let msg = format!("String should have at most {CONTENT_BYTES_MAX} bytes");
                return Err(Problem::new("string_too_long", msg));
            }
            Ok(text)
        },
    )
}

/// The fingerprint of version 1, which knew nothing of this route.
fn as_version_1(input: &SendMessage, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked.maybe(Some(input.content.as_str()))
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<SendMessage>().await?;
    call.known()?;
    let replies = replies_of(&call)?.clone();
    let (user_id, check) = call.user_unchecked()?;
    let session_id = own_session(&call, &user_id).await?.session_id;
    let (input, key) =
        idempotency::key_at(&call, Some(("session_id", session_id)), input, as_version_1).await?;
    let is_streamed = input.stream.unwrap_or(false);
    let ask = Ask {
        user_id: user_id.clone(),
        check,
        caller: call.principal()?.class_for(&user_id),
        session_id,
        content: input.content,
        is_streamed,
        key,
    };
    call.allow(COMPLETION_MAX);
    let asked = replies.ask(&ask).await.map_err(ApiError::answered)?;
    let asked = asked.map_err(|refusal| match &refusal {
        ReplyRefusal::Caller(rejected) => rejected_caller(*rejected, &user_id),
        ReplyRefusal::Ledger { refusal, at, replay } => {
            Moved::count_refused_reply(refusal, *replay);
            ApiError::from_failure(refusal).at(*at).with_replay_header(*replay == Replay::ByKey)
        }
        other => other.failure().map_or_else(ApiError::unavailable, ApiError::from_failure),
    })?;
    match asked {
        Asked::Begun(reader) if is_streamed => begun(&call, reader).await,
        Asked::Begun(reader) => answered(ended(reader).await?, session_id),
        Asked::Repeat(reply) if is_streamed => {
            let reader = replies.read(reply.name(), 0);
            Ok(events::reply(&call, reader, *reply, Start::FIRST).with_replay_header(true))
        }
        Asked::Repeat(reply) => Ok(answered(Some(*reply), session_id)?.with_replay_header(true)),
    }
}

/// The events of a reply, from the first byte of the upstream on; what fails before it is an ordinary error.
async fn begun(call: &Call, mut reader: ReplyReader) -> Result<Reply, ApiError> {
    let session_id = reader.name().session_id;
    reader.begun().await;
    let stored = reader.stored().await.map_err(ApiError::answered)?;
    match stored {
        Some(reply) if reply.message.status == MessageStatus::Failed => answered(Some(reply), session_id),
        Some(reply) => Ok(events::reply(call, reader, reply, Start::FIRST)),
        None => answered(None, session_id),
    }
}

async fn ended(mut reader: ReplyReader) -> Result<Option<StoredReply>, ApiError> {
    loop {
        match reader.next().await.map_err(ApiError::answered)? {
            ReplyEvent::Text { .. } => {}
            ReplyEvent::Ended(reply) => return Ok(Some(*reply)),
            ReplyEvent::Gone => return Ok(None),
        }
    }
}

/// The answer to a reply that has ended; `None` if its session was deleted meanwhile.
fn answered(reply: Option<StoredReply>, session_id: Uuid) -> Result<Reply, ApiError> {
    match reply {
        None => Err(ApiError::new(&catalogue::SESSION_NOT_FOUND)
            .detail("session_id", Detail::Text(session_id.to_string()))),
        Some(reply) if reply.message.status == MessageStatus::Failed => {
            Err(ApiError::new(&catalogue::UPSTREAM))
        }
        Some(reply) => Reply::json(&ReplyBody::from(reply)),
    }
}

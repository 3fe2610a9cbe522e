//! `POST /api/v1/sessions/{session_id}/messages`: adds a message, by query or JSON (HTTP contract 5).

use flows::{
    Replay,
    session_keys::{self, Keyed},
};
use kernel::{FreeForm, IdempotencyKey, Scope, Usd, fingerprint::v1};
use sessions::{
    CONTENT_BYTES_MAX, ImportanceScore, MESSAGE_TYPE_CHARS_MAX, Message, MessageStatus, NewMessage, Role,
};

use crate::http::{
    fault::Problem,
    fields::{
        Value,
        parser::{Parse, parser},
    },
    idempotency,
    prelude::*,
    routes::messages::body::MessageBody,
};

pub(super) const ROLES: &[(&str, Role)] =
    &[("user", Role::User), ("assistant", Role::Assistant), ("system", Role::System), ("tool", Role::Tool)];

input! {
    /// A message to be added.
    pub keyed struct AddMessage {
        /// Speaker of the message.
        role: Role = required(Either, parse::one_of(ROLES)), example("user"), hashed(role.as_str().to_owned());
        /// The text, at most 1 MiB; empty or null, which is stored as empty, only with tool calls.
        content: Content = required(Either, content()), example("Hello"), hashed(content.hashed());
        /// Tool calls; JSON body only.
        tool_calls: Option<FreeForm> = optional(Body, parse::list()), check(|fields| {
            if tool_calls.is_none() {
                match &content {
                    Some(Content::Null) => fields.fault_of("content", parse::not_a_string()),
                    Some(Content::Text(text)) if text.is_empty() => {
                        let problem = Problem::new("string_too_short", "String should have at least 1 character");
                        fields.fault_of("content", problem);
                    }
                    _ => {}
                }
            }
        });
        /// Kind of message.
        message_type: Option<String> =
            optional(Either, parse::text(1, MESSAGE_TYPE_CHARS_MAX)), default("chat");
        /// Tokens of the message.
        tokens_used: Option<i64> = optional(Either, parse::tokens());
        /// Cost of the message in US dollars.
        cost_usd: Option<Usd> = optional(Either, parse::usd_to_note());
        /// Tool call this message answers; JSON body only, like what follows.
        tool_call_id: Option<String> = optional(Body, parse::text(0, 255));
        /// Anything to attach.
        message_metadata: Option<FreeForm> = optional(Body, parse::object());
        /// True if a summary may include it.
        is_summary_candidate: Option<bool> = optional(Body, parse::boolean()), default(true);
        /// Importance of the message.
        importance_score: Option<f64> = optional(Body, parse::share()), default(0.5), hashed(importance_score.map(|score| score.to_string()));
    }
}

pub fn doc() -> Doc {
    Doc::new("sessions", "Add a message")
        .idempotent()
        .description(
            "The session's counters move in the same commit. The documented fields may be given in the query instead \
             of the body.",
        )
        .optional_body::<AddMessage>(json!({
            "role": "user", "content": "Hello", "message_type": "chat", "tokens_used": 5, "cost_usd": 0.001,
        }))
        .reply_envelope::<MessageBody>("Message added to session", super::body::message_example())
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

/// The content as it was given. Clients that call tools send null for none.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// None.
    Null,
    /// A text.
    Text(String),
}

impl Content {
    /// The word of it in fingerprints; none is another one than an empty text.
    fn hashed(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Text(text) => Some(text.clone()),
        }
    }
}

/// The limit is in bytes, unlike that of other texts.
fn content() -> impl Parse<Output = Content> {
    parser(
        || json!({"type": ["string", "null"], "maxLength": CONTENT_BYTES_MAX}),
        |value| {
            if matches!(value, Value::Json("null")) {
                return Ok(Content::Null);
            }
            let text = parse::text(0, CONTENT_BYTES_MAX).parse(value)?;
            if text.len() > CONTENT_BYTES_MAX {
                let msg = format!("String should have at most {CONTENT_BYTES_MAX} bytes");
                return Err(Problem::new("string_too_long", msg));
            }
            Ok(Content::Text(text))
        },
    )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input = call.input::<AddMessage>().await?;
    call.known()?;
    let session_id = call.session_id()?;
    let (input, key) =
        idempotency::key_at(&call, Some(("session_id", session_id)), input, as_version_1).await?;
    let score = input
        .importance_score
        .map_or_else(ImportanceScore::default, |score| ImportanceScore::try_from(score).unwrap_or_default());
    let role = input.role;
    let new = NewMessage {
        scope: call.scope()?,
        session_id,
        message_id: call.app.ids.uuid(),
        role,
        content: match input.content {
            Content::Null => String::new(),
            Content::Text(text) => text,
        },
        message_type: input.message_type.unwrap_or_else(|| "chat".to_owned()),
        tokens_used: input.tokens_used.unwrap_or(0),
        cost_usd: input.cost_usd.unwrap_or(Usd::ZERO),
        tool_calls: input.tool_calls,
        tool_call_id: input.tool_call_id,
        message_metadata: input.message_metadata.unwrap_or_default(),
        is_summary_candidate: input.is_summary_candidate.unwrap_or(true),
        importance_score: score,
        status: MessageStatus::Completed,
    };
    let (message, is_repeat) = added(&call, new, key).await?;
    if !is_repeat {
        metrics::counter!("messages_total", "role" => role.as_str()).increment(1);
    }
    let text = Text::new("Message added to session", "消息已添加到会话");
    Ok(call.envelope_at(message.created_at, &text, MessageBody::from(message))?.with_replay_header(is_repeat))
}

/// Adds a message, or finds the one that the same request added under the key; then the answer is true.
async fn added(
    call: &Call,
    new: NewMessage,
    key: Option<IdempotencyKey>,
) -> Result<(Message, bool), ApiError> {
    let Some(key) = key else {
        let added = call.app.writes.message(new).await.map_err(ApiError::answered)?;
        return Ok((added.map_err(|refusal| ApiError::from_failure(&refusal))?, false));
    };
    let (pool, clock) = (&call.app.pool, &*call.app.clock);
    let user_id = match &new.scope {
        // A repeat is answered also if the session is gone.
        Scope::Own(user_id) => user_id.clone(),
        Scope::Any => {
            let find =
                async |conn: &mut _| sessions::find_in_scope(conn, clock, new.session_id, &new.scope).await;
            call.look_up(find).await?.map_err(|refusal| ApiError::from_failure(&refusal))?.user_id
        }
    };
    let caller = call.principal()?.class_for(&user_id);
    let keyed = Keyed { user_id, key, caller };
    let added = session_keys::add_message(pool, clock, &new, &keyed).await.map_err(ApiError::answered)?;
    let (message, replay) = added.map_err(|refusal| ApiError::from_failure(refusal.failure()))?;
    Ok((message, replay == Replay::ByKey))
}

/// The fingerprint of version 1, which knew no keys of messages.
fn as_version_1(_input: &AddMessage, asked: v1::Fingerprint) -> v1::Fingerprint {
    asked
}

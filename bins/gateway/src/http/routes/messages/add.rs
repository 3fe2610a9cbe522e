//! `POST /api/v1/sessions/{session_id}/messages`: adds a message, by query or JSON (HTTP contract 5).

use actix_web::http::Method;
use kernel::{FreeForm, Usd};
use serde_json::json;
use sessions::{CONTENT_BYTES_MAX, ImportanceScore, MESSAGE_TYPE_CHARS_MAX, NewMessage, Role};
use utoipa::ToSchema;

use crate::http::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fault::Problem,
    fields::{Fields, Source, Value, parse},
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
    wire::MessageBody,
};

pub(super) const ROLES: &[(&str, Role)] = &[
    ("user", Role::User),
    ("assistant", Role::Assistant),
    ("system", Role::System),
    ("tool", Role::Tool),
];

/// A message to be added.
#[derive(Debug, ToSchema)]
pub struct AddMessage {
    /// user, assistant, system or tool.
    #[schema(value_type = String, example = "user")]
    pub role: Role,
    /// The text, at most 1 MiB; empty or null, which is stored as empty, only with tool calls.
    #[schema(value_type = Option<String>, required = true, example = "Hello")]
    pub content: String,
    /// Kind of message; `chat` if absent.
    pub message_type: Option<String>,
    /// Tokens of the message.
    pub tokens_used: Option<i64>,
    /// Cost of the message in US dollars.
    #[schema(value_type = Option<f64>)]
    pub cost_usd: Option<Usd>,
    /// Tool calls; JSON body only, like what follows.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tool_calls: Option<FreeForm>,
    /// Tool call this message answers.
    pub tool_call_id: Option<String>,
    /// Anything to attach.
    #[schema(value_type = Option<Object>)]
    pub message_metadata: Option<FreeForm>,
    /// Whether a summary may include it; true if absent.
    pub is_summary_candidate: Option<bool>,
    /// How important it is, 0 to 1; 0.5 if absent.
    #[schema(minimum = 0, maximum = 1)]
    pub importance_score: Option<f64>,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::POST,
        path: "/api/v1/sessions/{session_id}/messages",
        access: Access::OwnThings,
        body: BodyRule::Json,
        origin: Origin::Documented,
        operation: "add_message",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    let text = || json!({"type": "string"});
    let none = || serde_json::Value::Null;
    let roles: Vec<_> = ROLES.iter().map(|(name, _)| *name).collect();
    Doc::new("sessions", "Add a message")
        .description(
            "The session's counters move in the same commit. The documented fields may be given in the query instead \
             of the body.",
        )
        .query("role", "Who speaks.", json!({"type": "string", "enum": roles}), none())
        .query("content", "The text.", text(), none())
        .query("message_type", "Kind of message.", text(), none())
        .query("tokens_used", "Tokens of the message.", json!({"type": "integer", "minimum": 0}), none())
        .query("cost_usd", "Cost of the message in US dollars.", json!({"type": "number", "minimum": 0}), none())
        .optional_body::<AddMessage>(json!({
            "role": "user", "content": "Hello", "message_type": "chat", "tokens_used": 5, "cost_usd": 0.001,
        }))
        .reply_envelope::<MessageBody>("Message added to session", super::message_example())
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

impl AddMessage {
    fn read(fields: &mut Fields) -> Option<Self> {
        let role = fields.required(Source::Either, "role", parse::one_of(ROLES));
        let content = fields.required(Source::Either, "content", content);
        let tool_calls = fields.optional(Source::Body, "tool_calls", parse::list);
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
        Some(Self {
            message_type: fields.optional(
                Source::Either,
                "message_type",
                parse::text(1, MESSAGE_TYPE_CHARS_MAX),
            ),
            tokens_used: fields.optional(Source::Either, "tokens_used", parse::tokens),
            cost_usd: fields.optional(Source::Either, "cost_usd", parse::usd_to_note),
            tool_call_id: fields.optional(Source::Body, "tool_call_id", parse::text(0, 255)),
            message_metadata: fields.optional(Source::Body, "message_metadata", parse::object),
            is_summary_candidate: fields.optional(Source::Body, "is_summary_candidate", parse::boolean),
            importance_score: fields.optional(Source::Body, "importance_score", parse::share),
            tool_calls,
            role: role?,
            content: match content? {
                Content::Null => String::new(),
                Content::Text(text) => text,
            },
        })
    }
}

/// The content as it was given. Clients that call tools send null for none.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Null,
    Text(String),
}

/// The limit is in bytes, unlike that of other texts.
fn content(value: Value<'_>) -> Result<Content, Problem> {
    if matches!(value, Value::Json("null")) {
        return Ok(Content::Null);
    }
    let text = parse::text(0, CONTENT_BYTES_MAX)(value)?;
    if text.len() > CONTENT_BYTES_MAX {
        let msg = format!("String should have at most {CONTENT_BYTES_MAX} bytes");
        return Err(Problem::new("string_too_long", msg));
    }
    Ok(Content::Text(text))
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let wish = call.input(AddMessage::read).await?;
    call.known()?;
    let score = wish
        .importance_score
        .map_or_else(ImportanceScore::default, |score| {
            ImportanceScore::try_from(score).unwrap_or_default()
        });
    let role = wish.role;
    let new = NewMessage {
        scope: call.scope()?,
        session_id: call.session_id()?,
        message_id: call.app.ids.uuid(),
        role,
        content: wish.content,
        message_type: wish.message_type.unwrap_or_else(|| "chat".to_owned()),
        tokens_used: wish.tokens_used.unwrap_or(0),
        cost_usd: wish.cost_usd.unwrap_or(Usd::ZERO),
        tool_calls: wish.tool_calls,
        tool_call_id: wish.tool_call_id,
        message_metadata: wish.message_metadata.unwrap_or_default(),
        is_summary_candidate: wish.is_summary_candidate.unwrap_or(true),
        importance_score: score,
    };
    let added = call.app.writes.message(new).await?;
    let message = added.map_err(|refusal| ApiError::from_failure(&refusal))?;
    metrics::counter!("messages_total", "role" => role.as_str()).increment(1);
    call.envelope(
        &Text::new("Message added to session", "消息已添加到会话"),
        MessageBody::from(message),
    )
}

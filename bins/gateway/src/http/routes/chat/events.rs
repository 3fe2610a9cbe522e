//! A reply as server-sent events (HTTP contract 9.1).
//!
//! The id of an event is its place in the text: `message.created` has 1, text up to byte n has n + 1, the last two have 2 and 3 more
//! than the length of the whole text. So any process goes on behind any id, with nothing but the stored text.

use std::{sync::Arc, time::Duration};

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use bytes::Bytes;
use flows::replies::{ReplyEvent, ReplyReader};
use futures_util::{Stream, stream};
use kernel::Detail;
use pg::pool::chain;
use serde_json::json;
use sessions::{MessageStatus, Reply as StoredReply};
use tokio::time::timeout;
use web::{ErrorBody, reply::BrokenOff};

use super::body::ReplyBody;
use crate::{
    app::App,
    http::{catalogue, prelude::*},
};

/// Pause after which a comment shows that the connection lives.
const PING_AFTER: Duration = Duration::from_secs(15);

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start(u64);

impl Start {
    /// In front of the first event.
    pub const FIRST: Self = Self(0);

    /// Behind the event with this id.
    #[must_use]
    pub fn behind(id: u64) -> Self {
        Self(id)
    }

    /// Bytes of the text that were read.
    #[must_use]
    pub fn offset(self) -> usize {
        usize::try_from(self.0.saturating_sub(1)).unwrap_or(usize::MAX).min(sessions::CONTENT_BYTES_MAX)
    }
}

/// The events of a reply that are still to be sent.
struct Source {
    app: Arc<App>,
    reader: ReplyReader,
    errors: ErrorBody,
    start: u64,
    /// Bytes of the text up to the last piece that was sent.
    sent: usize,
    next: Next,
}

/// The next event.
enum Next {
    /// `message.created`, unless it was read.
    Created(Box<StoredReply>),
    Text,
    Nothing,
}

/// Answers with the events of a reply from a place on. `stored` is the reply as it was stored at some instant.
#[must_use]
pub fn reply(call: &Call, reader: ReplyReader, stored: StoredReply, start: Start) -> Reply {
    let source = Source {
        app: Arc::clone(&call.app),
        reader,
        errors: call.error_body(),
        start: start.0,
        sent: 0,
        next: Next::Created(Box::new(stored)),
    };
    Reply::stream("text/event-stream", events(source))
        .header(CACHE_CONTROL, "no-store")
        .header(HeaderName::from_static("x-accel-buffering"), "no")
}

fn events(source: Source) -> impl Stream<Item = Result<Bytes, BrokenOff>> {
    stream::unfold(source, |mut source| async move {
        let sent = source.next().await?;
        Some((sent, source))
    })
}

impl Source {
    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        match std::mem::replace(&mut self.next, Next::Text) {
            Next::Created(reply) if self.start == 0 => {
                let body = json!({"id": reply.message.id, "user_message_id": reply.question_number});
                Some(Ok(event(1, "message.created", &body.to_string()).into()))
            }
            Next::Created(_) | Next::Text => Some(self.text().await),
            Next::Nothing => None,
        }
    }

    async fn text(&mut self) -> Result<Bytes, BrokenOff> {
        let news = match timeout(PING_AFTER, self.reader.next()).await {
            Err(_) => return Ok(Bytes::from_static(b": ping\n\n")),
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "a reply cannot be read");
                return Err(BrokenOff);
            }
            Ok(Ok(news)) => news,
        };
        let text = match news {
            ReplyEvent::Text { piece, end } => {
                self.sent = end;
                return Ok(event(id(end, 1), "message.delta", &json!({"content": piece}).to_string()).into());
            }
            ReplyEvent::Ended(reply) => self.ended(*reply),
            ReplyEvent::Gone => {
                let session_id = Detail::Text(self.reader.name().session_id.to_string());
                let error = ApiError::new(&catalogue::SESSION_NOT_FOUND).detail("session_id", session_id);
                self.last(id(self.reader.offset(), 1), &self.failed(&error))
            }
        };
        self.next = Next::Nothing;
        Ok(text.into())
    }

    /// The last events, as far as they were not read.
    fn ended(&self, reply: StoredReply) -> String {
        // What was sent may be more than what is stored: of a reply whose text was given up, or whose process was killed.
        let length = reply.message.content.len().max(self.sent);
        let has_failed = reply.error_code.is_some() && reply.message.status != MessageStatus::Cancelled;
        let last = if has_failed {
            self.failed(&ApiError::new(&catalogue::UPSTREAM))
        } else {
            let body = serde_json::to_string(&ReplyBody::from(reply)).unwrap_or_default();
            ("message.completed", body)
        };
        self.last(id(length, 1), &last)
    }

    /// The terminal event and `done`, after the event with this id.
    fn last(&self, behind: u64, (name, body): &(&'static str, String)) -> String {
        let (terminal, done) = (behind.saturating_add(1), behind.saturating_add(2));
        let mut text = String::new();
        // A reader who is beyond them read what was not stored when its process died.
        if self.start < terminal || self.start > done {
            text.push_str(&event(terminal, name, body));
        }
        if self.start != done {
            text.push_str(&event(done, "done", "{}"));
        }
        text
    }

    fn failed(&self, error: &ApiError) -> (&'static str, String) {
        ("message.failed", self.errors.of(error, self.app.clock.now()))
    }
}

/// The id of an event behind so many bytes of text.
fn id(bytes: usize, further: u64) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(further)
}

fn event(id: u64, name: &str, data: &str) -> String {
    format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
}

//! Answers, streamed or whole, read into parts.

use std::collections::VecDeque;

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};

use crate::{Finish, FinishReason, Part, TokenUsage, UpstreamError};

use super::{
    body::UpstreamBody,
    tool_calls::{CallPiece, ToolCalls},
};

/// The data of the last event.
const DONE: &str = "[DONE]";

/// The events of a stream, and the parts that were read from them.
struct Events<S> {
    events: S,
    reply: Reply,
    ready: VecDeque<Part>,
    is_over: bool,
}

/// Everything but the text, which is passed on.
#[derive(Default)]
struct Reply {
    has_begun: bool,
    calls: ToolCalls,
    reason: Option<FinishReason>,
    usage: Option<TokenUsage>,
}

/// An event of a stream, or a whole answer.
#[derive(Deserialize)]
struct Chunk {
    error: Option<IgnoredAny>,
    object: Option<String>,
    choices: Option<Vec<Choice>>,
    /// Read leniently: a reply with a strange count is still a reply.
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    index: Option<u32>,
    delta: Option<Message>,
    message: Option<Message>,
    finish_reason: Option<String>,
}

/// A piece of a message in a stream, or a whole one.
#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    tool_calls: Option<Vec<CallPiece>>,
}

/// The parts of an answer, by its media type: some servers stream to those who did not ask for it, or do not stream at all.
pub(super) async fn parts(
    body: UpstreamBody,
) -> Result<BoxStream<'static, Result<Part, UpstreamError>>, UpstreamError> {
    if body.is("application/json") {
        let parts = whole(&body.whole().await?)?;
        return Ok(stream::iter(parts.into_iter().map(Ok)).boxed());
    }
    if body.is("text/html") {
        return Err(UpstreamError::Nonsense);
    }
    let bytes = body.events().await?.ok_or(UpstreamError::Nonsense)?;
    let events = SseByteStream::new(bytes.boxed()).map_err(unreadable);
    let ready = VecDeque::from([Part::Started]);
    let events = Events { events, reply: Reply::default(), ready, is_over: false };
    Ok(stream::try_unfold(events, Events::next).boxed())
}

fn whole(json: &[u8]) -> Result<Vec<Part>, UpstreamError> {
    let chunk: Chunk = serde_json::from_slice(json).map_err(|_| UpstreamError::Nonsense)?;
    let mut reply = Reply::default();
    let text = reply.take(chunk)?;
    if !reply.has_begun {
        return Err(UpstreamError::Nonsense);
    }
    let mut parts = vec![Part::Started];
    parts.extend(text.map(Part::Text));
    parts.extend(reply.end()?);
    Ok(parts)
}

impl<S: Stream<Item = Result<Sse, UpstreamError>> + Unpin> Events<S> {
    async fn next(mut self) -> Result<Option<(Part, Self)>, UpstreamError> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Ok(Some((part, self)));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.events.try_next().await {
                Ok(Some(event)) => self.take(event.data.as_deref().unwrap_or_default().trim())?,
                // Some servers close instead of saying that they are done. If the connection is lost after the reason, the text is
                // whole, and only the usage may be missing.
                Ok(None) | Err(UpstreamError::Broken | UpstreamError::TimedOut)
                    if self.reply.reason.is_some() =>
                {
                    self.finish()?;
                }
                Ok(None) if self.reply.has_begun => return Err(UpstreamError::Broken),
                Ok(None) => return Err(UpstreamError::Nonsense),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, data: &str) -> Result<(), UpstreamError> {
        match data {
            "" => {}
            DONE => self.finish()?,
            json => {
                let chunk = serde_json::from_str(json).map_err(|_| UpstreamError::Nonsense)?;
                self.ready.extend(self.reply.take(chunk)?.map(Part::Text));
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), UpstreamError> {
        let reply = std::mem::take(&mut self.reply);
        if !reply.has_begun {
            return Err(UpstreamError::Nonsense);
        }
        self.ready.extend(reply.end()?);
        self.is_over = true;
        Ok(())
    }
}

impl Reply {
    /// Reads a chunk; returns its text, if there is any.
    fn take(&mut self, chunk: Chunk) -> Result<Option<String>, UpstreamError> {
        if chunk.error.is_some() || chunk.object.as_deref() == Some("error") {
            return Err(UpstreamError::Reported);
        }
        if let Some(usage) = chunk.usage.as_ref().and_then(token_usage) {
            self.usage = Some(usage);
        }
        let choices = chunk.choices.unwrap_or_default();
        let first = choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        let Some(choice) = first else { return Ok(None) };
        self.has_begun = true;
        // Some servers write an empty one in every chunk.
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.reason = Some(finish_reason(&reason));
        }
        let Some(message) = choice.delta.or(choice.message) else { return Ok(None) };
        for piece in message.tool_calls.unwrap_or_default() {
            self.calls.add(piece)?;
        }
        Ok(message.content.filter(|text| !text.is_empty()).map(storable))
    }

    /// The last parts.
    fn end(self) -> Result<impl Iterator<Item = Part>, UpstreamError> {
        let finish = Finish { reason: self.reason, usage: self.usage };
        let calls = self.calls.assembled()?;
        Ok(calls.map(Part::ToolCalls).into_iter().chain([Part::Finished(finish)]))
    }
}

/// PostgreSQL stores every character but one.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn finish_reason(text: &str) -> FinishReason {
    match text {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// A count that is absent, negative or out of range makes the usage unknown.
fn token_usage(usage: &Value) -> Option<TokenUsage> {
    let count = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
    let prompt_tokens = count(usage.get("prompt_tokens")?)?;
    let cached = usage.pointer("/prompt_tokens_details/cached_tokens").and_then(count).unwrap_or(0);
    Some(TokenUsage {
        prompt_tokens,
        cached_prompt_tokens: cached.min(prompt_tokens),
        completion_tokens: count(usage.get("completion_tokens")?)?,
    })
}

fn unreadable(error: sse_stream::Error) -> UpstreamError {
    match error {
        sse_stream::Error::Body(source) => {
            source.downcast_ref::<UpstreamError>().copied().unwrap_or(UpstreamError::Broken)
        }
        _ => UpstreamError::Nonsense,
    }
}

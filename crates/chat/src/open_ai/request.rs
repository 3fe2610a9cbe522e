//! Sending of requests.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use kernel::FreeForm;
use reqwest::{Client, Response, StatusCode, header};
use serde::Serialize;
use tokio::time::timeout;
use url::Url;

use crate::{CompletionRequest, PromptMessage, PromptRole, Transfer, UpstreamError};

use super::body::{Bounds, UpstreamBody};

/// Most bytes that are read of the answer to a refused request.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// The place that completes conversations.
pub(super) struct Endpoint {
    http: Client,
    url: Url,
    authorization: Option<header::HeaderValue>,
    pause_max: Duration,
    /// The upstream refused `max_tokens` and accepted `max_completion_tokens`.
    is_renamed: AtomicBool,
}

/// The name of the limit of a reply: OpenAI's newer models refuse the older name, and other servers do not know the newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LimitName {
    MaxTokens,
    MaxCompletionTokens,
}

#[derive(Serialize)]
struct RequestBody<'a> {
    model: &'a str,
    messages: Vec<MessageBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct MessageBody<'a> {
    role: &'static str,
    /// `null` in a message of calls only: some servers refuse an empty text.
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<&'a FreeForm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

impl Endpoint {
    pub(super) fn new(
        http: Client,
        url: Url,
        authorization: Option<header::HeaderValue>,
        pause_max: Duration,
    ) -> Self {
        Self { http, url, authorization, pause_max, is_renamed: AtomicBool::new(false) }
    }

    /// The answer to a request, which has a status of success.
    pub(super) async fn send(&self, request: &CompletionRequest) -> Result<UpstreamBody, UpstreamError> {
        let bounds = Bounds::of(request);
        let name = LimitName::known(&self.is_renamed);
        let response = self.post(request, name).await?;
        if response.status() != StatusCode::BAD_REQUEST {
            return self.accepted(response, bounds);
        }
        if !self.refuses(response, name).await {
            return Err(UpstreamError::Status(StatusCode::BAD_REQUEST.as_u16()));
        }
        let other = name.other();
        let body = self.accepted(self.post(request, other).await?, bounds)?;
        other.remember(&self.is_renamed);
        Ok(body)
    }

    async fn post(&self, request: &CompletionRequest, name: LimitName) -> Result<Response, UpstreamError> {
        let mut post = self.http.post(self.url.clone()).json(&RequestBody::new(request, name));
        if let Some(authorization) = &self.authorization {
            post = post.header(header::AUTHORIZATION, authorization.clone());
        }
        let answer = timeout(self.pause_max, post.send()).await.map_err(|_| UpstreamError::TimedOut)?;
        answer.map_err(|error| match error {
            error if error.is_timeout() => UpstreamError::TimedOut,
            error if error.is_connect() => UpstreamError::Unreachable,
            _ => UpstreamError::Broken,
        })
    }

    fn accepted(&self, response: Response, bounds: Bounds) -> Result<UpstreamBody, UpstreamError> {
        if response.status().is_success() {
            Ok(UpstreamBody::new(response, self.pause_max, bounds))
        } else {
            Err(UpstreamError::Status(response.status().as_u16()))
        }
    }

    /// Returns true if a refusal (400) is about the name of the limit.
    async fn refuses(&self, response: Response, name: LimitName) -> bool {
        let bounds = Bounds { whole_max: REFUSAL_BYTES_MAX, stream_max: REFUSAL_BYTES_MAX };
        let text = UpstreamBody::new(response, self.pause_max, bounds).whole().await;
        text.is_ok_and(|text| String::from_utf8_lossy(&text).contains(name.as_str()))
    }
}

impl LimitName {
    fn known(is_renamed: &AtomicBool) -> Self {
        if is_renamed.load(Ordering::Relaxed) { Self::MaxCompletionTokens } else { Self::MaxTokens }
    }

    fn remember(self, is_renamed: &AtomicBool) {
        is_renamed.store(self == Self::MaxCompletionTokens, Ordering::Relaxed);
        tracing::info!(name = self.as_str(), "the chat upstream names the limit of a reply differently");
    }

    const fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

impl<'a> RequestBody<'a> {
    fn new(request: &'a CompletionRequest, name: LimitName) -> Self {
        let limit = |of: LimitName| (of == name).then_some(request.max_tokens);
        let is_streamed = request.transfer == Transfer::Streamed;
        Self {
            model: &request.model,
            messages: request.messages.iter().map(MessageBody::new).collect(),
            max_tokens: limit(LimitName::MaxTokens),
            max_completion_tokens: limit(LimitName::MaxCompletionTokens),
            stream: is_streamed,
            stream_options: is_streamed.then_some(StreamOptions { include_usage: true }),
        }
    }
}

impl<'a> MessageBody<'a> {
    fn new(message: &'a PromptMessage) -> Self {
        let role = match message.role {
            PromptRole::System => "system",
            PromptRole::User => "user",
            PromptRole::Assistant => "assistant",
            PromptRole::Tool => "tool",
        };
        let is_call_only = message.content.is_empty() && message.tool_calls.is_some();
        Self {
            role,
            content: (!is_call_only).then_some(message.content.as_str()),
            tool_calls: message.tool_calls.as_ref(),
            tool_call_id: message.tool_call_id.as_deref(),
        }
    }
}

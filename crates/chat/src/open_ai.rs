//! Client of servers with OpenAI's `POST {base}/chat/completions`.

mod answer;
mod body;
mod request;
mod tool_calls;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use reqwest::{Client, header::HeaderValue, redirect::Policy, retry};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{COMPLETION_MAX, ChatModel, CompletionRequest, Part, UpstreamError};

use self::request::Endpoint;

pub use self::body::EVENT_BYTES_MAX;

/// Time after which an unused connection is closed: earlier than the 5 s of Node and uvicorn, so that none is used in the moment in
/// which the upstream closes it.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// An upstream (`CHAT_BASE_URL`, `CHAT_API_KEY`, `CHAT_TIMEOUT_SECONDS`).
#[derive(Debug, Clone)]
pub struct OpenAiSettings {
    /// Address to which `/chat/completions` is appended, such as `https://api.openai.com/v1`.
    pub base_url: Url,
    /// The bearer token, if one is needed.
    pub api_key: Option<SecretString>,
    /// Longest pause, before the head of the answer or between two bytes of it.
    pub timeout: Duration,
}

/// A client of one upstream.
pub struct OpenAi {
    endpoint: Arc<Endpoint>,
}

/// Settings of which no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    /// Nothing can be appended to the address.
    #[error("paths cannot be appended to the address of the chat upstream")]
    BaseUrl,
    /// The key cannot be an HTTP header.
    #[error("the key of the chat upstream has characters that no HTTP header may have")]
    ApiKey,
    /// The TLS library.
    #[error("the client of the chat upstream cannot be made")]
    Client(#[source] reqwest::Error),
}

impl OpenAi {
    /// A client. It connects when it is first used.
    ///
    /// # Errors
    /// [`OpenAiError`].
    pub fn new(settings: OpenAiSettings) -> Result<Self, OpenAiError> {
        let mut url = settings.base_url;
        url.path_segments_mut()
            .map_err(|()| OpenAiError::BaseUrl)?
            .pop_if_empty()
            .extend(["chat", "completions"]);
        let authorization = settings.api_key.as_ref().map(authorization).transpose()?;
        let http = Client::builder()
            .redirect(Policy::none())
            .retry(retry::never())
            .no_proxy()
            .timeout(COMPLETION_MAX)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent("user-service")
            .build()
            .map_err(OpenAiError::Client)?;
        Ok(Self { endpoint: Arc::new(Endpoint::new(http, url, authorization, settings.timeout)) })
    }
}

impl ChatModel for OpenAi {
    fn complete(&self, request: CompletionRequest) -> BoxStream<'static, Result<Part, UpstreamError>> {
        let endpoint = Arc::clone(&self.endpoint);
        stream::once(async move { answer::parts(endpoint.send(&request).await?).await }).try_flatten().boxed()
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").finish_non_exhaustive()
    }
}

fn authorization(api_key: &SecretString) -> Result<HeaderValue, OpenAiError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", api_key.expose_secret()))
        .map_err(|_| OpenAiError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

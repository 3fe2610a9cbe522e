//! Login with WeChat: what a login code stands for (`code2session`, HTTP contract 9).
//!
//! The answer of WeChat also has a session key. It is not read, and forgotten with the bytes of the answer.

use std::{fmt, time::Duration};

use kernel::{Detail, Failure, Kind, UserId};
use reqwest::{Client, StatusCode, redirect::Policy};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use url::Url;

use crate::outside::{BodyError, is_loopback, read_body};

/// Longest time for one answer of WeChat; there are two attempts.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Time after which WeChat takes further logins of somebody who had too many, in seconds: its limit is by the minute.
const TOO_FREQUENT_SECONDS: i64 = 60;
/// Logins of one user that WeChat takes in a minute, by its documents of the code 45011.
const LOGINS_PER_MINUTE: i64 = 100;

/// A mini program and its secret (`WECHAT_APP_ID`, `WECHAT_APP_SECRET`, `WECHAT_API_BASE`).
#[derive(Debug, Clone)]
pub struct WechatSettings {
    /// Id of the mini program.
    pub app_id: String,
    /// Its secret.
    pub app_secret: SecretString,
    /// Address of the API; https, or http towards this machine.
    pub api_base: Url,
}

/// Asks WeChat for whom a login code was made.
pub struct WechatClient {
    http: Client,
    settings: WechatSettings,
}

/// The ids of a WeChat user: one or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WechatUser {
    /// The id by the `unionid`, which is the same for all programs of one company, where WeChat gives it.
    union_id: Option<UserId>,
    /// The id by the `openid`, which belongs to this program.
    open_id: UserId,
}

/// The reason that a login code stands for nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WechatError {
    /// `WechatCodeInvalidException`: unknown, expired or used (40029, 40163).
    #[error("WeChat does not accept the login code")]
    CodeInvalid,
    /// `RateLimitExceededException`: too many logins of this user (45011).
    #[error("WeChat takes no more logins of this user now")]
    TooFrequent,
    /// `PermissionDeniedException`: WeChat blocks the user (40226).
    #[error("WeChat blocks the user")]
    Blocked,
    /// `ProviderUnavailableException`: WeChat does not answer, or not as it should.
    #[error("WeChat is not available")]
    Unavailable,
}

/// One answer; other members are not read.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errcode: i64,
    openid: Option<String>,
    unionid: Option<String>,
}

/// The end of one attempt.
enum Attempt {
    Answered(Result<WechatUser, WechatError>),
    /// Another one may help.
    Failed(String),
}

impl WechatUser {
    /// The user ids by which they may be known, the preferred one first: `wechat|<unionid>`, `wechat|<openid>`.
    pub fn user_ids(&self) -> impl Iterator<Item = &UserId> {
        self.union_id.iter().chain([&self.open_id])
    }

    /// The id of a user who logs in for the first time.
    #[must_use]
    pub fn new_user_id(&self) -> &UserId {
        self.union_id.as_ref().unwrap_or(&self.open_id)
    }
}

impl Failure for WechatError {
    fn code(&self) -> &'static str {
        match self {
            Self::CodeInvalid => "WechatCodeInvalidException",
            Self::TooFrequent => "RateLimitExceededException",
            Self::Blocked => "PermissionDeniedException",
            Self::Unavailable => "ProviderUnavailableException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::CodeInvalid => Kind::Refused,
            Self::TooFrequent => Kind::TooMany,
            Self::Blocked => Kind::Forbidden,
            Self::Unavailable => Kind::Unavailable,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::TooFrequent => [
                ("limit", LOGINS_PER_MINUTE),
                ("window_seconds", TOO_FREQUENT_SECONDS),
                ("retry_after", TOO_FREQUENT_SECONDS),
            ]
            .map(|(name, number)| (name, Detail::Integer(number)))
            .to_vec(),
            Self::Unavailable => vec![("provider", Detail::Text("wechat".to_owned()))],
            Self::CodeInvalid | Self::Blocked => Vec::new(),
        }
    }
}

impl WechatClient {
    /// A client. It follows no redirect, and takes a proxy for WeChat itself only.
    ///
    /// # Errors
    /// The error of the TLS library.
    pub fn new(settings: WechatSettings) -> Result<Self, reqwest::Error> {
        Self::with_patience(settings, ANSWER_MAX)
    }

    fn with_patience(settings: WechatSettings, answer_max: Duration) -> Result<Self, reqwest::Error> {
        let builder =
            Client::builder().redirect(Policy::none()).timeout(answer_max).user_agent("user-service");
        let is_here = is_loopback(&settings.api_base);
        let builder = if is_here { builder.no_proxy() } else { builder.https_only(true) };
        Ok(Self { http: builder.build()?, settings })
    }

    /// The user for whom WeChat made a login code. A code that an attempt without an answer used up is invalid in the second one.
    ///
    /// # Errors
    /// [`WechatError`].
    pub async fn user_of(&self, code: &SecretString) -> Result<WechatUser, WechatError> {
        let url = self.url(code).ok_or(WechatError::Unavailable)?;
        for _ in 0..2 {
            match self.attempt(url.clone()).await {
                Attempt::Answered(answer) => return answer,
                Attempt::Failed(problem) => tracing::warn!(problem, "WeChat did not answer a login"),
            }
        }
        Err(WechatError::Unavailable)
    }

    /// The URL has the secret in it: it goes into no log and no error.
    fn url(&self, code: &SecretString) -> Option<Url> {
        let mut url = self.settings.api_base.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["sns", "jscode2session"]);
        url.query_pairs_mut()
            .append_pair("appid", &self.settings.app_id)
            .append_pair("secret", self.settings.app_secret.expose_secret())
            .append_pair("js_code", code.expose_secret())
            .append_pair("grant_type", "authorization_code");
        Some(url)
    }

    async fn attempt(&self, url: Url) -> Attempt {
        match self.fetch(url).await {
            Ok(answer) => judge(&answer),
            Err(problem) => Attempt::Failed(problem),
        }
    }

    async fn fetch(&self, url: Url) -> Result<Answer, String> {
        let failed = |error: reqwest::Error| {
            let error = error.without_url();
            if error.is_timeout() { "it took too long".to_owned() } else { error.to_string() }
        };
        let response = self.http.get(url).send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status().as_u16()));
        }
        let body = read_body(response, ANSWER_BYTES_MAX).await.map_err(|error| match error {
            BodyError::Transport(error) => failed(error),
            BodyError::TooLarge => error.to_string(),
        })?;
        let body = Zeroizing::new(body);
        // The text of the error may repeat a part of the answer.
        serde_json::from_slice(&body).map_err(|_| "the answer is not the JSON it should be".to_owned())
    }
}

impl fmt::Debug for WechatClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WechatClient").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn judge(answer: &Answer) -> Attempt {
    let user_id = |id: &String| format!("wechat|{id}").parse::<UserId>().ok().filter(|_| !id.is_empty());
    match answer.errcode {
        0 => match answer.openid.as_ref().and_then(user_id) {
            Some(open_id) => {
                let union_id = answer.unionid.as_ref().and_then(user_id);
                Attempt::Answered(Ok(WechatUser { union_id, open_id }))
            }
            None => Attempt::Failed("the answer has no usable openid".to_owned()),
        },
        40_029 | 40_163 => Attempt::Answered(Err(WechatError::CodeInvalid)),
        45_011 => Attempt::Answered(Err(WechatError::TooFrequent)),
        40_226 => Attempt::Answered(Err(WechatError::Blocked)),
        -1 => Attempt::Failed("the system is busy (-1)".to_owned()),
        errcode => {
            // Such as a wrong secret (40125): another attempt does not help.
            tracing::error!(errcode, "WeChat refuses the logins of this service");
            Attempt::Answered(Err(WechatError::Unavailable))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\nconnection: close\r\n\r\n{\"openid\":\"oA1\"}";

    /// An API that never answers its first connections, and then does. The task ends with the last of so many connections.
    async fn silent_at_first(silent: usize, all: usize) -> (Url, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            for number in 0..all {
                let (mut stream, _) = listener.accept().await.unwrap();
                if number >= silent {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    stream.write_all(ANSWER).await.unwrap();
                }
                open.push(stream);
            }
        });
        (base, task)
    }

    async fn ask(api_base: Url, answer_max: Duration) -> Result<WechatUser, WechatError> {
        let settings = WechatSettings { app_id: "wx1".to_owned(), app_secret: "s".into(), api_base };
        let client = WechatClient::with_patience(settings, answer_max).unwrap();
        client.user_of(&"code".into()).await
    }

    #[tokio::test]
    async fn an_answer_that_takes_too_long_is_waited_for_once_more() {
        let (base, connections) = silent_at_first(2, 2).await;
        assert_eq!(ask(base, Duration::from_millis(50)).await, Err(WechatError::Unavailable));
        connections.await.unwrap();
        let (base, connections) = silent_at_first(1, 2).await;
        let user = ask(base, Duration::from_millis(500)).await.unwrap();
        assert_eq!(user.new_user_id().as_str(), "wechat|oA1");
        connections.await.unwrap();
    }
}

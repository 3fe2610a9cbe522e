//! One checked call of a route: who calls, for whom, with what.

use std::{cell::Cell, net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use actix_web::{HttpRequest, dev::Payload, http::header};
use kernel::{Principal, Scope, UserId};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    bodies::{BodyRule, Share, declared},
    caller::Caller,
    client_address::{client_address, counted},
    error::{ApiError, ErrorBody},
    fields::{Fields, input::Input},
    language::{Language, Text},
    rate_limit::{BodyBytes, Counted},
    reply::Reply,
    request_id::{RequestId, route_of},
    service::Service,
    wire::Timestamp,
};

/// The input of a handler. The credential and the access rule of the route were checked before.
pub struct Call<S: Service> {
    /// The service.
    pub app: Arc<S>,
    /// The request, for headers.
    pub request: HttpRequest,
    /// Language of messages.
    pub language: Language,
    /// `operationId` of the route.
    pub operation: &'static str,
    /// The query of a route that reads no body. Those that read one use [`Call::input`].
    pub fields: Fields,
    /// Time of the call.
    pub now: OffsetDateTime,
    caller: Caller<S::Facts>,
    input: Fields,
    /// Keeps the bytes of the body counted.
    share: Arc<Share>,
    stage: Rc<Cell<Stage>>,
    time_limit: Rc<Cell<Duration>>,
    payload: Option<Payload>,
}

/// The stage that a request has reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was done for it.
    #[default]
    Admission,
    /// Its body is being received; nothing was done for it.
    Receipt,
    /// Something may have been done.
    Work,
}

/// The query and the body of a request.
pub struct Received {
    /// Their fields.
    pub fields: Fields,
    /// The bytes of the body.
    pub share: Arc<Share>,
    /// The body that the route reads.
    pub rule: BodyRule,
    /// The body, if the handler reads it as it comes.
    pub payload: Option<Payload>,
    /// The stage of the request.
    pub stage: Rc<Cell<Stage>>,
    /// The time that the request may take.
    pub time_limit: Rc<Cell<Duration>>,
}

impl<S: Service> Call<S> {
    /// Puts a call together.
    #[must_use]
    pub fn new(
        app: Arc<S>,
        request: HttpRequest,
        language: Language,
        operation: &'static str,
        caller: Caller<S::Facts>,
        received: Received,
    ) -> Self {
        let now = app.clock().now();
        let (fields, input) = match received.rule {
            BodyRule::Ignored | BodyRule::Stream => (received.fields, Fields::default()),
            BodyRule::Json | BodyRule::Batch => (Fields::default(), received.fields),
        };
        Self {
            app,
            request,
            language,
            operation,
            fields,
            now,
            caller,
            input,
            share: received.share,
            stage: received.stage,
            time_limit: received.time_limit,
            payload: received.payload,
        }
    }

    /// The body of a route that reads it as it comes ([`BodyRule::Stream`]). Until [`Call::body_was_read`] the request counts as
    /// being received: a time-out is 408, and nothing may be done for it that lasts.
    pub fn take_body(&mut self) -> Payload {
        self.stage.set(Stage::Receipt);
        self.payload.take().unwrap_or(Payload::None)
    }

    /// Says that the body was read to its end: from now on something may be done for the request.
    pub fn body_was_read(&self) {
        self.stage.set(Stage::Work);
    }

    /// The length of the body as the head of the request declares it.
    #[must_use]
    pub fn declared_length(&self) -> Option<usize> {
        declared(&self.request)
    }

    /// Counts bytes that the handler keeps in memory for a user, until the share is dropped.
    ///
    /// # Errors
    /// 503 when the process holds too many, 429 when those for the user are too many.
    pub fn hold_bytes(&self, user_id: &UserId, bytes: usize) -> Result<Share, ApiError> {
        self.app.traffic().bodies.hold(&Principal::User(user_id.clone()), bytes)
    }

    /// Reads an input from the query and the body, on another thread if the body is large.
    ///
    /// # Errors
    /// Like [`Fields::read`]; 503 while the process ends.
    pub async fn input<T: Input<Context = ()> + Send + 'static>(&mut self) -> Result<T, ApiError> {
        self.input_with(|fields| T::read(fields, &())).await
    }

    /// Like [`Call::input`], with a reader.
    ///
    /// # Errors
    /// Like [`Call::input`].
    pub async fn input_with<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&mut Fields) -> Option<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let mut input = std::mem::take(&mut self.input);
        self.work(move || input.read(read)).await?
    }

    /// Runs work on what was received, on another thread if the body is large. Nothing is done for the request meanwhile.
    ///
    /// # Errors
    /// 503 while the process ends.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let stage = self.stage.replace(Stage::Admission);
        let done = self.app.traffic().bodies.work(&self.share, work).await;
        self.stage.set(stage);
        done
    }

    /// The caller, with what the service found out about them.
    #[must_use]
    pub fn caller(&self) -> &Caller<S::Facts> {
        &self.caller
    }

    /// The authenticated caller.
    ///
    /// # Errors
    /// 401 on a route that needs no credential, where nobody should ask.
    pub fn principal(&self) -> Result<&Principal, ApiError> {
        self.caller.principal.as_ref().ok_or_else(ApiError::not_authenticated)
    }

    /// Lets this request take more time than others: an outside service works for it.
    pub fn allow(&self, time: Duration) {
        self.time_limit.set(self.time_limit.get().max(time));
    }

    /// The body of an error that is part of an answer to this request.
    #[must_use]
    pub fn error_body(&self) -> ErrorBody {
        ErrorBody {
            operation: self.operation,
            request_id: self.request_id(),
            language: self.language,
            detail_language: self.app.detail_language(self.request.path(), self.language),
        }
    }

    /// The id of the request: `X-Request-Id` of its answer.
    #[must_use]
    pub fn request_id(&self) -> String {
        RequestId::from_request(&self.request)
    }

    /// The user acted upon, whether they exist or not.
    #[must_use]
    pub fn target(&self) -> Option<&UserId> {
        self.caller.target.as_ref()
    }

    /// The users whose data the caller may access.
    ///
    /// # Errors
    /// As [`Call::principal`].
    pub fn scope(&self) -> Result<Scope, ApiError> {
        Ok(self.principal()?.scope())
    }

    /// Charges the account that a login names, whether it exists or not (HTTP contract 1.12). Call it before a password or
    /// anything else about the account is checked, with one spelling for one account.
    ///
    /// # Errors
    /// 429 if too many logins named it.
    pub async fn charge_account(&self, account: &str) -> Result<(), ApiError> {
        let address = client_address(&self.request, &self.app.settings().trusted_proxies);
        let limits = &self.app.traffic().rate_limits;
        Ok(limits.take_account(account, address, self.app.clock()).await?)
    }

    /// Charges a request that checks a password, on a route of another class, as logins are: its address, and the account.
    ///
    /// # Errors
    /// 429 if there were too many logins.
    pub async fn charge_login(&self, account: &str) -> Result<(), ApiError> {
        let address = client_address(&self.request, &self.app.settings().trusted_proxies);
        self.app
            .traffic()
            .rate_limits
            .take(Counted::Login(address), 1, BodyBytes::None, self.app.clock())
            .await?;
        self.charge_account(account).await
    }

    /// The network of the client, by which its requests are counted: an address of IPv4, 64 bits of IPv6.
    #[must_use]
    pub fn client_network(&self) -> IpAddr {
        counted(client_address(&self.request, &self.app.settings().trusted_proxies))
    }

    /// The documented envelope (E1 of HTTP contract 1.5).
    ///
    /// # Errors
    /// As [`Reply::json`].
    pub fn envelope(&self, message: &Text, data: impl Serialize) -> Result<Reply, ApiError> {
        self.envelope_at(self.now, message, data)
    }

    /// The documented envelope with the instant of the change, so that a repeat of the request gets the same bytes.
    ///
    /// # Errors
    /// As [`Reply::json`].
    pub fn envelope_at(
        &self,
        at: OffsetDateTime,
        message: &Text,
        data: impl Serialize,
    ) -> Result<Reply, ApiError> {
        Reply::json(&Envelope {
            success: true,
            status: "success",
            message: message.in_language(self.language),
            timestamp: Timestamp(at),
            data,
        })
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &header::HeaderName) -> Option<&str> {
        self.request.headers().get(name).and_then(|value| value.to_str().ok())
    }
}

/// The documented envelope.
#[derive(Debug, Serialize, ToSchema)]
pub struct Envelope<'a, T> {
    /// Always true.
    pub success: bool,
    /// Always `success`.
    pub status: &'static str,
    /// A sentence in the caller's language.
    pub message: &'a str,
    /// Time of the answer.
    pub timestamp: Timestamp,
    /// The data.
    pub data: T,
}

/// A path parameter, decoded; empty if the route of the request has none of this name.
///
/// actix decodes the path except for escapes of `%`, `/` and `+`, so what is left is decoded here, once.
#[must_use]
pub fn path_parameter(request: &HttpRequest, name: &str) -> String {
    let path = request.match_info().as_str();
    let text = route_of(request).and_then(|route| parameter(route, path, name)).unwrap_or_default();
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The text of a parameter in a path that fits `pattern`.
fn parameter<'a>(pattern: &str, path: &'a str, name: &str) -> Option<&'a str> {
    let is_it =
        |segment: &str| segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) == Some(name);
    let place = pattern.split('/').position(is_it)?;
    path.split('/').nth(place)
}

/// The text "Retrieved {n} {things}" in both languages (HTTP contract 1.7).
#[must_use]
pub fn retrieved(count: usize, things: &str, counted: &str) -> Text {
    Text::new(format!("Retrieved {count} {things}"), format!("获取到 {count} {counted}"))
}

#[cfg(test)]
mod tests {
    use actix_web::dev::{Path, ResourceDef};
    use matchit::Router;
    use proptest::prelude::*;

    use super::parameter;

    const PATHS: [&str; 12] = [
        "/",
        "/a",
        "/a/b",
        "/a/b/c",
        "/a/b/{two}/{three}",
        "/a/{one}",
        "/a/{one}/b",
        "/a/{one}/b/c",
        "/a/{one}/b/{two}",
        "/a/{one}/b/{two}/c",
        "/b.c/{one}",
        "/{one}/{two}/a",
    ];

    /// Path and parameters by the router of actix-web: the first fit in the order of the texts.
    fn by_actix(path: &str) -> Option<(&'static str, Vec<(String, String)>)> {
        PATHS.into_iter().find_map(|pattern| {
            let mut found = Path::new(path);
            let fits = ResourceDef::new(pattern).capture_match_info(&mut found);
            let owned = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
            fits.then(|| (pattern, found.iter().map(owned).collect()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn paths_are_found_as_actix_finds_them(
            path in r"(/(a|b|c|b\.c|\{one\}|x\||ü|%2F|\n)?){0,6}|[/abx]{0,4}",
        ) {
            let mut router = Router::new();
            for pattern in PATHS {
                router.insert(pattern, pattern).unwrap();
            }
            let found = router.at(&path).ok().map(|found| {
                let pattern = *found.value;
                let names = ["one", "two", "three"];
                let text = |name: &str| Some((name.to_owned(), parameter(pattern, &path, name)?.to_owned()));
                (pattern, names.into_iter().filter_map(text).collect())
            });
            prop_assert!(PATHS.is_sorted());
            prop_assert_eq!(found, by_actix(&path));
        }
    }
}

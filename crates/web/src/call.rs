//! One checked call of a route: who calls, for whom, with what.

use std::{cell::Cell, rc::Rc, sync::Arc};

use actix_web::{HttpRequest, http::header};
use flows::{Barred, StandingCheck};
use identity::VerifiedToken;
use kernel::{Detail, Principal, Scope, UserId};
use percent_encoding::percent_decode_str;
use pg::{DbError, PgConnection, Tx};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    bodies::Share,
    catalogue,
    error::ApiError,
    fields::{Fields, input::Input},
    language::{Language, Text},
    read_slots::Slot,
    reply::Reply,
    route::BodyRule,
    wire::Timestamp,
};
use crate::app::App;

/// What a handler gets. The credential and the access rule of the route were checked before.
pub struct Call {
    /// The wired service.
    pub app: Arc<App>,
    /// The request, for headers.
    pub request: HttpRequest,
    /// Language of messages.
    pub language: Language,
    /// `operationId` of the route.
    pub operation: &'static str,
    /// The query of a route that reads no body. Those that read one use [`Call::input`].
    pub fields: Fields,
    /// When the call came.
    pub now: OffsetDateTime,
    caller: Caller,
    input: Fields,
    /// Keeps the bytes of the body counted.
    share: Arc<Share>,
    stage: Rc<Cell<Stage>>,
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
    /// True if the route reads a body.
    pub rule: BodyRule,
    /// The stage of the request.
    pub stage: Rc<Cell<Stage>>,
}

/// The outcome of authentication and of the route's access rule.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Who calls; `None` on open routes.
    pub principal: Option<Principal>,
    /// The token of a caller who has one.
    pub token: Option<VerifiedToken>,
    /// The user acted upon, where the route has one.
    pub target: Option<UserId>,
    /// A user of this call that was never ensured: the caller, or the one acted upon.
    pub missing: Option<UserId>,
    /// Whether the caller's standing was looked at.
    pub standing: Standing,
}

/// Whether it is known that the caller exists and is not disabled. Where a user acts for himself this is not asked up front:
/// most of his calls end in a batch that can ask it along with its work.
#[derive(Debug, Clone, Default)]
pub struct Standing(Rc<Cell<Look>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Look {
    /// It is known, or there is nobody to ask about.
    #[default]
    Taken,
    /// It is not known yet.
    Due,
}

impl Standing {
    /// A standing that is still to be looked at.
    #[must_use]
    pub fn due() -> Self {
        Self(Rc::new(Cell::new(Look::Due)))
    }

    /// Whether it is still to be looked at.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.0.get() == Look::Due
    }

    /// Says that it was looked at, or leaves that to someone else.
    fn settle(&self) -> StandingCheck {
        match self.0.replace(Look::Taken) {
            Look::Taken => StandingCheck::Done,
            Look::Due => StandingCheck::Due,
        }
    }
}

impl Call {
    /// Puts a call together.
    #[must_use]
    pub fn new(
        app: Arc<App>,
        request: HttpRequest,
        language: Language,
        operation: &'static str,
        caller: Caller,
        received: Received,
    ) -> Self {
        let now = app.clock.now();
        let (fields, input) = match received.rule {
            BodyRule::Ignored => (received.fields, Fields::default()),
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
        }
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
        let done = self.app.traffic.bodies.work(&self.share, work).await;
        self.stage.set(stage);
        done
    }

    /// The user acted upon, who exists. Ask after the shape of the request was checked (HTTP contract 1.4).
    ///
    /// # Errors
    /// 404 `UserNotFoundException`, 403 for a disabled caller, 503 when the database cannot be asked.
    pub async fn user(&self) -> Result<UserId, ApiError> {
        let (user_id, check) = self.user_unchecked()?;
        if check == StandingCheck::Due {
            match self.app.statuses.ask(&user_id).await? {
                Some(status) if status.is_active => {}
                Some(_) => return Err(barred(Barred::Disabled, &user_id)),
                None => return Err(barred(Barred::Unknown, &user_id)),
            }
        }
        Ok(user_id)
    }

    /// The user acted upon, and whether his standing must be looked at by what the handler does next, which then answers
    /// with [`Barred`] (see [`barred`]).
    ///
    /// # Errors
    /// 404 `UserNotFoundException`.
    pub fn user_unchecked(&self) -> Result<(UserId, StandingCheck), ApiError> {
        self.known()?;
        let user_id = self.target_of_route()?;
        Ok((user_id, self.caller.standing.settle()))
    }

    fn target_of_route(&self) -> Result<UserId, ApiError> {
        self.caller.target.clone().ok_or_else(|| {
            tracing::error!(operation = self.operation, "a route without a user asks for one");
            ApiError::new(&catalogue::INTERNAL)
        })
    }

    /// The user acted upon, whether he exists or not.
    #[must_use]
    pub fn target(&self) -> Option<&UserId> {
        self.caller.target.as_ref()
    }

    /// Makes sure that every user of this call exists.
    ///
    /// # Errors
    /// 404 `UserNotFoundException`.
    pub fn known(&self) -> Result<(), ApiError> {
        match &self.caller.missing {
            Some(user_id) => Err(ApiError::user_not_found(user_id)),
            None => Ok(()),
        }
    }

    /// Who calls.
    ///
    /// # Errors
    /// 401 on a route that needs no credential, where nobody should ask.
    pub fn principal(&self) -> Result<&Principal, ApiError> {
        self.caller.principal.as_ref().ok_or_else(ApiError::not_authenticated)
    }

    /// The token of this user, if that is the credential of the call.
    #[must_use]
    pub fn token_of(&self, user_id: &UserId) -> Option<&VerifiedToken> {
        self.caller.token.as_ref().filter(|token| token.user_id == *user_id)
    }

    /// Reads lists and statistics, a few at a time for each user (see [`super::read_slots`]).
    ///
    /// # Errors
    /// What the work raises, or 503 without a connection.
    pub async fn read<T, E>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, ApiError>
    where
        E: From<DbError>,
        ApiError: From<E>,
    {
        let _slot = self.slot().await;
        Ok(self.app.lists.read(work).await?)
    }

    /// Reads a few rows by their keys: does not wait for lists and statistics.
    ///
    /// # Errors
    /// As [`Call::read`].
    pub async fn look_up<T, E>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, ApiError>
    where
        E: From<DbError>,
        ApiError: From<E>,
    {
        Ok(self.app.pool.read(work).await?)
    }

    /// Changes what is stored, in a transaction.
    ///
    /// # Errors
    /// 503 when the database cannot be asked.
    pub async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, DbError>,
    ) -> Result<T, ApiError> {
        Ok(Tx::run(&self.app.pool, work).await?)
    }

    /// Like [`Call::write`], for work that may be refused; a refusal stores nothing.
    ///
    /// # Errors
    /// Like [`Call::write`].
    pub async fn decide<T, R>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<Result<T, R>, DbError>,
    ) -> Result<Result<T, R>, ApiError> {
        Ok(Tx::decide(&self.app.pool, work).await?)
    }

    /// Waits until this caller may read once more; for reads that borrow their connection themselves.
    pub async fn slot(&self) -> Slot {
        self.app.read_slots.acquire(&self.reader()).await
    }

    /// Whose reads wait for one another: those about the user acted upon, else those of the caller.
    #[must_use]
    pub fn reader(&self) -> String {
        self.caller
            .target
            .as_ref()
            .or_else(|| self.caller.principal.as_ref().and_then(Principal::user_id))
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// Whose things the caller may touch.
    ///
    /// # Errors
    /// As [`Call::principal`].
    pub fn scope(&self) -> Result<Scope, ApiError> {
        Ok(self.principal()?.scope())
    }

    /// A session id of the path. What is not a UUID is an unknown session (HTTP contract 1.2).
    ///
    /// # Errors
    /// 404 `SessionNotFoundException`.
    pub fn session_id(&self) -> Result<Uuid, ApiError> {
        let text = path_parameter(&self.request, "session_id");
        Uuid::try_parse(&text).map_err(|_| {
            ApiError::new(&catalogue::SESSION_NOT_FOUND).detail("session_id", Detail::Text(text))
        })
    }

    /// What a cursor of this list is bound to: the route, the things in its path, and the filters.
    #[must_use]
    pub fn list_scope(&self) -> String {
        let place: Vec<_> =
            ["user_id", "session_id"].map(|name| path_parameter(&self.request, name)).to_vec();
        format!("{} {place:?} {}", self.operation, self.fields.filters())
    }

    /// `user_id` of the body, where given, must name the user of the path.
    ///
    /// # Errors
    /// 400 `UserIdMismatchException`.
    pub fn agree_on_user(&self, named: Option<&UserId>) -> Result<(), ApiError> {
        match (named, &self.caller.target) {
            (Some(named), Some(target)) if named != target => {
                Err(ApiError::new(&catalogue::USER_ID_MISMATCH))
            }
            _ => Ok(()),
        }
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
    /// When the answer was made.
    pub timestamp: Timestamp,
    /// What was asked for.
    pub data: T,
}

/// The refusal of a caller who may do nothing.
#[must_use]
pub fn barred(why: Barred, user_id: &UserId) -> ApiError {
    match why {
        Barred::Disabled => ApiError::new(&catalogue::ACCOUNT_DISABLED),
        Barred::Unknown => ApiError::user_not_found(user_id),
    }
}

/// A path parameter, decoded.
///
/// actix decodes the path except for escapes of `%`, `/` and `+`, so what is left is decoded here, once.
#[must_use]
pub fn path_parameter(request: &HttpRequest, name: &str) -> String {
    percent_decode_str(request.match_info().query(name)).decode_utf8_lossy().into_owned()
}

/// The next page's cursor for a slice of a list.
#[must_use]
pub fn next_cursor<P: std::fmt::Display>(scope: &str, next: Option<&P>) -> Option<String> {
    next.map(|place| kernel::Cursor::seal(scope, place))
}

/// The text "Retrieved {n} {things}" in both languages (HTTP contract 1.7).
#[must_use]
pub fn retrieved(count: usize, things: &str, counted: &str) -> Text {
    Text::new(format!("Retrieved {count} {things}"), format!("获取到 {count} {counted}"))
}

//! Calls of this service: beyond those of [`web`] they have users with a status, and the database.

use std::{cell::Cell, fmt::Display, num::NonZeroU32, rc::Rc, str::FromStr};

use flows::{Audited, CallerCheck, CallerRejected};
use identity::{
    StatusQuery, VerifiedToken,
    audit::{Action, AuditActor, AuditEvent, AuditOrigin},
};
use kernel::{Detail, Principal, Slice, UserId};
use pg::{DbError, PgConnection, Tx};
use serde::Serialize;
use uuid::Uuid;
use web::{
    ApiError, Reply, access::path_user, call::retrieved, catalogue::Entry, client_address,
    fields::page::next_cursor, read_slots::Slot,
};

pub use web::call::path_parameter;

use super::{
    catalogue,
    error::{Answered as _, Errors as _},
};
use crate::app::App;

/// A checked call of a route.
pub type Call = web::Call<App>;
/// The outcome of authentication and of the route's access rule.
pub type Caller = web::Caller<Facts>;

/// Findings about a caller.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The token of a caller who has one.
    pub token: Option<VerifiedToken>,
    /// The API key of the table that is the credential.
    pub key_id: Option<Uuid>,
    /// The limit of a key that has one of its own.
    pub requests_per_second: Option<NonZeroU32>,
    /// A user of this call that was never ensured: the caller, or the one acted upon.
    pub missing: Option<UserId>,
    /// The status of the caller, as far as it was looked at.
    pub status: CallerStatus,
}

/// The check of the caller that is still to be done. A user who acts for themselves is not checked up front: most of their
/// calls end in a batch that does it along with its work.
#[derive(Debug, Clone, Default)]
pub struct CallerStatus(Rc<Cell<CallerCheck>>);

impl CallerStatus {
    /// A status that is still to be checked, with that of the login.
    #[must_use]
    pub fn due(login_id: Option<Uuid>) -> Self {
        Self(Rc::new(Cell::new(CallerCheck::Due { login_id })))
    }

    /// A status that was checked, of a user who must still exist when something is written for them.
    #[must_use]
    pub fn known() -> Self {
        Self(Rc::new(Cell::new(CallerCheck::Known)))
    }

    /// True if it is still to be checked.
    #[must_use]
    pub fn is_due(&self) -> bool {
        matches!(self.0.get(), CallerCheck::Due { .. })
    }

    /// Takes the check over.
    fn settle(&self) -> CallerCheck {
        self.0.take()
    }
}

/// The users and the database of a call.
pub(crate) trait AppCall {
    /// The call itself.
    fn this(&self) -> &Call;

    /// The user acted upon, who exists. Ask after the shape of the request was checked (HTTP contract 1.4).
    ///
    /// # Errors
    /// 404 `UserNotFoundException`, 403 for a disabled caller, 503 when the database cannot be asked.
    async fn user(&self) -> Result<UserId, ApiError> {
        let (user_id, check) = self.user_unchecked()?;
        if let CallerCheck::Due { login_id } = check {
            let asked = StatusQuery { login_id, ..StatusQuery::user(&user_id) };
            let standing = self.this().app.statuses.ask(asked).await.map_err(ApiError::answered)?;
            match standing.user {
                Some(status) if !status.is_active => {
                    return Err(rejected_caller(CallerRejected::Disabled, &user_id));
                }
                Some(_) if login_id.is_some() && !standing.login_is_live => {
                    return Err(rejected_caller(CallerRejected::LoggedOut, &user_id));
                }
                Some(_) => {}
                None => return Err(rejected_caller(CallerRejected::Unknown, &user_id)),
            }
        }
        Ok(user_id)
    }

    /// The user acted upon, and whether their status must be looked at by what the handler does next, which then answers
    /// with [`CallerRejected`] (see [`rejected_caller`]).
    ///
    /// # Errors
    /// 404 `UserNotFoundException`.
    fn user_unchecked(&self) -> Result<(UserId, CallerCheck), ApiError> {
        self.known()?;
        let user_id = self.this().target().cloned().ok_or_else(|| {
            tracing::error!(operation = self.this().operation, "a route without a user asks for one");
            ApiError::new(&catalogue::INTERNAL)
        })?;
        Ok((user_id, self.this().caller().facts.status.settle()))
    }

    /// Makes sure that every user of this call exists.
    ///
    /// # Errors
    /// 404 `UserNotFoundException`.
    fn known(&self) -> Result<(), ApiError> {
        match &self.this().caller().facts.missing {
            Some(user_id) => Err(ApiError::user_not_found(user_id)),
            None => Ok(()),
        }
    }

    /// The caller and their login, on a route for those with a token of this service.
    ///
    /// # Errors
    /// 403 for others, 404 `UserNotFoundException`.
    fn login(&self) -> Result<(UserId, Uuid), ApiError> {
        self.known()?;
        let caller = self.this().caller();
        let login_id = caller.facts.token.as_ref().and_then(|token| token.login_id);
        let user_id = caller.principal.as_ref().and_then(|principal| principal.user_id());
        user_id.cloned().zip(login_id).ok_or_else(|| ApiError::new(&catalogue::PERMISSION_DENIED))
    }

    /// The token of this user, if that is the credential of the call.
    fn token_of(&self, user_id: &UserId) -> Option<&VerifiedToken> {
        let caller = self.this().caller();
        let own = caller.principal.as_ref().and_then(Principal::user_id);
        caller.facts.token.as_ref().filter(|_| own == Some(user_id))
    }

    /// The id of this name in the path. What does not parse is the id of an unknown thing (HTTP contract 1.2).
    ///
    /// # Errors
    /// `unknown`, a 404.
    fn id_of_path<T: FromStr>(&self, name: &'static str, unknown: &'static Entry) -> Result<T, ApiError> {
        let text = path_parameter(&self.this().request, name);
        text.parse().map_err(|_| ApiError::new(unknown).detail(name, Detail::Text(text)))
    }

    /// A session id of the path.
    ///
    /// # Errors
    /// 404 `SessionNotFoundException`.
    fn session_id(&self) -> Result<Uuid, ApiError> {
        self.id_of_path("session_id", &catalogue::SESSION_NOT_FOUND)
    }

    /// The request, as the audit log shows it.
    fn audit_origin(&self) -> AuditOrigin {
        let call = self.this();
        let address = client_address(&call.request, &call.app.settings.trusted_proxies);
        AuditOrigin { address: Some(address), request_id: call.request_id() }
    }

    /// The caller, as the audit log shows them.
    fn audited(&self) -> Audited {
        let caller = self.this().caller().principal.as_ref();
        let actor = caller.map_or(AuditActor::Anonymous, AuditActor::from);
        Audited { actor, origin: self.audit_origin() }
    }

    /// An event of the audit log about what the caller does now.
    fn audit_event(&self, action: Action) -> AuditEvent {
        let Audited { actor, origin } = self.audited();
        AuditEvent::new(self.this().now, actor, action, origin)
    }

    /// `user_id` of the body, where given, must name the user of the path.
    ///
    /// # Errors
    /// 400 `UserIdMismatchException`.
    fn agree_on_user(&self, named: Option<&UserId>) -> Result<(), ApiError> {
        let Some(named) = named else {
            return Ok(());
        };
        let of_path = path_user(&self.this().request).ok();
        match self.this().target() {
            Some(target) if named != target && of_path.as_ref() != Some(named) => {
                Err(ApiError::new(&catalogue::USER_ID_MISMATCH))
            }
            _ => Ok(()),
        }
    }

    /// The text that a cursor of this list is bound to: the route, the things in its path, and the filters.
    fn list_scope(&self) -> String {
        let place: Vec<_> =
            ["user_id", "session_id"].map(|name| path_parameter(&self.this().request, name)).to_vec();
        format!("{} {place:?} {}", self.this().operation, self.this().fields.filters())
    }

    /// The answer with a part of the list of this scope: its bodies, their number with the noun in both languages, and the
    /// cursor of the next part.
    ///
    /// # Errors
    /// 500 if a body cannot be written.
    fn list_reply<T, B: Serialize, P: Display>(
        &self,
        scope: &str,
        slice: Slice<T, P>,
        body: impl Fn(T) -> B,
        (things, counted): (&str, &str),
    ) -> Result<Reply, ApiError> {
        let next = next_cursor(scope, slice.next.as_ref());
        let items: Vec<B> = slice.items.into_iter().map(body).collect();
        Ok(self.this().envelope(&retrieved(items.len(), things, counted), items)?.next_cursor(next))
    }

    /// Reads lists and statistics, a few at a time for each user (see [`web::read_slots`]).
    ///
    /// # Errors
    /// What the work raises, or 503 without a connection.
    async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, DbError>,
    ) -> Result<T, ApiError> {
        let _slot = self.slot().await;
        self.this().app.lists.read(work).await.map_err(ApiError::answered)
    }

    /// Reads a few rows by their keys: does not wait for lists and statistics.
    ///
    /// # Errors
    /// As [`AppCall::read`].
    async fn look_up<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, DbError>,
    ) -> Result<T, ApiError> {
        self.this().app.pool.read(work).await.map_err(ApiError::answered)
    }

    /// Changes what is stored, in a transaction.
    ///
    /// # Errors
    /// 503 when the database cannot be asked.
    async fn write<T>(&self, work: impl AsyncFnOnce(&mut Tx) -> Result<T, DbError>) -> Result<T, ApiError> {
        Tx::run(&self.this().app.pool, work).await.map_err(ApiError::answered)
    }

    /// Like [`AppCall::write`], for work that may be refused; a refusal stores nothing.
    ///
    /// # Errors
    /// Like [`AppCall::write`].
    async fn decide<T, R>(
        &self,
        work: impl AsyncFnOnce(&mut Tx) -> Result<Result<T, R>, DbError>,
    ) -> Result<Result<T, R>, ApiError> {
        Tx::decide(&self.this().app.pool, work).await.map_err(ApiError::answered)
    }

    /// Like [`AppCall::write`], for the user acted upon, who is not erased meanwhile.
    ///
    /// # Errors
    /// Like [`AppCall::write`], and 404 `UserNotFoundException`.
    async fn write_for<T>(
        &self,
        user_id: &UserId,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, DbError>,
    ) -> Result<T, ApiError> {
        let held = async |tx: &mut Tx| match identity::users::hold(tx.conn(), user_id).await? {
            true => work(tx).await.map(Some),
            false => Ok(None),
        };
        self.write(held).await?.ok_or_else(|| ApiError::user_not_found(user_id))
    }

    /// Waits until this caller may read once more; for reads that borrow their connection themselves.
    async fn slot(&self) -> Slot {
        self.this().app.read_slots.acquire(&self.reader()).await
    }

    /// Subject of reads that wait for one another: those about the user acted upon, else those of the caller.
    fn reader(&self) -> String {
        let caller = self.this().caller();
        let user = caller.target.as_ref().or_else(|| caller.principal.as_ref().and_then(Principal::user_id));
        user.map(ToString::to_string).unwrap_or_default()
    }
}

impl AppCall for Call {
    fn this(&self) -> &Call {
        self
    }
}

/// The refusal of a caller who may do nothing.
#[must_use]
pub fn rejected_caller(why: CallerRejected, user_id: &UserId) -> ApiError {
    match why {
        CallerRejected::Disabled => ApiError::new(&catalogue::ACCOUNT_DISABLED),
        CallerRejected::Unknown => ApiError::user_not_found(user_id),
        CallerRejected::LoggedOut => ApiError::unauthorized(&catalogue::AUTHENTICATION),
    }
}

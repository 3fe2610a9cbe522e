//! The needs of the mechanism, as a trait of the service.

use std::{
    fmt,
    future::{Future, ready},
    num::NonZeroU32,
};

use actix_web::HttpRequest;
use kernel::{Clock, Ids};

use super::{
    address_budget::AddressBudget,
    caller::Caller,
    catalogue::{self, Entry},
    error::ApiError,
    language::Language,
    rate_limit::RouteLimit,
    settings::Settings,
    traffic::Traffic,
};

/// A service: its state, shared by all workers, and its decisions about callers.
pub trait Service: Send + Sync + Sized + 'static {
    /// The access rules of its routes.
    type Access: AccessRule;
    /// Its findings about a caller beside the principal.
    type Facts: Clone + Default + 'static;

    /// Every error code it can answer, by status; those of [`catalogue`] are among them, with the same code.
    const CATALOGUE: &'static [&'static Entry] = &catalogue::CATALOGUE;
    /// Beginning of the paths whose routes of origin [`Extension`](crate::route::Origin::Extension) refuse unknown query
    /// parameters.
    const CLOSED_QUERIES: &'static str = "/";

    /// The present time.
    fn clock(&self) -> &dyn Clock;

    /// The source of ids.
    fn ids(&self) -> &dyn Ids;

    /// The settings of its HTTP.
    fn settings(&self) -> &Settings;

    /// The limits of all clients together, and their present use.
    fn traffic(&self) -> &Traffic;

    /// The caller with this credential: a bearer token, or an API key. By default none is valid. What an invented credential
    /// could cause is judged by the budget of its address first.
    ///
    /// # Errors
    /// 401, 429 of the budget, 503 when it cannot be checked now.
    fn authenticate(
        &self,
        _credential: &str,
        _budget: &AddressBudget<'_>,
    ) -> impl Future<Output = Result<Caller<Self::Facts>, ApiError>> {
        ready(Err(ApiError::unauthorized(&catalogue::AUTHENTICATION)))
    }

    /// Applies the access rule of a route to a caller whose credential is valid. By default none may call it.
    ///
    /// # Errors
    /// The refusal: 403, or 404 for what they may not know of; 422 for a user that the request names and nobody can read.
    fn authorize(
        &self,
        _access: Self::Access,
        _caller: Caller<Self::Facts>,
        _request: &HttpRequest,
    ) -> impl Future<Output = Result<Caller<Self::Facts>, ApiError>> {
        ready(Err(ApiError::new(&catalogue::PERMISSION_DENIED)))
    }

    /// Applies an access rule that needs no credential. By default everyone is let in.
    ///
    /// # Errors
    /// The refusal.
    fn admit(
        &self,
        _access: Self::Access,
        _request: &HttpRequest,
    ) -> impl Future<Output = Result<(), ApiError>> {
        ready(Ok(()))
    }

    /// The requests a second that a key may make; by default keys have no limit.
    fn requests_per_second(&self, _caller: &Caller<Self::Facts>) -> Option<NonZeroU32> {
        None
    }

    /// Looks at a call that failed; what it returns is answered. By default the error itself.
    fn after_failure(
        &self,
        _caller: &Caller<Self::Facts>,
        error: ApiError,
    ) -> impl Future<Output = ApiError> {
        ready(error)
    }

    /// Looks at a call that succeeded, before its answer is sent. By default there is nothing to look at.
    ///
    /// # Errors
    /// The answer instead.
    fn after_success(&self, _caller: &Caller<Self::Facts>, _operation: &str) -> Result<(), ApiError> {
        Ok(())
    }

    /// Returns whether routes with this rule exist only for clients on this machine. By default none do.
    fn is_for_this_machine(&self, _access: Self::Access) -> bool {
        false
    }

    /// The language of a caller who asks for none, on a path.
    fn default_language(&self, _path: &str) -> Language {
        Language::En
    }

    /// The language of `detail` in an error on a path, for a caller who is answered in `language`.
    fn detail_language(&self, _path: &str, _language: Language) -> Language {
        Language::En
    }
}

/// A rule for callers of a route, and on whose behalf they act (HTTP contract 1.3). Enforced before its handler runs.
pub trait AccessRule: fmt::Debug + Copy + PartialEq + Send + Sync + 'static {
    /// Returns whether a credential is needed.
    fn is_authenticated(self) -> bool;

    /// The rate limit of its requests.
    fn limit(self) -> RouteLimit {
        RouteLimit::General
    }

    /// The rule in words, for the documentation.
    fn words(self) -> &'static str;

    /// The errors that follow from the rule, for the documentation. Those of every authenticated route are added.
    fn errors(self) -> &'static [&'static Entry] {
        &[]
    }
}

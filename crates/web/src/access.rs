//! The credential of a request and the users it names (HTTP contract 1.3), and the order of what is checked (1.4).

use std::cell::Cell;

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName, HeaderValue},
};
use kernel::{Principal, UserId, UserIdError};

use super::{
    address_budget::{AddressBudget, uncounted},
    bodies,
    call::path_parameter,
    caller::Caller,
    catalogue,
    client_address::client_address,
    error::ApiError,
    fault::{Fault, Problem, Step},
    language::Text,
    rate_limit::{BodyBytes, Counted, Levels, RouteLimit},
    route::Route,
    service::{AccessRule as _, Service},
};

/// Header by which a service names the user it acts for.
pub const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// Header that carries an API key.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Authenticates the request, counts it with its body, and applies the route's access rule. `counted` is set to the rest of the
/// caller's limits once those were judged.
///
/// # Errors
/// 401, 429 for a caller without rest or a body that is known to exceed the byte limit, 403 for a key that may only read, and
/// those of [`Service::authenticate`], [`Service::authorize`] and [`Service::admit`].
pub async fn admit<S: Service>(
    app: &S,
    route: &Route<S>,
    request: &HttpRequest,
    counted: &Cell<Levels>,
) -> Result<Caller<S::Facts>, ApiError> {
    if !route.access.is_authenticated() {
        let address = || client_address(request, &app.settings().trusted_proxies);
        let by = match route.access.limit() {
            RouteLimit::Unlimited => None,
            RouteLimit::General => Some(Counted::Anonymous(address())),
            RouteLimit::Login => Some(Counted::Login(address())),
        };
        if let Some(by) = by {
            count(app, request, by, BodyBytes::None, counted).await?;
        }
        app.admit(route.access, request).await?;
        return Ok(Caller::default());
    }
    let budget = AddressBudget::new(request, app.settings(), &app.traffic().rate_limits, app.clock());
    let authenticated = match credential(request) {
        Ok(presented) => app.authenticate(presented, &budget).await,
        Err(error) => Err(error),
    };
    let caller = match authenticated {
        Ok(caller) => caller,
        Err(error) => return Err(refusal(&budget, error, counted).await),
    };
    if let Some(by) = counted_by(app, &caller) {
        count(app, request, by, bodies::head_bytes(request, route.body), counted).await?;
    }
    if !caller.principal.as_ref().is_some_and(|principal| route.fits_scope_of(principal)) {
        // Nothing is said of the scope of a key that is not valid any more.
        return match app.authorize(route.access, caller, request).await {
            Err(error) if error.status() == 401 => Err(refusal(&budget, error, counted).await),
            Err(error) if error.status() >= 500 => Err(error),
            _ => Err(ApiError::insufficient_scope("service")),
        };
    }
    match app.authorize(route.access, caller, request).await {
        // Well made, and revoked.
        Err(error) if error.status() == 401 => Err(refusal(&budget, error, counted).await),
        authorized => authorized,
    }
}

/// The answer to a credential that is missing or not valid: the error, or 429 once the budget of its address is used up.
async fn refusal(budget: &AddressBudget<'_>, error: ApiError, counted: &Cell<Levels>) -> ApiError {
    metrics::counter!("auth_failures_total", "reason" => error.code()).increment(1);
    if error.status() != 401 {
        return error;
    }
    let charged = budget.charge().await;
    counted.set(Levels { requests: budget.level(), bytes: None });
    charged.err().unwrap_or(error)
}

/// Counts a request, and the bytes of its body that its head says. One whose head was judged before, and so counted, is not
/// counted again.
async fn count<S: Service>(
    app: &S,
    request: &HttpRequest,
    by: Counted<'_>,
    body: BodyBytes,
    counted: &Cell<Levels>,
) -> Result<(), ApiError> {
    counted.set(app.traffic().rate_limits.take(by, uncounted(request), body, app.clock()).await?);
    Ok(())
}

/// The bucket of an authenticated caller; keys without a limit of their own have none.
fn counted_by<'a, S: Service>(app: &S, caller: &'a Caller<S::Facts>) -> Option<Counted<'a>> {
    match caller.principal.as_ref()? {
        Principal::User(user) | Principal::AdminUser(user) => Some(Counted::User(user)),
        Principal::Key { name, .. } => Some(Counted::Key(name, app.requests_per_second(caller)?)),
    }
}

/// The one credential of a request. Two different ones are refused, because nobody can tell who is meant.
///
/// # Errors
/// 401.
pub fn credential(request: &HttpRequest) -> Result<&str, ApiError> {
    let mut presented = None;
    for value in request.headers().get_all(header::AUTHORIZATION).filter(|value| !value.is_empty()) {
        one_of(&mut presented, bearer(value)?)?;
    }
    for value in request.headers().get_all(X_API_KEY).filter(|value| !value.is_empty()) {
        one_of(&mut presented, readable(value)?)?;
    }
    presented.ok_or_else(ApiError::not_authenticated)
}

/// Notes a credential; a second, different one is refused.
fn one_of<'a>(presented: &mut Option<&'a str>, value: &'a str) -> Result<(), ApiError> {
    match presented {
        Some(other) if *other != value => Err(ApiError::unauthorized(&catalogue::AUTHENTICATION)),
        _ => {
            *presented = Some(value);
            Ok(())
        }
    }
}

fn readable(value: &HeaderValue) -> Result<&str, ApiError> {
    value.to_str().map(str::trim).map_err(|_| ApiError::unauthorized(&catalogue::AUTHENTICATION))
}

fn bearer(value: &HeaderValue) -> Result<&str, ApiError> {
    let text = readable(value)?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token)
    } else {
        Err(ApiError::not_authenticated())
    }
}

/// The user that the path names as `user_id`.
///
/// # Errors
/// The fault of a text that is no user id.
pub fn path_user(request: &HttpRequest) -> Result<UserId, Fault> {
    let text = path_parameter(request, "user_id");
    text.parse().map_err(|error| unreadable("path", "user_id", &text, error))
}

/// The user that `X-User-Id` names, if there is that header; two different ones are as unreadable as none.
///
/// # Errors
/// The fault of a text that is no user id.
pub fn header_user(request: &HttpRequest) -> Result<Option<UserId>, Fault> {
    let mut values = request.headers().get_all(X_USER_ID);
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let agreed = values.all(|other| other == first);
    let named = first.to_str().unwrap_or_default().trim().parse();
    named
        .and_then(|user_id| if agreed { Ok(Some(user_id)) } else { Err(UserIdError::Character) })
        .map_err(|error| unreadable("header", X_USER_ID.as_str(), "", error))
}

fn unreadable(source: &str, name: &str, input: &str, error: UserIdError) -> Fault {
    let problem = match error {
        UserIdError::Reserved => Problem::value(&error.to_string()),
        UserIdError::Empty | UserIdError::TooLong | UserIdError::Character => Problem::new(
            "string_pattern_mismatch",
            "String should match pattern '^[A-Za-z0-9._@+:|~-]{1,255}$'",
        ),
    };
    Fault {
        kind: problem.kind,
        loc: vec![Step::from(source), Step::from(name)],
        msg: problem.msg,
        input: Some(input.chars().take(200).collect::<String>().into()),
    }
}

/// The refusal of a user who wants to act for another one, on a route of the documents.
#[must_use]
pub fn foreign() -> ApiError {
    ApiError::new(&catalogue::PERMISSION_DENIED).text(Text::new(
        "Access denied: users may act only for themselves",
        "拒绝访问：用户只能操作自己的数据",
    ))
}

//! Who calls, and whether the route's rule lets them (HTTP contract 1.3 and 1.4).

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderName, HeaderValue},
};
use flows::Barred;
use identity::{Role, UserStatus, VerifiedToken};
use kernel::{Detail, KeyAccess, Principal, UserId, UserIdError};

use super::{
    bodies,
    call::{Caller, Standing, barred, path_parameter},
    catalogue,
    error::ApiError,
    fault::{Fault, Place, Problem},
    language::Text,
    route::{Access, Route},
};
use crate::{
    app::App,
    config::{SelfMetering, SelfRecharge},
};

/// Header by which a service names the user it acts for.
pub const X_USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// Header that carries an API key.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Authenticates the request and applies the route's access rule.
///
/// # Errors
/// 401, 429 for a body that is known to exceed the byte limit, 403, 404 for a path that does not exist here, 422 for a path user
/// or header that cannot be read, 503 when the keys of the issuer or the database cannot be had.
pub async fn admit(app: &App, route: &Route, request: &HttpRequest) -> Result<Caller, ApiError> {
    match route.access {
        Access::Anyone | Access::Development => Ok(Caller::default()),
        Access::Metrics => admit_to_metrics(app, request).await.map(|()| Caller::default()),
        access => {
            let (principal, token) = authenticate(app, request).await.inspect_err(|error| {
                metrics::counter!("auth_failures_total", "reason" => error.code()).increment(1);
            })?;
            bodies::check_rate(app, route, request, &principal)?;
            if !may_call(&principal, route) {
                let scope = Detail::Text("service".to_owned());
                return Err(ApiError::new(&catalogue::INSUFFICIENT_SCOPE).detail("required_scope", scope));
            }
            let caller = authorize(app, access, principal, request).await?;
            Ok(Caller { token, ..caller })
        }
    }
}

async fn admit_to_metrics(app: &App, request: &HttpRequest) -> Result<(), ApiError> {
    if app.config.app.environment.is_development() {
        return Ok(());
    }
    let presented = credential(request)?;
    if app.metrics_token.as_ref().is_some_and(|token| token.matches(presented)) {
        return Ok(());
    }
    match authenticate(app, request).await? {
        (Principal::Key { .. }, _) => Ok(()),
        _ => Err(ApiError::new(&catalogue::PERMISSION_DENIED)),
    }
}

/// The one credential of a request. Two different ones are refused, because nobody can tell who is meant.
fn credential(request: &HttpRequest) -> Result<&str, ApiError> {
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

/// The caller, and the token if that is the credential.
async fn authenticate(
    app: &App,
    request: &HttpRequest,
) -> Result<(Principal, Option<VerifiedToken>), ApiError> {
    let presented = credential(request)?;
    // Each is compared, so that the time does not say which.
    let is_bootstrap_key = app.bootstrap_keys.iter().fold(false, |found, key| key.matches(presented) | found);
    if is_bootstrap_key {
        let key = Principal::Key { name: "bootstrap".into(), access: KeyAccess::Admin };
        return Ok((key, None));
    }
    match app.verifier.verify_or_refresh(presented).await {
        Ok(token) => Ok((Principal::User(token.user_id.clone()), Some(token))),
        Err(error) => Err(ApiError::from_failure(&error)),
    }
}

/// Checks that the scope of the caller allows the route: a key of scope `read` may call only routes that read.
fn may_call(principal: &Principal, route: &Route) -> bool {
    route.only_reads() || principal.may_write()
}

async fn authorize(
    app: &App,
    access: Access,
    principal: Principal,
    request: &HttpRequest,
) -> Result<Caller, ApiError> {
    let wanted = wanted_user(access, &principal, request);
    let target = match &wanted {
        Wanted::User(user_id) => Some(user_id.clone()),
        _ => None,
    };
    let access = match access {
        Access::Metering if app.config.usage.self_metering == SelfMetering::Allowed => Access::PathUser,
        access => access,
    };
    if access == Access::PathUser && target.is_some() && principal.user_id() == target.as_ref() {
        return Ok(Caller {
            principal: Some(principal),
            target,
            standing: Standing::due(),
            ..Caller::default()
        });
    }
    let own = principal.user_id().cloned();
    let (own_status, target_status) = statuses(app, own.as_ref(), target.as_ref()).await?;
    let principal = match (principal, &own_status) {
        (_, Some(status)) if !status.is_active => return Err(ApiError::new(&catalogue::ACCOUNT_DISABLED)),
        (Principal::User(id), Some(status)) if status.role == Role::Admin => Principal::AdminUser(id),
        (principal, _) => principal,
    };
    match (&wanted, &principal) {
        (Wanted::User(user_id), principal) if !principal.may_act_for(user_id) => {
            let hidden = matches!(access, Access::HiddenPathUser | Access::StaffForPathUser);
            return Err(if hidden { ApiError::user_not_found(user_id) } else { foreign() });
        }
        (Wanted::User(_), Principal::User(_)) if access == Access::StaffForPathUser => {
            return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
        }
        (Wanted::Nobody, Principal::User(_)) if access == Access::Staff => {
            return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
        }
        (Wanted::Unreadable(_) | Wanted::Missing, Principal::User(_)) => return Err(foreign()),
        (Wanted::Unreadable(fault), _) => return Err(ApiError::faults(vec![fault.clone()])),
        (Wanted::Missing, _) => {
            return Err(ApiError::faults(vec![Fault::missing("header", X_USER_ID.as_str())]));
        }
        _ => {}
    }
    if !is_open_to(app, access, &principal) {
        return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
    }
    let missing = match access {
        Access::Newcomer => None,
        _ if own.is_some() && own_status.is_none() => own,
        _ if target.is_some() && target_status.is_none() => target.clone(),
        _ => None,
    };
    Ok(Caller { principal: Some(principal), target, missing, ..Caller::default() })
}

/// Whether a route is open to callers of this class, whoever they act for.
fn is_open_to(app: &App, access: Access, principal: &Principal) -> bool {
    match access {
        Access::Admin => principal.is_admin(),
        Access::Recharge => principal.is_staff() || app.config.credits.self_recharge == SelfRecharge::Allowed,
        Access::Metering => principal.is_staff() || app.config.usage.self_metering == SelfMetering::Allowed,
        _ => true,
    }
}

/// Who goes first when a call failed whose caller's standing was not looked at: a disabled caller learns nothing else
/// (HTTP contract 1.4).
pub async fn after_failure(app: &App, caller: &Caller, error: ApiError) -> ApiError {
    let Some(user_id) = caller.target.as_ref().filter(|_| caller.standing.is_due()) else {
        return error;
    };
    match app.statuses.ask(user_id).await {
        Ok(Some(status)) if !status.is_active => barred(Barred::Disabled, user_id),
        Ok(_) => error,
        Err(rejected) => rejected.into(),
    }
}

/// The user a route acts upon, as the request names him.
enum Wanted {
    Nobody,
    User(UserId),
    Unreadable(Fault),
    Missing,
}

fn wanted_user(access: Access, principal: &Principal, request: &HttpRequest) -> Wanted {
    match access {
        Access::PathUser
        | Access::Recharge
        | Access::Metering
        | Access::HiddenPathUser
        | Access::StaffForPathUser => {
            let text = path_parameter(request, "user_id");
            match text.parse() {
                Ok(user_id) => Wanted::User(user_id),
                Err(error) => Wanted::Unreadable(unreadable("path", "user_id", &text, error)),
            }
        }
        Access::NamedUser => match (named_user(request), principal.user_id()) {
            (Some(named), _) => named,
            (None, Some(own)) => Wanted::User(own.clone()),
            (None, None) => Wanted::Missing,
        },
        _ => Wanted::Nobody,
    }
}

/// The user that `X-User-Id` names; two different ones are as unreadable as none.
fn named_user(request: &HttpRequest) -> Option<Wanted> {
    let mut values = request.headers().get_all(X_USER_ID);
    let first = values.next()?;
    let agreed = values.all(|other| other == first);
    let named = first.to_str().unwrap_or_default().trim().parse();
    Some(match named.and_then(|user_id| if agreed { Ok(user_id) } else { Err(UserIdError::Character) }) {
        Ok(user_id) => Wanted::User(user_id),
        Err(error) => Wanted::Unreadable(unreadable("header", X_USER_ID.as_str(), "", error)),
    })
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
        loc: vec![Place::from(source), Place::from(name)],
        msg: problem.msg,
        input: Some(input.chars().take(200).collect::<String>().into()),
    }
}

async fn statuses(
    app: &App,
    own: Option<&UserId>,
    target: Option<&UserId>,
) -> Result<(Option<UserStatus>, Option<UserStatus>), ApiError> {
    let ask = async |user: Option<&UserId>| match user {
        Some(user) => app.statuses.ask(user).await.map_err(ApiError::from),
        None => Ok(None),
    };
    if own == target {
        let status = ask(own).await?;
        return Ok((status, status));
    }
    futures_util::try_join!(ask(own), ask(target))
}

/// The refusal of a user who wants to act for another one, on a route of the documents.
#[must_use]
pub fn foreign() -> ApiError {
    ApiError::new(&catalogue::PERMISSION_DENIED).text(Text::new(
        "Access denied: users may act only for themselves",
        "拒绝访问：用户只能操作自己的数据",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes::table;

    #[test]
    fn a_key_that_may_only_read_calls_only_routes_that_read() {
        let key = |access| Principal::Key { name: "k".into(), access };
        let called = |access| {
            let routes = table().iter().filter(|route| route.access.is_authenticated());
            routes
                .filter(|route| may_call(&key(access), route))
                .map(|route| route.operation)
                .collect::<Vec<_>>()
        };
        let reading = called(KeyAccess::Read);
        assert!(reading.contains(&"get_user_balance") && reading.contains(&"export_usage"));
        for writing in
            ["consume_credits", "record_usage_batch", "set_budgets", "ensure_user", "delete_session"]
        {
            assert!(!reading.contains(&writing), "{writing}");
            assert!(called(KeyAccess::Service).contains(&writing), "{writing}");
        }
    }
}

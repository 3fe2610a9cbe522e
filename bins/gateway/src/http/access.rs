//! The access rules of this service applied: who calls, and whether the route's rule lets them (HTTP contract 1.3 and 1.4).

use actix_web::HttpRequest;
use flows::CallerRejected;
use identity::{
    IdentityRefusal, Role, Standing, StatusQuery, TokenError, UserStatus, VerifiedToken,
    api_keys::{self, KEY_PREFIX},
    audit::BOOTSTRAP,
    identities,
};
use kernel::{KeyAccess, Principal, UserId};
use pg::Tx;
use uuid::Uuid;
use web::{
    AddressBudget, ApiError, X_USER_ID,
    access::{credential, header_user, path_user},
    fault::Fault,
};

pub use web::access::foreign;

use super::{
    call::{Caller, CallerStatus, Facts, rejected_caller},
    catalogue,
    error::{Answered as _, Errors as _},
    route::Access,
};
use crate::{
    app::App,
    config::{SelfMetering, SelfRecharge},
};

/// Lets the readers of measurements in: anyone in development, else the holder of the metrics token or of a service key. They have
/// no limit, but a credential that must be looked up is judged by the budget of its address.
///
/// # Errors
/// 401, 403, 429, 503 when the keys of the issuer cannot be had.
pub async fn admit_to_metrics(app: &App, request: &HttpRequest) -> Result<(), ApiError> {
    if app.config.app.environment.is_development() {
        return Ok(());
    }
    let presented = credential(request)?;
    if app.metrics_token.as_ref().is_some_and(|token| token.matches(presented)) {
        return Ok(());
    }
    let budget = AddressBudget::new(request, &app.settings, &app.traffic.rate_limits, &*app.clock);
    let caller = authenticate(app, presented, &budget).await?;
    if !matches!(caller.principal, Some(Principal::Key { .. })) {
        return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
    }
    statuses(app, None, None, None, caller.facts.key_id).await?;
    Ok(())
}

/// The caller, and the token if that is the credential.
///
/// # Errors
/// 401, 429 of the budget, 503 when the keys of the issuer cannot be had.
pub async fn authenticate(
    app: &App,
    presented: &str,
    budget: &AddressBudget<'_>,
) -> Result<Caller, ApiError> {
    // Each is compared, so that the time does not say which.
    let is_bootstrap_key = app.bootstrap_keys.iter().fold(false, |found, key| key.matches(presented) | found);
    if is_bootstrap_key {
        let key = Principal::Key { name: BOOTSTRAP.into(), access: KeyAccess::Admin };
        return Ok(Caller::authenticated(key));
    }
    if presented.starts_with(KEY_PREFIX) {
        return authenticate_key(app, presented, budget).await;
    }
    let judged = match app.verifier.verify(presented) {
        // Keys are fetched for a name that anybody can write. Tokens of a new key are valid, so they cost their address nothing.
        Err(TokenError::UnknownKey | TokenError::KeysUnavailable) => {
            budget.check().await?;
            app.verifier.verify_or_refresh(presented).await
        }
        judged => judged,
    };
    match judged {
        // It must not use up the limits of its user.
        Ok(token) if token.login_end.is_noted() => Err(ApiError::unauthorized(&catalogue::AUTHENTICATION)),
        Ok(token) => Ok(Caller {
            principal: Some(Principal::User(owner(app, &token).await?)),
            facts: Facts { token: Some(token), ..Facts::default() },
            target: None,
        }),
        Err(error) => Err(ApiError::from_failure(&error)),
    }
}

/// The holder of a key of the table. Its first use in this process asks the database, at the expense of its address; that it was not
/// revoked is asked with the status of the caller.
///
/// # Errors
/// 401, 429 of the budget, 503 when the database cannot be asked.
async fn authenticate_key(
    app: &App,
    presented: &str,
    budget: &AddressBudget<'_>,
) -> Result<Caller, ApiError> {
    let look_up = async |key_id| {
        budget.charge().await?;
        let found = app.pool.read(async |conn| api_keys::find(conn, key_id).await).await;
        found.map_err(ApiError::answered)
    };
    let verified = app.key_ring.verify(&*app.clock, presented, look_up).await?;
    let key = verified.ok_or_else(|| ApiError::unauthorized(&catalogue::AUTHENTICATION))?;
    Ok(Caller {
        principal: Some(Principal::Key { name: key.key_id.to_string().into(), access: key.access }),
        facts: Facts {
            key_id: Some(key.key_id),
            requests_per_second: key.requests_per_second,
            ..Facts::default()
        },
        target: None,
    })
}

/// The user that a token's id belongs to; the id itself if there is no such user yet. The first use of a token in this process
/// asks the database, and so does each use of one whose id was linked to another user: the link ends when that user is erased.
///
/// # Errors
/// 401 if the id belongs to another issuer, 503 when the database cannot be asked.
async fn owner(app: &App, token: &VerifiedToken) -> Result<UserId, ApiError> {
    let remembered = token.owner.get();
    if let Some(owner) = remembered.as_ref().filter(|owner| **owner == token.user_id) {
        return Ok(owner.clone());
    }
    let (id, issuer) = (&token.user_id, &*token.issuer);
    let standing = app.statuses.ask(StatusQuery::user(id)).await.map_err(ApiError::answered)?;
    if remembered.is_some() && remembered.as_ref() != standing.identity.as_ref().map(|known| &known.user_id) {
        token.owner.forget();
    }
    let owner = match standing {
        Standing { identity: Some(identity), .. } if identity.issuer == issuer.name() => Ok(identity.user_id),
        Standing { identity: Some(_), .. } => Err(IdentityRefusal::OfAnotherIssuer),
        Standing { identity: None, user: None, .. } => return Ok(id.clone()),
        Standing { identity: None, .. } if !issuer.may_adopt(id) => Err(IdentityRefusal::OfAnotherIssuer),
        Standing { identity: None, user: Some(_), .. } => {
            let adopt = async |tx: &mut Tx| identities::adopt(tx.conn(), &*app.clock, id, issuer).await;
            Tx::decide(&app.pool, adopt).await.map_err(ApiError::answered)?
        }
    };
    let owner = owner.map_err(|refusal| ApiError::from_failure(&refusal))?;
    token.owner.remember(owner.clone());
    Ok(owner)
}

/// Applies the rule of a route.
///
/// # Errors
/// 403, 404 for a path that does not exist here, 422 for a path user or header that cannot be read, 503 when the database cannot
/// be asked.
pub async fn authorize(
    app: &App,
    access: Access,
    caller: Caller,
    request: &HttpRequest,
) -> Result<Caller, ApiError> {
    let principal = caller.principal.ok_or_else(ApiError::not_authenticated)?;
    let facts = caller.facts;
    let wanted = wanted_user(access, &principal, request);
    let target = match &wanted {
        Wanted::User(user_id) => Some(own_id(&principal, &facts, user_id).clone()),
        _ => None,
    };
    let access = match access {
        Access::Metering if app.config.usage.self_metering == SelfMetering::Allowed => Access::PathUser,
        access => access,
    };
    let login_id = facts.token.as_ref().and_then(|token| token.login_id);
    // Nothing is done for a user whom another issuer may create in this moment.
    let is_known = facts.token.as_ref().is_none_or(|token| token.owner.get().is_some());
    if access == Access::PathUser && is_known && target.is_some() && principal.user_id() == target.as_ref() {
        let facts = Facts { status: CallerStatus::due(login_id), ..facts };
        return Ok(Caller { principal: Some(principal), target, facts });
    }
    let own = principal.user_id().cloned();
    let asked = own.as_ref().filter(|_| is_known);
    let found = statuses(app, asked, target, login_id, facts.key_id).await;
    let (own_status, target, target_status) = found.inspect_err(|error| note_end(&facts, error))?;
    let principal = match (principal, &own_status) {
        (_, Some(status)) if !status.is_active => return Err(ApiError::new(&catalogue::ACCOUNT_DISABLED)),
        (Principal::User(id), Some(status)) if status.role == Role::Admin => Principal::AdminUser(id),
        (principal, _) => principal,
    };
    match (&wanted, &principal) {
        (Wanted::User(user_id), principal)
            if !target.as_ref().is_some_and(|target| principal.may_act_for(target)) =>
        {
            let hidden =
                matches!(access, Access::HiddenPathUser | Access::StaffForPathUser | Access::OwnerOrAdmin);
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
    if access == Access::OwnLogin && login_id.is_none() {
        return Err(ApiError::new(&catalogue::PERMISSION_DENIED));
    }
    if !is_open_to(app, access, &principal) {
        return Err(match principal {
            Principal::Key { .. } => ApiError::insufficient_scope("admin"),
            Principal::User(_) | Principal::AdminUser(_) => ApiError::new(&catalogue::PERMISSION_DENIED),
        });
    }
    let missing = match access {
        Access::Newcomer => None,
        _ if own.is_some() && own_status.is_none() => own,
        _ if target.is_some() && target_status.is_none() => target.clone(),
        _ => None,
    };
    // They may be erased before the operation runs.
    let status = if target.is_some() { CallerStatus::known() } else { facts.status.clone() };
    Ok(Caller { principal: Some(principal), target, facts: Facts { missing, status, ..facts } })
}

/// Returns true if a route is open to callers of this class, for any user they act for.
fn is_open_to(app: &App, access: Access, principal: &Principal) -> bool {
    match access {
        Access::Admin => principal.is_admin(),
        Access::OwnerOrAdmin => principal.user_id().is_some() || principal.is_admin(),
        Access::Recharge | Access::NamedRecharge => {
            principal.is_staff() || app.config.credits.self_recharge == SelfRecharge::Allowed
        }
        Access::Metering => principal.is_staff() || app.config.usage.self_metering == SelfMetering::Allowed,
        _ => true,
    }
}

/// The answer to a call that failed and whose caller's status was not looked at: a disabled caller learns nothing
/// else (HTTP contract 1.4).
pub async fn after_failure(app: &App, caller: &Caller, error: ApiError) -> ApiError {
    let error = with_status(app, caller, error).await;
    note_end(&caller.facts, &error);
    error
}

/// Remembers that the login of a token has ended, if that is what the error says.
fn note_end(facts: &Facts, error: &ApiError) {
    let token = facts.token.as_ref().filter(|token| token.login_id.is_some());
    if let Some(token) = token.filter(|_| error.code() == catalogue::AUTHENTICATION.code) {
        token.login_end.note();
    }
}

/// The error, or what the status of a caller has to say instead.
async fn with_status(app: &App, caller: &Caller, error: ApiError) -> ApiError {
    let Some(user_id) = caller.target.as_ref().filter(|_| caller.facts.status.is_due()) else {
        return error;
    };
    let login_id = caller.facts.token.as_ref().and_then(|token| token.login_id);
    match app.statuses.ask(StatusQuery { login_id, ..StatusQuery::user(user_id) }).await {
        Ok(Standing { user: Some(status), .. }) if !status.is_active => {
            rejected_caller(CallerRejected::Disabled, user_id)
        }
        Ok(Standing { user: Some(_), login_is_live: false, .. }) if login_id.is_some() => {
            rejected_caller(CallerRejected::LoggedOut, user_id)
        }
        Ok(_) => error,
        Err(rejected) => ApiError::answered(rejected),
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
        | Access::OwnerOrAdmin
        | Access::StaffForPathUser => path_user(request).map_or_else(Wanted::Unreadable, Wanted::User),
        Access::NamedUser | Access::NamedRecharge => match (header_user(request), principal.user_id()) {
            (Err(fault), _) => Wanted::Unreadable(fault),
            (Ok(Some(named)), _) => Wanted::User(named),
            (Ok(None), Some(own)) => Wanted::User(own.clone()),
            (Ok(None), None) => Wanted::Missing,
        },
        _ => Wanted::Nobody,
    }
}

/// The caller's own id for the id of their token, which is another one if it was linked.
#[must_use]
pub fn own_id<'a>(principal: &'a Principal, facts: &Facts, named: &'a UserId) -> &'a UserId {
    match (&facts.token, principal.user_id()) {
        (Some(token), Some(own)) if token.user_id == *named => own,
        _ => named,
    }
}

/// The status of the caller; the user acted upon, by their own id, and their status.
///
/// # Errors
/// 401 for a login that has ended or a key that was revoked.
async fn statuses(
    app: &App,
    own: Option<&UserId>,
    target: Option<UserId>,
    login_id: Option<Uuid>,
    key_id: Option<Uuid>,
) -> Result<(Option<UserStatus>, Option<UserId>, Option<UserStatus>), ApiError> {
    let ask = async |asked: StatusQuery| app.statuses.ask(asked).await.map_err(ApiError::answered);
    let other = target.as_ref().filter(|target| own != Some(target));
    // A key has no user of its own.
    let caller = StatusQuery { user_id: own.or(other).cloned(), login_id, key_id };
    let caller = async {
        match caller == StatusQuery::default() {
            true => Ok(None),
            false => ask(caller).await.map(Some),
        }
    };
    let other = async {
        match (own, other) {
            (Some(_), Some(other)) => ask(StatusQuery::user(other)).await.map(Some),
            _ => Ok(None),
        }
    };
    let (caller, other) = futures_util::try_join!(caller, other)?;
    let own_status = caller.as_ref().filter(|_| own.is_some()).and_then(|caller| caller.user);
    let is_disabled = own_status.is_some_and(|status| !status.is_active);
    let has_ended = caller.as_ref().is_some_and(|caller| {
        login_id.is_some() && !caller.login_is_live || key_id.is_some() && !caller.key_is_live
    });
    if has_ended && !is_disabled {
        if let Some(key_id) = key_id {
            // Its next use counts as one of an unknown key.
            app.key_ring.forget(key_id);
        }
        return Err(ApiError::unauthorized(&catalogue::AUTHENTICATION));
    }
    if let Some(key_id) = key_id {
        app.uses.keys.note(app.clock.now(), &key_id);
    }
    let found = other.or(caller);
    let status = found.as_ref().and_then(|found| found.user);
    let linked = found.and_then(|found| found.identity).map(|identity| identity.user_id);
    let target = target.map(|target| linked.unwrap_or(target));
    Ok((own_status, target, status))
}

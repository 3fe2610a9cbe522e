//! Every route with every kind of caller. What is expected follows from the access rule alone, so that a new route is tried
//! without a line here, and a new rule or kind of caller does not compile without one.

use gateway::http::route::{Access, Origin, Route};
use kernel::Ids as _;
use web::AccessRule as _;

use super::{by_administrator, name, named, set_active};
use crate::{examples, own_logins::log_in, prelude::*};
use identity::Activity;

/// Kinds of callers. The owner is the user whom the request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Anonymous,
    /// The owner, by a token of another issuer.
    Owner,
    /// Another user.
    Stranger,
    /// The owner, who is deactivated.
    Disabled,
    /// The owner, by a token that has expired.
    Expired,
    /// The owner, by a token of this service.
    OwnToken,
    /// The owner, by such a token of a login that has ended.
    LoggedOut,
    ReadKey,
    ServiceKey,
    RevokedKey,
    Administrator,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Anonymous,
        Self::Owner,
        Self::Stranger,
        Self::Disabled,
        Self::Expired,
        Self::OwnToken,
        Self::LoggedOut,
        Self::ReadKey,
        Self::ServiceKey,
        Self::RevokedKey,
        Self::Administrator,
    ];

    /// Number among all; a kind that is missing there does not compile.
    fn place(self) -> usize {
        match self {
            Self::Anonymous => 0,
            Self::Owner => 1,
            Self::Stranger => 2,
            Self::Disabled => 3,
            Self::Expired => 4,
            Self::OwnToken => 5,
            Self::LoggedOut => 6,
            Self::ReadKey => 7,
            Self::ServiceKey => 8,
            Self::RevokedKey => 9,
            Self::Administrator => 10,
        }
    }
}

/// The answer to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Ok,
    Refused(u16, &'static str),
    /// 200, with each item refused by itself.
    EachRefused,
}

const UNAUTHORIZED: Expected = Expected::Refused(401, "AuthenticationException");
const DENIED: Expected = Expected::Refused(403, "PermissionDeniedException");
const NO_SCOPE: Expected = Expected::Refused(403, "InsufficientScopeException");
const HIDDEN: Expected = Expected::Refused(404, "UserNotFoundException");
const NO_SESSION: Expected = Expected::Refused(404, "SessionNotFoundException");

/// The answer of a route's rule to a caller; `None` for a route that needs no credential.
fn expected(route: &Route, kind: Kind) -> Option<Expected> {
    if !route.access.is_authenticated() {
        return None;
    }
    let admitted = match route.operation {
        operation if examples::UNCONFIGURED.contains(&operation) => {
            Expected::Refused(503, "ProviderNotConfiguredException")
        }
        // The users of these tests have no password.
        "change_password" => Expected::Refused(401, "InvalidCredentialsException"),
        _ => Expected::Ok,
    };
    let by_rule = by_rule(route, kind);
    Some(if by_rule == Expected::Ok { admitted } else { by_rule })
}

fn by_rule(route: &Route, kind: Kind) -> Expected {
    match kind {
        Kind::Anonymous | Kind::LoggedOut | Kind::RevokedKey => UNAUTHORIZED,
        Kind::Expired => Expected::Refused(401, "TokenExpiredException"),
        Kind::Disabled => Expected::Refused(403, "AccountDisabledException"),
        Kind::OwnToken if route.access == Access::OwnLogin => Expected::Ok,
        Kind::Owner | Kind::OwnToken => of_owner(route.access),
        Kind::Stranger => of_stranger(route),
        Kind::ReadKey if !route.only_reads() => NO_SCOPE,
        Kind::ReadKey | Kind::ServiceKey => of_service(route.access),
        // By a token of another issuer, which is of no login here.
        Kind::Administrator if route.access == Access::OwnLogin => DENIED,
        Kind::Administrator => Expected::Ok,
    }
}

fn of_owner(access: Access) -> Expected {
    match access {
        Access::Newcomer
        | Access::NamedUser
        | Access::NamedRecharge
        | Access::PathUser
        | Access::Recharge
        | Access::Metering
        | Access::HiddenPathUser
        | Access::OwnerOrAdmin
        | Access::OwnThings
        | Access::AnyCaller => Expected::Ok,
        Access::StaffForPathUser | Access::Staff | Access::Admin | Access::OwnLogin => DENIED,
        Access::Anyone | Access::Probe | Access::Login | Access::Development | Access::Metrics => {
            open(access)
        }
    }
}

fn of_stranger(route: &Route) -> Expected {
    match route.access {
        Access::OwnThings if route.operation == "record_usage_batch" => Expected::EachRefused,
        Access::OwnThings | Access::NamedUser if hides_sessions(route) => NO_SESSION,
        Access::Newcomer
        | Access::PathUser
        | Access::Recharge
        | Access::Metering
        | Access::OwnThings
        | Access::OwnLogin
        | Access::Staff
        | Access::Admin => DENIED,
        Access::HiddenPathUser | Access::StaffForPathUser | Access::OwnerOrAdmin => HIDDEN,
        // Without a header a user is themselves.
        Access::NamedUser | Access::NamedRecharge | Access::AnyCaller => Expected::Ok,
        Access::Anyone | Access::Probe | Access::Login | Access::Development | Access::Metrics => {
            open(route.access)
        }
    }
}

/// Returns true if a session of another user does not exist for a caller of the route.
pub fn hides_sessions(route: &Route) -> bool {
    let is_documented = route.path.starts_with("/api/v1/") && route.origin == Origin::Documented;
    let is_configured = !examples::UNCONFIGURED.contains(&route.operation);
    route.path.contains("{session_id}") && !is_documented && is_configured
}

fn of_service(access: Access) -> Expected {
    match access {
        Access::Newcomer
        | Access::NamedUser
        | Access::NamedRecharge
        | Access::PathUser
        | Access::Recharge
        | Access::Metering
        | Access::HiddenPathUser
        | Access::StaffForPathUser
        | Access::Staff
        | Access::OwnThings
        | Access::AnyCaller => Expected::Ok,
        Access::OwnerOrAdmin | Access::Admin => NO_SCOPE,
        Access::OwnLogin => DENIED,
        Access::Anyone | Access::Probe | Access::Login | Access::Development | Access::Metrics => {
            open(access)
        }
    }
}

fn open(access: Access) -> Expected {
    panic!("{access:?} needs no credential")
}

/// The service, with the callers that are the same for every route.
struct Cast {
    app: TestApp,
    stranger: String,
    administrator: String,
    read_key: String,
    service_key: String,
    revoked_key: String,
    expired: String,
}

impl Cast {
    async fn new() -> Self {
        let app = TestApp::start_with(&[("ADMIN_USER_IDS", "auth0|root")]).await;
        let expired = app.token("auth0|owner");
        app.clock().advance(Duration::hours(2));
        let administrator = app.user("auth0|root").await.token;
        let stranger = app.user("auth0|b").await.token;
        let (key_id, revoked_key) = examples::api_key(&app, "admin").await;
        let ((_, read_key), (_, service_key)) =
            (examples::api_key(&app, "read").await, examples::api_key(&app, "service").await);
        // It was in use before.
        app.get("/api/v1/api-keys").token(&revoked_key).expect(200).await;
        app.delete(&format!("/api/v1/api-keys/{key_id}")).service().expect(200).await;
        Self { app, stranger, administrator, read_key, service_key, revoked_key, expired }
    }

    /// A user whom only this call is about, so that none changes what the next one finds.
    async fn owner(&self, kind: Kind) -> TestUser {
        match kind {
            Kind::OwnToken | Kind::LoggedOut => {
                log_in(&self.app, &format!("email|{}", kernel::RandomIds.uuid())).await.user
            }
            // The expired token is theirs.
            Kind::Expired => self.app.user("auth0|owner").await,
            _ => self.app.user(&format!("auth0|{}", kernel::RandomIds.uuid())).await,
        }
    }

    /// Calls a route as a caller of this kind.
    async fn call(&self, route: &Route, kind: Kind) -> TestReply {
        // Two versions of a price cannot begin at the same instant.
        self.app.clock().advance(Duration::SECOND);
        let owner = self.owner(kind).await;
        let request = examples::request(&self.app, route, &owner).await;
        match kind {
            Kind::Disabled => {
                set_active(&self.app, &owner, Activity::Deactivated).await;
            }
            Kind::LoggedOut => drop(self.app.post("/api/auth/logout").by(&owner).expect(200).await),
            _ => {}
        }
        match kind {
            Kind::Anonymous => request.await,
            Kind::Owner | Kind::Disabled | Kind::OwnToken | Kind::LoggedOut => request.by(&owner).await,
            Kind::Stranger => request.token(&self.stranger).await,
            Kind::Expired => request.token(&self.expired).await,
            Kind::ReadKey => named(route, request, &owner).token(&self.read_key).await,
            Kind::ServiceKey => named(route, request, &owner).token(&self.service_key).await,
            Kind::RevokedKey => named(route, request, &owner).token(&self.revoked_key).await,
            Kind::Administrator => by_administrator(route, request, &owner).token(&self.administrator).await,
        }
    }
}

/// Returns whether the first item of a batch, which is the owner's, was refused.
fn is_first_refused(body: &str) -> bool {
    // Not every answer is JSON.
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body["data"]["results"][0]["error_code"] == "PermissionDeniedException"
}

#[tokio::test]
async fn every_kind_of_caller_is_answered_as_the_rule_of_the_route_says() {
    assert!(Kind::ALL.iter().enumerate().all(|(place, kind)| kind.place() == place));
    let cast = Cast::new().await;
    let mut wrong = Vec::new();
    for route in examples::routes() {
        for kind in Kind::ALL {
            let Some(expected) = expected(route, kind) else {
                continue;
            };
            let reply = cast.call(route, kind).await;
            let found = match reply.status {
                200 if is_first_refused(&reply.text) => Expected::EachRefused,
                200 => Expected::Ok,
                status => {
                    let code = reply.error_code();
                    let known = [UNAUTHORIZED, DENIED, NO_SCOPE, HIDDEN, expected].into_iter();
                    let same = |one: &Expected| matches!(one, Expected::Refused(s, c) if (*s, *c) == (status, code.as_str()));
                    known.into_iter().find(same).unwrap_or(Expected::Refused(status, "another"))
                }
            };
            if found != expected {
                wrong.push(format!("{} as {kind:?}: {expected:?} expected, {}", name(route), reply.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! The access rules of the routes (I9).

use web::{AccessRule, RouteLimit, catalogue::Entry};

pub use web::{BodyRule, Origin};

use super::catalogue;
use crate::app::App;

/// A route of this service.
pub type Route = web::Route<App>;
/// Its endpoint.
pub type Handler = web::Handler<App>;

/// Callers of a route, and the users they may act for (HTTP contract 1.3). Enforced before the handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a credential.
    Anyone,
    /// Anyone, at any rate: a load balancer asks often, and from one address.
    Probe,
    /// Anyone, at the rate of logins. The handler charges the account that the request names (`Call::charge_account`).
    Login,
    /// Anyone on this machine (with `DEVELOPMENT_ON_NETWORK=true` anyone), but only in the development environment; for
    /// others the path does not exist.
    Development,
    /// The holder of the metrics token or of a service key; in development anyone.
    Metrics,
    /// Any valid token, even of a user that does not exist yet; services and administrators.
    Newcomer,
    /// The user; services and administrators name one by `X-User-Id`.
    NamedUser,
    /// The user in the path, services and administrators.
    PathUser,
    /// Services and administrators; the user in the path only if users may recharge themselves.
    Recharge,
    /// As [`Access::Recharge`], for the user that [`Access::NamedUser`] is about.
    NamedRecharge,
    /// Services and administrators; the user in the path unless users may not record usage.
    Metering,
    /// As [`Access::PathUser`], on a route beyond the documents: another user's path looks like one that does not exist.
    HiddenPathUser,
    /// The user in the path and administrators, not services; beyond the documents.
    OwnerOrAdmin,
    /// Services and administrators, for the user in the path; beyond the documents.
    StaffForPathUser,
    /// Services and administrators; about no user in particular.
    Staff,
    /// A user for what is his own, judged by the operation; services and administrators.
    OwnThings,
    /// A user with a token of this service, for their logins.
    OwnLogin,
    /// Everyone with a credential, for what belongs to no user.
    AnyCaller,
    /// Administrators, for what belongs to no user.
    Admin,
}

impl AccessRule for Access {
    fn is_authenticated(self) -> bool {
        !matches!(self, Self::Anyone | Self::Probe | Self::Login | Self::Development | Self::Metrics)
    }

    fn limit(self) -> RouteLimit {
        match self {
            Self::Probe | Self::Metrics => RouteLimit::Unlimited,
            Self::Login => RouteLimit::Login,
            _ => RouteLimit::General,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Anyone => "Open to anyone.",
            Self::Probe => "Open to anyone, without a rate limit.",
            Self::Login => "Open to anyone, at the rate of logins (`RATE_LIMIT_LOGIN`).",
            Self::Development => {
                "Open to callers on this machine, in the development environment only (`DEVELOPMENT_ON_NETWORK`)."
            }
            Self::Metrics => "Needs the metrics token or a service key outside development.",
            Self::Newcomer => {
                "Any valid token, also of a user that does not exist yet; services; administrators."
            }
            Self::NamedUser => "The user; services and administrators name one by `X-User-Id`.",
            Self::PathUser => "The user in the path; services; administrators.",
            Self::Recharge => {
                "Services and administrators; the user in the path with `SELF_RECHARGE=allowed`."
            }
            Self::NamedRecharge => {
                "Services and administrators, who name a user by `X-User-Id`; the user with `SELF_RECHARGE=allowed`."
            }
            Self::Metering => {
                "Services and administrators; the user in the path unless `SELF_METERING=denied`."
            }
            Self::HiddenPathUser => {
                "The user in the path; services; administrators. To others the user does not exist."
            }
            Self::OwnerOrAdmin => "The user in the path; administrators. To others the user does not exist.",
            Self::StaffForPathUser | Self::Staff => "Services and administrators.",
            Self::OwnThings => "The owner; services; administrators.",
            Self::OwnLogin => "Users with a token of this service.",
            Self::AnyCaller => "Any user; services; administrators.",
            Self::Admin => "Administrators.",
        }
    }

    fn errors(self) -> &'static [&'static Entry] {
        const AUTHENTICATED: &[&Entry] = &[&catalogue::TOKEN_EXPIRED, &catalogue::ACCOUNT_DISABLED];
        const OF_USER: &[&Entry] =
            &[&catalogue::TOKEN_EXPIRED, &catalogue::ACCOUNT_DISABLED, &catalogue::USER_NOT_FOUND];
        const METRICS: &[&Entry] =
            &[&catalogue::AUTHENTICATION, &catalogue::TOKEN_EXPIRED, &catalogue::PERMISSION_DENIED];
        match self {
            Self::Anyone | Self::Probe | Self::Login | Self::Development => &[],
            Self::Metrics => METRICS,
            Self::Newcomer | Self::Staff | Self::Admin => AUTHENTICATED,
            Self::NamedUser
            | Self::PathUser
            | Self::Recharge
            | Self::NamedRecharge
            | Self::Metering
            | Self::HiddenPathUser
            | Self::OwnerOrAdmin
            | Self::StaffForPathUser
            | Self::OwnThings
            | Self::OwnLogin
            | Self::AnyCaller => OF_USER,
        }
    }
}

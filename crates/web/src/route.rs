//! What the route table says about one route (I9).

use std::{future::Future, pin::Pin};

use actix_web::http::Method;

use super::{call::Call, doc::Doc, error::ApiError, reply::Reply};

/// One endpoint: where it is, who may call it, what it answers.
pub struct Route {
    /// HTTP method; `GET` routes answer `HEAD` too.
    pub method: Method,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether a JSON body is read.
    pub body: BodyRule,
    /// Whether the documents of the API have it.
    pub origin: Origin,
    /// `operationId`, also `operation` of error bodies.
    pub operation: &'static str,
    /// The documentation.
    pub doc: fn() -> Doc,
    /// The endpoint.
    pub handler: Handler,
}

impl Route {
    /// True if it changes nothing, so that a read-only key may call it.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.method == Method::GET
    }
}

/// Where a route comes from (HTTP contract 16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The documents of the API: unknown query parameters are ignored, as they always were.
    Documented,
    /// Beyond the documents: below `/api/v1` unknown query parameters are refused (HTTP contract 1.1).
    Extension,
}

/// An endpoint: from a checked call to a reply.
pub type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>>>>;

/// Who may call a route, and on whose behalf (HTTP contract 1.3). Enforced before the handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone, without a credential.
    Anyone,
    /// Anyone on this machine (with `DEVELOPMENT_ON_NETWORK=true` anyone), but only in the development environment; for
    /// others the path does not exist.
    Development,
    /// The holder of the metrics token or of a service key; in development anyone.
    Metrics,
    /// Any valid token, even of a user that does not exist yet; services and administrators.
    Newcomer,
    /// The user himself; services and administrators name one by `X-User-Id`.
    NamedUser,
    /// The user in the path, services and administrators.
    PathUser,
    /// Services and administrators; the user in the path only if users may recharge themselves.
    Recharge,
    /// Services and administrators; the user in the path unless users may not record usage.
    Metering,
    /// As [`Access::PathUser`], on a route beyond the documents: another user's path looks like one that does not exist.
    HiddenPathUser,
    /// Services and administrators, for the user in the path; beyond the documents.
    StaffForPathUser,
    /// Services and administrators; about no user in particular.
    Staff,
    /// A user for what is his own, judged by the operation; services and administrators.
    OwnThings,
    /// Everyone with a credential, for what belongs to no user.
    AnyCaller,
    /// Administrators, for what belongs to no user.
    Admin,
}

impl Access {
    /// Whether a credential is needed.
    #[must_use]
    pub fn is_authenticated(self) -> bool {
        !matches!(self, Self::Anyone | Self::Development | Self::Metrics)
    }

    /// The rule in words, for the documentation.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Anyone => "Open to anyone.",
            Self::Development => {
                "Open to callers on this machine, in the development environment only (`DEVELOPMENT_ON_NETWORK`)."
            }
            Self::Metrics => "Needs the metrics token or a service key outside development.",
            Self::Newcomer => {
                "Any valid token, also of a user that does not exist yet; services; administrators."
            }
            Self::NamedUser => "The user himself; services and administrators name one by `X-User-Id`.",
            Self::PathUser => "The user in the path; services; administrators.",
            Self::Recharge => {
                "Services and administrators; the user in the path with `SELF_RECHARGE=allowed`."
            }
            Self::Metering => {
                "Services and administrators; the user in the path unless `SELF_METERING=denied`."
            }
            Self::HiddenPathUser => {
                "The user in the path; services; administrators. To others the user does not exist."
            }
            Self::StaffForPathUser | Self::Staff => "Services and administrators.",
            Self::OwnThings => "The owner; services; administrators.",
            Self::AnyCaller => "Any user; services; administrators.",
            Self::Admin => "Administrators.",
        }
    }
}

/// Whether a route reads a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// A body is ignored.
    Ignored,
    /// JSON of at most [`JSON_BYTES_MAX`], whatever its content type says; empty counts as absent fields.
    Json,
    /// The same of at most [`BATCH_BYTES_MAX`].
    Batch,
}

impl BodyRule {
    /// Most bytes that are read.
    #[must_use]
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Ignored => 0,
            Self::Json => JSON_BYTES_MAX,
            Self::Batch => BATCH_BYTES_MAX,
        }
    }
}

/// Largest JSON body, in bytes (HTTP contract 1.1).
pub const JSON_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Largest JSON body of a batch of usage records, in bytes (HTTP contract 1.1).
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

//! One route of a route table (I9).

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{HttpRequest, http::Method};

use kernel::Principal;

use super::{bodies::BodyRule, call::Call, doc::Doc, error::ApiError, reply::Reply, service::Service};

/// One endpoint: path, access rule, documentation and handler.
pub struct Route<S: Service> {
    /// HTTP method; `GET` routes answer `HEAD` too.
    pub method: Method,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Its access rule.
    pub access: S::Access,
    /// The body that is read.
    pub body: BodyRule,
    /// Its origin.
    pub origin: Origin,
    /// `operationId`, also `operation` of error bodies.
    pub operation: &'static str,
    /// The documentation.
    pub doc: fn() -> Doc,
    /// The endpoint.
    pub handler: Handler<S>,
}

/// All routes of the server that received a request.
#[must_use]
pub fn routes<S: Service>(request: &HttpRequest) -> &[&'static Route<S>] {
    request.app_data::<Arc<[&'static Route<S>]>>().map_or(&[], |routes| routes)
}

impl<S: Service> Route<S> {
    /// True if it changes nothing, so that a read-only key may call it.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.method == Method::GET
    }

    /// Returns whether the scope of a caller allows the route: a key of scope `read` may call only routes that read.
    #[must_use]
    pub fn fits_scope_of(&self, principal: &Principal) -> bool {
        self.only_reads() || principal.may_write()
    }

    /// The names of its query parameters, if it refuses others (HTTP contract 1.1).
    #[must_use]
    pub fn known_parameters(&self) -> Option<Vec<&'static str>> {
        let is_closed = self.origin == Origin::Extension && self.path.starts_with(S::CLOSED_QUERIES);
        is_closed.then(|| (self.doc)().query_names().collect())
    }
}

/// Origin of a route (HTTP contract 16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The documents of the API: unknown query parameters are ignored, as they always were.
    Documented,
    /// Beyond the documents: unknown query parameters are refused below [`Service::CLOSED_QUERIES`] (HTTP contract 1.1).
    Extension,
}

/// An endpoint: from a checked call to a reply.
pub type Handler<S> = fn(Call<S>) -> Pin<Box<dyn Future<Output = Result<Reply, ApiError>>>>;

//! The id of a request, and the route that answers it, for the log and the metrics.

use std::{cell::Cell, fmt, rc::Rc, sync::Arc};

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::header::{HeaderName, HeaderValue},
};

/// Header of the id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: the caller's own if it is usable, else a new UUID (HTTP contract 1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

/// Data of a request for the log and the metrics.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    /// Its id.
    pub(super) id: RequestId,
    /// The path of its route, once that is known.
    pub(super) route: Rc<Cell<Option<&'static str>>>,
}

/// Says which path of the route table answers the request.
pub fn routed(request: &HttpRequest, path: &'static str) {
    if let Some(trace) = request.extensions().get::<Trace>() {
        trace.route.set(Some(path));
    }
}

/// The path of the route table that answers the request; none outside of [`observe`](super::observe).
pub fn route_of(request: &HttpRequest) -> Option<&'static str> {
    request.extensions().get::<Trace>().and_then(|trace| trace.route.get())
}

impl RequestId {
    /// A new id.
    pub(super) fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as the value of a header.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }

    /// The id that [`observe`](super::observe) gave the request; empty outside of it.
    #[must_use]
    pub fn from_request(request: &HttpRequest) -> String {
        request.extensions().get::<Trace>().map(|trace| trace.id.to_string()).unwrap_or_default()
    }

    /// The id that the caller gave, if it is usable.
    pub(super) fn from_header(value: Option<&HeaderValue>) -> Option<Self> {
        let text = value?.to_str().ok()?;
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        fits.then(|| Self(text.into()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

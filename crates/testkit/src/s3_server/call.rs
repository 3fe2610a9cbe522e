//! A request to the store.

use hyper::{Request, header::HeaderMap};

/// A request that the store got.
#[derive(Debug, Clone)]
pub struct S3Call {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Path, percent-encoded.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    headers: HeaderMap,
}

impl S3Call {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
        }
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a parameter of the query, percent-encoded; empty if it has none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Returns true for the upload of a part.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.method == "PUT" && self.parameter("partNumber").is_some()
    }
}

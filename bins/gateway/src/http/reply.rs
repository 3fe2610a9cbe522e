//! Successful answers.

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use serde::Serialize;

use super::{catalogue, error::ApiError};

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    /// A JSON body. Amounts keep their exact text: nothing passes through a JSON tree.
    ///
    /// # Errors
    /// 500 when the value cannot be serialized, a fault of ours.
    pub fn json(value: &impl Serialize) -> Result<Self, ApiError> {
        match serde_json::to_vec(value) {
            Ok(body) => Ok(Self::of("application/json", body)),
            Err(error) => {
                tracing::error!(error = %error, "an answer cannot be serialized");
                Err(ApiError::new(&catalogue::INTERNAL))
            }
        }
    }

    /// A body of another type.
    #[must_use]
    pub fn of(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: body.into(),
            headers: Vec::new(),
        }
    }

    /// The same answer with another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same answer with a further header. A value that no header may hold is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.headers.push((name, value)),
            Err(error) => tracing::error!(error = %error, header = %name, "a header value cannot be sent"),
        }
        self
    }

    /// The cursor of the next page, if there is one.
    #[must_use]
    pub fn next_cursor(self, cursor: Option<String>) -> Self {
        match cursor {
            Some(cursor) => self.header(HeaderName::from_static("x-next-cursor"), &cursor),
            None => self,
        }
    }

    /// The response for actix.
    #[must_use]
    pub fn respond(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, self.content_type));
        for header in self.headers {
            response.insert_header(header);
        }
        response.body(self.body)
    }
}

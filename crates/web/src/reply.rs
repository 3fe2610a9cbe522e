//! Successful answers.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody, SizedStream},
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;
use futures_util::Stream;
use serde::Serialize;

use super::{
    catalogue,
    error::{ApiError, IDEMPOTENCY_REPLAYED},
    expect::GoOn,
};

/// Largest piece of a body that is handed to the HTTP library at once, in bytes.
const SLICE_BYTES: usize = 32 * 1024;

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Body,
    headers: Vec<(HeaderName, HeaderValue)>,
    goes_on: Option<GoOn>,
}

/// The content.
enum Body {
    Whole(Bytes),
    Stream(Pieces),
    Sized(u64, Pieces),
}

/// A body that is made while it is sent.
type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>>>>;

/// A body that cannot be sent to its end. The connection is broken then; why was logged before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off")]
pub struct BrokenOff;

/// Marks a response whose body is made while it is sent, and takes as long as its client does.
#[derive(Debug, Clone, Copy)]
pub struct Streamed;

/// Marks a response whose bytes must reach the client as they are.
#[derive(Debug, Clone, Copy)]
pub struct Exact;

impl Reply {
    /// A JSON body. Amounts keep their exact text: nothing passes through a JSON tree.
    ///
    /// # Errors
    /// 500 when the value cannot be serialized, a fault of ours.
    pub fn json(value: &impl Serialize) -> Result<Self, ApiError> {
        match serde_json::to_vec(value) {
            Ok(body) => Ok(Self::new("application/json", body)),
            Err(error) => {
                tracing::error!(error = %error, "an answer cannot be serialized");
                Err(ApiError::new(&catalogue::INTERNAL))
            }
        }
    }

    /// A body of another type.
    #[must_use]
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: Body::Whole(body.into()),
            headers: Vec::new(),
            goes_on: None,
        }
    }

    /// The same answer, marked as one that is not sent: the request may go on.
    #[must_use]
    pub fn marked(self, mark: GoOn) -> Self {
        Self { goes_on: Some(mark), ..self }
    }

    /// A body that is made while it is sent, piece by piece as the client takes it. The time limit of requests does not count
    /// for it: what it waits for needs limits of its own.
    #[must_use]
    pub fn stream(
        content_type: &'static str,
        body: impl Stream<Item = Result<Bytes, BrokenOff>> + 'static,
    ) -> Self {
        Self { body: Body::Stream(Box::pin(body)), ..Self::new(content_type, Bytes::new()) }
    }

    /// As [`Reply::stream`], with a length that is known: the body has exactly so many bytes. Never compressed.
    #[must_use]
    pub fn sized_stream(
        content_type: &'static str,
        length: u64,
        body: impl Stream<Item = Result<Bytes, BrokenOff>> + 'static,
    ) -> Self {
        Self { body: Body::Sized(length, Box::pin(body)), ..Self::new(content_type, Bytes::new()) }
    }

    /// The same answer with another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same answer, marked as that to a repeat under the same key if it is one.
    #[must_use]
    pub fn with_replay_header(self, is_repeat: bool) -> Self {
        if is_repeat { self.header(IDEMPOTENCY_REPLAYED, "true") } else { self }
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
        if let Some(mark) = self.goes_on {
            response.extensions_mut().insert(mark);
        }
        match self.body {
            Body::Whole(body) if body.len() > SLICE_BYTES => response.body(Slices(body)),
            Body::Whole(body) => response.body(body),
            Body::Stream(body) => {
                let mut response = response.streaming(body);
                response.extensions_mut().insert(Streamed);
                response
            }
            Body::Sized(length, body) => {
                let mut response = response.body(SizedStream::new(length, body));
                response.extensions_mut().insert(Streamed);
                response.extensions_mut().insert(Exact);
                response
            }
        }
    }
}

/// A large body, handed over in pieces: the HTTP library copies each piece, and keeps the copy until the client takes it.
struct Slices(Bytes);

impl MessageBody for Slices {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(u64::try_from(self.0.len()).unwrap_or(u64::MAX))
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.0.len().min(SLICE_BYTES);
        let piece = self.0.split_to(length);
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => body.fmt(f),
            Self::Stream(_) | Self::Sized(..) => f.write_str("Stream"),
        }
    }
}

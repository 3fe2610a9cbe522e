//! The body of an answer: bounded in time and size.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use reqwest::{Response, header};
use tokio::time::timeout;

use crate::{CompletionRequest, UpstreamError};

/// Most bytes of one event of a stream.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of an answer that is sent as a whole: at most 16 a token (HTTP contract 9.1), each written as six (`\u0000`).
const WHOLE_BYTES_PER_TOKEN: usize = 96;
/// Bytes of a stream: an event a token, which repeats the names of the model and of the reply.
const STREAM_BYTES_PER_TOKEN: usize = 4 * 1024;

/// The most that is read of an answer, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) whole_max: usize,
    pub(super) stream_max: usize,
}

/// The body of an answer.
pub(super) struct UpstreamBody {
    response: Response,
    pause_max: Duration,
    bounds: Bounds,
}

/// The bytes of a stream of events.
struct EventBytes {
    body: UpstreamBody,
    first: Option<Bytes>,
    read_bytes: usize,
    event: EventSize,
}

/// The size of the event to which the next byte belongs.
#[derive(Debug, Default)]
struct EventSize {
    bytes: usize,
    is_in_line: bool,
    is_after_cr: bool,
}

impl Bounds {
    /// The bounds of the answer to a request.
    pub(super) fn of(request: &CompletionRequest) -> Self {
        let tokens = usize::try_from(request.max_tokens).unwrap_or(usize::MAX);
        let bytes = |per_token: usize| EVENT_BYTES_MAX.saturating_add(tokens.saturating_mul(per_token));
        Self { whole_max: bytes(WHOLE_BYTES_PER_TOKEN), stream_max: bytes(STREAM_BYTES_PER_TOKEN) }
    }
}

impl UpstreamBody {
    pub(super) fn new(response: Response, pause_max: Duration, bounds: Bounds) -> Self {
        Self { response, pause_max, bounds }
    }

    /// Returns true if the body has this media type, whatever its parameters.
    pub(super) fn is(&self, media_type: &str) -> bool {
        let value = self.response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(media_type)
    }

    /// All bytes.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, UpstreamError> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            if whole.len().saturating_add(bytes.len()) > self.bounds.whole_max {
                return Err(UpstreamError::TooLarge);
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }

    /// The bytes of a stream of events, as they arrive. Nothing if there are none.
    pub(super) async fn events(
        mut self,
    ) -> Result<Option<impl Stream<Item = Result<Bytes, UpstreamError>>>, UpstreamError> {
        let Some(first) = self.chunk().await? else { return Ok(None) };
        let bytes = EventBytes { body: self, first: Some(first), read_bytes: 0, event: EventSize::default() };
        Ok(Some(stream::try_unfold(bytes, |mut bytes| async move {
            Ok(bytes.next().await?.map(|chunk| (chunk, bytes)))
        })))
    }

    /// The time-out of reqwest would also count the time in which nobody reads.
    async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            let chunk = timeout(self.pause_max, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| UpstreamError::TimedOut)?.map_err(|error| {
                if error.is_timeout() { UpstreamError::TimedOut } else { UpstreamError::Broken }
            })?;
            if chunk.as_ref().is_none_or(|bytes| !bytes.is_empty()) {
                return Ok(chunk);
            }
        }
    }
}

impl EventBytes {
    async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let chunk = match self.first.take() {
            Some(first) => first,
            None => match self.body.chunk().await? {
                Some(chunk) => chunk,
                None => return Ok(None),
            },
        };
        self.read_bytes = self.read_bytes.saturating_add(chunk.len());
        if self.read_bytes > self.body.bounds.stream_max || self.event.largest_after(&chunk) > EVENT_BYTES_MAX
        {
            return Err(UpstreamError::TooLarge);
        }
        Ok(Some(chunk))
    }
}

impl EventSize {
    /// Counts bytes, and returns the greatest size of an event in it. An event ends with an empty line.
    fn largest_after(&mut self, bytes: &[u8]) -> usize {
        let mut largest = self.bytes;
        for byte in bytes {
            match byte {
                b'\n' if self.is_after_cr => self.is_after_cr = false,
                b'\n' | b'\r' => {
                    if !self.is_in_line {
                        self.bytes = 0;
                    }
                    self.is_in_line = false;
                    self.is_after_cr = *byte == b'\r';
                }
                _ => {
                    self.bytes = self.bytes.saturating_add(1);
                    self.is_in_line = true;
                    self.is_after_cr = false;
                    largest = largest.max(self.bytes);
                }
            }
        }
        largest
    }
}

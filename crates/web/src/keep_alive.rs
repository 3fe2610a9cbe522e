//! Decision whether a connection goes on after an answer: the outermost middleware.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::{ConnectionType, Version};
use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    middleware::Next,
    web::Bytes,
};
use futures_util::{FutureExt as _, Stream, StreamExt as _};

use super::{
    connection::{Answering, LINGER, Line},
    reply::Streamed,
    stream_end::StreamEnd,
};

/// Most bytes of an unwanted body that are read to keep the connection.
const DRAINED_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a body that are taken from the library before somebody reads them.
const AHEAD_BYTES_MAX: usize = 32 * 1024;

/// Ends the connection with the answer if the client asked for it, or if a part of the body is still to come: nobody could tell
/// where the next request begins. Nothing is done for requests after such an answer.
///
/// # Errors
/// What the inner layers raise.
pub async fn keep_alive(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(line) = request.conn_data::<Rc<Line>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    if line.is_closing() {
        line.overrun();
        // The connection is shut for sending meanwhile, and this answer never reaches it.
        let evicted = evicted(&line);
        let _ended = tokio::time::timeout(LINGER, evicted).await;
        return Ok(request.into_response(HttpResponse::BadRequest().finish().map_into_boxed_body()));
    }
    if evicted(&line).now_or_never().is_some() {
        line.abort();
        return Ok(request.into_response(HttpResponse::BadRequest().finish().map_into_boxed_body()));
    }
    let answering = line.answer();
    let is_last = request.head().connection_type() == ConnectionType::Close;
    let is_chunked = request.chunked().unwrap_or(false);
    let incoming = Incoming::from_request(&mut request);
    if let Some(incoming) = &incoming {
        request.extensions_mut().insert(incoming.clone());
    }
    let outcome = next.call(request).await;
    let is_whole = match incoming {
        Some(incoming) => {
            let is_whole = incoming.clone().drain().await;
            if !is_chunked {
                line.body_ended(incoming.0.end.take());
            }
            is_whole
        }
        None => true,
    };
    let mut response = match outcome {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) => {
            line.close();
            return Err(error);
        }
    };
    // The library has to see that nobody reads the body any more.
    response.request().extensions_mut().remove::<Incoming>();
    let head = response.response_mut().head_mut();
    // The library takes heads from a pool, with the version of an earlier answer in them, and sets the version only when it
    // sends them. With this one, the connection type is what the flags of this head say.
    head.version = Version::HTTP_11;
    if is_last || !is_whole {
        head.set_connection_type(ConnectionType::Close);
    }
    if head.connection_type() == ConnectionType::Close {
        line.close();
    }
    if response.response().extensions().contains::<Streamed>() {
        return Ok(response.map_body(|_, body| BoxBody::new(Held { body, failed: None, answering })));
    }
    Ok(response)
}

/// Ends when the connection has to make room for another one.
async fn evicted(line: &Line) {
    poll_fn(|context| match line.is_evicted(context) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// The body of a request that has one, shared by its reader, by this middleware and by [`Incoming::poll_failed`].
#[derive(Clone)]
pub struct Incoming(Rc<Shared>);

/// A body that broke off or is malformed.
#[derive(Debug, Clone, Copy)]
pub struct Failed {
    /// Number of bytes before it.
    pub after_bytes: usize,
}

struct Shared {
    payload: RefCell<Payload>,
    /// Bytes taken from the library and not read yet.
    ahead: RefCell<VecDeque<Bytes>>,
    /// Number of bytes the library handed over.
    bytes: Cell<usize>,
    has_ended: Cell<bool>,
    /// It broke off, or is malformed.
    has_failed: Cell<bool>,
    /// The last bytes of what was read of it.
    end: RefCell<StreamEnd>,
}

impl Incoming {
    fn from_request(request: &mut ServiceRequest) -> Option<Self> {
        let payload = request.take_payload();
        if matches!(payload, Payload::None) {
            return None;
        }
        let incoming = Self(Rc::new(Shared {
            payload: RefCell::new(payload),
            ahead: RefCell::default(),
            bytes: Cell::new(0),
            has_ended: Cell::new(false),
            has_failed: Cell::new(false),
            end: RefCell::default(),
        }));
        request.set_payload(Payload::Stream { payload: Box::pin(incoming.clone()) });
        Some(incoming)
    }

    /// Waits until the body fails, while nothing reads it.
    ///
    /// The library closes a connection with a malformed body as soon as the answer is pending, so the answer has to be there
    /// when the fault is found.
    pub fn poll_failed(&self, context: &mut Context<'_>) -> Poll<Failed> {
        let mut ahead = self.0.ahead.borrow_mut();
        let mut bytes: usize = ahead.iter().map(Bytes::len).sum();
        while bytes < AHEAD_BYTES_MAX && !self.0.has_ended.get() && !self.0.has_failed.get() {
            match self.poll_library(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    bytes = bytes.saturating_add(chunk.len());
                    ahead.push_back(chunk);
                }
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        self.failed().map_or(Poll::Pending, Poll::Ready)
    }

    /// The failure of the body, if it was found.
    #[must_use]
    pub fn failed(&self) -> Option<Failed> {
        let after_bytes = self.0.bytes.get();
        self.0.has_failed.get().then_some(Failed { after_bytes })
    }

    /// The next part from the library. Not to be asked after the end or a failure.
    fn poll_library(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let mut payload = self.0.payload.borrow_mut();
        let next = ready!(Pin::new(&mut *payload).poll_next(context));
        match &next {
            Some(Ok(chunk)) => {
                self.0.bytes.set(self.0.bytes.get().saturating_add(chunk.len()));
                self.0.end.borrow_mut().push(chunk);
            }
            Some(Err(_)) => self.0.has_failed.set(true),
            None => self.0.has_ended.set(true),
        }
        Poll::Ready(next)
    }

    /// Reads what is there of an unwanted rest. Whether the body has ended.
    async fn drain(mut self) -> bool {
        if self.0.has_failed.get() {
            return false;
        }
        if poll_fn(|context| Poll::Ready(self.poll_failed(context).is_ready())).await {
            return false;
        }
        if !self.0.has_ended.get() {
            // The library hands over what it has of the body only after it was told to wait.
            tokio::task::yield_now().await;
        }
        let mut drained = 0_usize;
        self.0.ahead.borrow_mut().clear();
        while !self.0.has_ended.get() && drained < DRAINED_BYTES_MAX {
            match self.next().now_or_never() {
                Some(Some(Ok(chunk))) => drained = drained.saturating_add(chunk.len()),
                Some(Some(Err(_))) | None => break,
                Some(None) => {}
            }
        }
        self.0.has_ended.get()
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(chunk) = self.0.ahead.borrow_mut().pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        match (self.0.has_failed.get(), self.0.has_ended.get()) {
            (true, _) => Poll::Ready(Some(Err(PayloadError::Incomplete(None)))),
            (false, true) => Poll::Ready(None),
            (false, false) => self.poll_library(context),
        }
    }
}

/// A body that is made while it is sent; its connection is busy until it ends.
///
/// When it fails, the library drops the connection with everything that the client has not taken yet. So the failure waits
/// until the bytes before it are with the kernel.
struct Held {
    body: BoxBody,
    /// The failure, and the number of flushes before it.
    failed: Option<(<BoxBody as MessageBody>::Error, u64)>,
    answering: Answering,
}

impl MessageBody for Held {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        let line = this.answering.line();
        if this.failed.is_none() {
            match ready!(Pin::new(&mut this.body).poll_next(context)) {
                Some(Err(error)) => this.failed = Some((error, line.flushes())),
                next => return Poll::Ready(next),
            }
        }
        if let Some((_, flushes)) = this.failed {
            ready!(line.poll_flushed(flushes, context));
        }
        Poll::Ready(this.failed.take().map(|(error, _)| Err(error)))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::BodyStream;
    use futures_util::stream;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::{connection::tests::pair, reply::BrokenOff};

    #[tokio::test]
    async fn a_body_fails_when_its_bytes_are_with_the_kernel() {
        let (mut connection, _client, _open) = pair().await;
        let pieces = stream::iter([Ok(Bytes::from_static(b"last line")), Err(BrokenOff)]);
        let body = BoxBody::new(BodyStream::new(pieces));
        let answering = connection.line().answer();
        let mut held = Box::pin(Held { body, failed: None, answering });
        let mut next = async || poll_fn(|context| held.as_mut().poll_next(context)).await;
        assert_eq!(next().await.unwrap().unwrap(), "last line");
        assert!(next().now_or_never().is_none(), "it is not flushed");
        connection.flush().await.unwrap();
        assert!(next().await.unwrap().is_err());
    }
}

//! Whether a connection goes on after an answer: the outermost middleware.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::ConnectionType;
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
        line.give_up();
        return Ok(request.into_response(HttpResponse::BadRequest().finish().map_into_boxed_body()));
    }
    let answering = line.answer();
    let is_last = request.head().connection_type() == ConnectionType::Close;
    let is_chunked = request.chunked().unwrap_or(false);
    let incoming = Incoming::of(&mut request);
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
    let head = response.response_mut().head_mut();
    if is_last || !is_whole {
        head.set_connection_type(ConnectionType::Close);
    }
    if head.connection_type() == ConnectionType::Close {
        line.close();
    }
    if response.response().extensions().contains::<Streamed>() {
        return Ok(response.map_body(|_, body| {
            BoxBody::new(Held {
                body,
                _answering: answering,
            })
        }));
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

/// The body of a request that has one, shared by its reader and by this middleware.
#[derive(Clone)]
struct Incoming(Rc<Shared>);

struct Shared {
    payload: RefCell<Payload>,
    has_ended: Cell<bool>,
    /// It broke off, or is no body at all.
    has_failed: Cell<bool>,
    /// The last bytes of what was read of it.
    end: RefCell<StreamEnd>,
}

impl Incoming {
    fn of(request: &mut ServiceRequest) -> Option<Self> {
        let payload = request.take_payload();
        if matches!(payload, Payload::None) {
            return None;
        }
        let incoming = Self(Rc::new(Shared {
            payload: RefCell::new(payload),
            has_ended: Cell::new(false),
            has_failed: Cell::new(false),
            end: RefCell::default(),
        }));
        request.set_payload(Payload::Stream {
            payload: Box::pin(incoming.clone()),
        });
        Some(incoming)
    }

    /// Reads what is there of an unwanted rest. Whether the body has ended.
    async fn drain(mut self) -> bool {
        if self.0.has_failed.get() {
            return false;
        }
        if !self.0.has_ended.get() {
            // The library hands over what it has of the body only after it was told to wait.
            tokio::task::yield_now().await;
        }
        let mut drained = 0_usize;
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
        let mut payload = self.0.payload.borrow_mut();
        let next = ready!(Pin::new(&mut *payload).poll_next(context));
        match &next {
            Some(Ok(chunk)) => self.0.end.borrow_mut().push(chunk),
            Some(Err(_)) => self.0.has_failed.set(true),
            None => self.0.has_ended.set(true),
        }
        Poll::Ready(next)
    }
}

/// A body that is made while it is sent; its connection is busy until it ends.
struct Held {
    body: BoxBody,
    _answering: Answering,
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
        Pin::new(&mut self.body).poll_next(context)
    }
}

//! A body that is made while it is sent, watched to its end: only then it is known what became of the request.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

use super::passage::{Answer, Passage};

/// The same body, which tells log and metrics about its request when it ends. Until then the request is in flight.
pub(super) fn watched(body: BoxBody, passage: Passage, answer: Answer) -> BoxBody {
    BoxBody::new(Watched { body, passage, answer, end: End::HungUp })
}

struct Watched {
    body: BoxBody,
    passage: Passage,
    answer: Answer,
    end: End,
}

/// The end of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was sent whole.
    Whole,
    /// It could not be made.
    Broken,
    /// Nobody wanted the rest.
    HungUp,
}

impl MessageBody for Watched {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_next(context));
        match &next {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.end = End::Broken,
            None => self.end = End::Whole,
        }
        Poll::Ready(next)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        match self.end {
            End::Whole => {
                self.passage.answered();
                self.answer.record();
            }
            End::Broken => {
                self.passage.answered();
                self.answer.record_broken();
            }
            End::HungUp => self.passage.hung_up_within(),
        }
    }
}

//! A body that is made a page at a time, each only when the client has taken the one before.
//!
//! A page that fails ends the body with an error, which breaks the connection: no client takes a part for the whole. Proxies that
//! speak HTTP/1.0 hide that, so the last line says it too.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use pg::{DbError, pool::chain};

use super::{
    error::{Answered as _, ApiError},
    reply::BrokenOff,
};

/// Where pages come from.
pub(crate) trait Pages: 'static {
    /// The next page; `None` after the last one.
    async fn page(&mut self) -> Result<Option<Vec<u8>>, PageError>;

    /// The last line of a body that breaks off.
    fn broken_off(&self) -> &'static str;
}

/// Why there is no further page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// The database cannot be asked.
    #[error("records cannot be read")]
    Database(#[from] DbError),
    /// The rest was deleted meanwhile.
    #[error(transparent)]
    Dropped(#[from] usage::RecordsDropped),
    /// A value cannot be written in the format.
    #[error("a page cannot be written")]
    Unwritable(#[source] Box<dyn Error + Send + Sync>),
    /// The client took too long.
    #[error("the export took more than {} s", .0.as_secs())]
    Overdue(Duration),
    /// The database took too long.
    #[error("a page took more than {} s", .0.as_secs())]
    TooSlow(Duration),
}

/// Next step of the body.
enum Next<P> {
    Send(Bytes, P),
    Fetch(P),
    Break,
}

/// The body that begins with `first`; nothing is made for a request whose body is not asked for.
pub(crate) fn body<P: Pages>(
    first: Vec<u8>,
    pages: P,
    is_asked_for: bool,
) -> impl Stream<Item = Result<Bytes, BrokenOff>> + 'static {
    let next = is_asked_for.then(|| Next::Send(first.into(), pages));
    stream::unfold(next, step)
}

async fn step<P: Pages>(next: Option<Next<P>>) -> Option<(Result<Bytes, BrokenOff>, Option<Next<P>>)> {
    match next? {
        Next::Send(bytes, pages) => Some((Ok(bytes), Some(Next::Fetch(pages)))),
        Next::Fetch(mut pages) => match pages.page().await {
            Ok(Some(bytes)) => Some((Ok(bytes.into()), Some(Next::Fetch(pages)))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "an export broke off");
                Some((Ok(Bytes::from_static(pages.broken_off().as_bytes())), Some(Next::Break)))
            }
        },
        Next::Break => Some((Err(BrokenOff), None)),
    }
}

impl PageError {
    /// The answer when nothing was sent yet.
    pub(crate) fn answered(self) -> ApiError {
        match self {
            Self::Database(error) => ApiError::answered(error),
            Self::Unwritable(_) => {
                tracing::error!(error = %chain(&self), "an export cannot be written");
                ApiError::new(&super::catalogue::INTERNAL)
            }
            Self::Dropped(_) | Self::Overdue(_) | Self::TooSlow(_) => {
                tracing::warn!(error = %chain(&self), "an export could not begin");
                ApiError::unavailable()
            }
        }
    }
}

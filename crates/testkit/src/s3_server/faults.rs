//! Faults of the store.

use std::{fmt, sync::Arc};

use super::call::S3Call;

/// A deviation from a healthy store.
#[derive(Debug, Clone)]
pub enum S3Fault {
    /// Answers with a status and an error code of S3, in XML.
    Error(u16, &'static str),
    /// Answers with a status and an HTML page.
    Html(u16, &'static str),
    /// Answers with a redirect to this address.
    Redirect(&'static str),
    /// Waits for [`release`](super::S3Server::release), then answers as ever.
    Pause,
    /// Takes the request and never answers.
    Silence,
    /// Does what was asked, and closes the connection instead of answering.
    LoseAnswer,
    /// Closes the connection.
    HangUp,
}

type Choose = dyn Fn(&S3Call) -> Option<S3Fault> + Send + Sync;

/// The fault of each request.
#[derive(Clone)]
pub(super) struct Rule(Arc<Choose>);

impl Rule {
    pub(super) fn new(choose: impl Fn(&S3Call) -> Option<S3Fault> + Send + Sync + 'static) -> Self {
        Self(Arc::new(choose))
    }

    pub(super) fn fault(&self, call: &S3Call) -> Option<S3Fault> {
        (self.0)(call)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule")
    }
}

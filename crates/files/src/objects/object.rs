//! An object of a list, and the link of an upload.

use std::fmt;

use time::OffsetDateTime;
use url::Url;

/// An object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key. In a folder also of what a writing has left, or is still writing: such a key has a `#`.
    pub key: String,
    /// When it was written; by the clock of the store.
    pub modified: OffsetDateTime,
}

/// A link with which a client uploads one object.
#[derive(Clone)]
pub struct SignedPut {
    /// The link; its holder may upload.
    pub url: Url,
    /// Headers that the client must send as they are. Its `Content-Length`, which every client sends, is bound too.
    pub headers: Vec<(&'static str, String)>,
}

impl fmt::Debug for SignedPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedPut").field("headers", &self.headers).finish_non_exhaustive()
    }
}

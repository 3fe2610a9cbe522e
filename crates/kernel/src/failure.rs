//! Kinds of failures, without HTTP.

use time::OffsetDateTime;

use crate::{Credits, Usd};

/// The class of a failure. The gateway turns it into a status, in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request does not have the right shape.
    Invalid,
    /// A decided "no": the rules of the business refuse.
    Refused,
    /// The caller is not known.
    Unauthenticated,
    /// The caller is known, but may not.
    Forbidden,
    /// No such thing.
    NotFound,
    /// The thing is in another state than the request needs.
    Conflict,
    /// The request is too large.
    TooLarge,
    /// The request is of a type that is not served.
    Unsupported,
    /// Too many of something at once.
    TooMany,
    /// Somebody else's service failed.
    Upstream,
    /// Not possible at this moment; surely not done, or marked as of unknown outcome.
    Unavailable,
    /// A fault of ours.
    Internal,
}

/// A fact about a failure that a client may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// An amount of credits.
    Credits(Credits),
    /// An amount of dollars.
    Usd(Usd),
    /// An instant.
    Time(OffsetDateTime),
}

/// An error that knows its place in the catalogue of error codes.
pub trait Failure: std::error::Error {
    /// The stable code, as the HTTP contract lists it (1.6), for example `InsufficientCreditsException`.
    fn code(&self) -> &'static str;

    /// The class of the failure.
    fn kind(&self) -> Kind;

    /// Facts for `error_details`, which also fill the gaps of the public text.
    fn details(&self) -> Vec<(&'static str, Detail)> {
        Vec::new()
    }
}

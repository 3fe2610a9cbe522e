//! Requests with a key, and the answers that are stored for them.

use kernel::{CallerClass, IdempotencyKey, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::KeyConflict;

/// A request that carries a key, and who sent it: the scope of the key is the user and the class of the caller.
#[derive(Debug, Clone, Copy)]
pub struct KeyedRequest<'a> {
    /// The user acted upon.
    pub user_id: &'a UserId,
    /// The key, with the fingerprint of the request.
    pub key: &'a IdempotencyKey,
    /// The class of the caller.
    pub caller: CallerClass,
}

/// Origin of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replay {
    /// It is new.
    First,
    /// The same request was answered before under the same key: this is the first answer.
    ByKey,
}

/// Reference to the effect of a request. It is stored for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Identity of what was done: the ledger transaction, where it moved credit.
    pub transaction_id: Uuid,
    /// The usage record that was written, or shown.
    pub usage_record_id: Option<i64>,
}

/// The first answer to a request, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// When it was decided.
    pub at: OffsetDateTime,
    /// The effect of the request; `None` for a refusal.
    pub link: Option<Link>,
    /// The answer: a JSON object with the version of its form. This crate does not read it.
    pub json: String,
}

/// The first answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The class of the caller; `None` if an earlier version stored it, which knew no classes.
    pub(crate) caller: Option<CallerClass>,
    pub(crate) fingerprint: Vec<u8>,
    /// Time of the decision.
    pub at: OffsetDateTime,
    /// The stored content.
    pub content: Content,
}

/// The stored content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of it: the JSON, and what the request did.
    Whole {
        /// The JSON.
        json: String,
        /// The effect of the request; `None` for a refusal.
        link: Option<Link>,
    },
    /// Only what the request did: the answer is older than answers are kept.
    Pruned(Link),
}

/// Status of the key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus<'a> {
    /// It was not used before.
    New,
    /// The same request was answered in an earlier transaction.
    Answered(&'a StoredAnswer),
    /// The same request stands earlier in the batch, at this place.
    InBatch(usize),
    /// Another request has used it.
    Conflict(KeyConflict),
}

/// Numbers of pruned rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Refusals, which are gone: the same key is new from now on.
    pub refusals: usize,
    /// Answers of successes, whose keys and links stay for ever.
    pub successes: usize,
}

//! The state that the operations of a batch share: while they are decided, and when everything is saved.

use std::{any::Any, sync::Arc};

use idempotency::Keys;
use kernel::UserId;
use pg::DbError;
use sessions::{Message, NewMessage, SessionRefusal};
use time::OffsetDateTime;
use usage::{Record, Recording, rating::PriceBook};

use crate::{
    answers::{Books, Records, Wanted},
    audited::LedgerEvent,
    caller::CallerStatuses,
};

/// Operations while they are decided, one after the other in memory.
pub(crate) struct UnitOfWork<'a> {
    pub(crate) callers: CallerStatuses,
    pub(crate) ledger: Option<credits::Deciding<'a>>,
    pub(crate) usage: Option<(Recording, Arc<PriceBook>)>,
    pub(crate) originals: Records,
    pub(crate) keys: Keys,
    /// Messages to be added.
    pub(crate) messages: Vec<NewMessage>,
    /// Rows that answers show.
    pub(crate) wanted: Wanted,
    /// Events of the commands so far for the audit log.
    pub(crate) audit_events: Vec<LedgerEvent>,
    /// Place of the operation that is being decided.
    pub(crate) place: usize,
}

impl<'a> UnitOfWork<'a> {
    /// The ledger, for an operation that needs it.
    pub(crate) fn ledger(&mut self) -> Result<&mut credits::Deciding<'a>, DbError> {
        self.ledger.as_mut().ok_or_else(missing)
    }

    /// The usage records, for an operation that adds some.
    pub(crate) fn recording(&mut self) -> Result<&mut Recording, DbError> {
        self.usage.as_mut().map(|(recording, _)| recording).ok_or_else(missing)
    }

    /// The prices, likewise.
    pub(crate) fn prices(&self) -> Result<Arc<PriceBook>, DbError> {
        self.usage.as_ref().map(|(_, book)| Arc::clone(book)).ok_or_else(missing)
    }

    /// Returns whether a requested record is still there.
    pub(crate) fn has(&self, original: &Record) -> bool {
        self.originals.get(&original.user_id, original.id).is_some()
    }

    /// Time of a decision, by the clock of the account if the ledger takes part.
    pub(crate) fn at(&self, account: Option<&UserId>) -> Result<OffsetDateTime, DbError> {
        let by_ledger = account.and_then(|user_id| Some(self.ledger.as_ref()?.at(user_id)));
        let now = self.usage.as_ref().map(|(recording, _)| recording.now());
        by_ledger.or(now).ok_or_else(missing)
    }
}

fn missing() -> DbError {
    DbError::Inconsistent("an operation did not ask for what it uses".to_owned())
}

/// Everything that was saved or read, for answers.
pub(crate) struct Saved<'a> {
    /// The answer of an earlier operation, by its place.
    pub(crate) earlier: Box<dyn Fn(usize) -> Option<Box<dyn Any>> + Send + 'a>,
    pub(crate) ledger: Vec<Option<credits::Outcome>>,
    pub(crate) messages: Vec<Option<Result<Message, SessionRefusal>>>,
    /// Rows of the ledger for repeats.
    pub(crate) books: Books,
    /// Usage records as they are stored.
    pub(crate) records: Records,
}

impl Saved<'_> {
    /// The outcome of a command of the ledger, by its number in the unit of work. It can be taken once.
    pub(crate) fn ledger(&mut self, place: usize) -> Result<credits::Outcome, DbError> {
        self.ledger.get_mut(place).and_then(Option::take).ok_or_else(missing)
    }

    /// The outcome of a message, likewise.
    pub(crate) fn message(&mut self, place: usize) -> Result<Result<Message, SessionRefusal>, DbError> {
        self.messages.get_mut(place).and_then(Option::take).ok_or_else(missing)
    }

    /// The answer of an earlier operation of the same kind.
    pub(crate) fn answer_at<T: 'static>(&self, place: usize) -> Result<T, DbError> {
        let answer = (self.earlier)(place).and_then(|answer| answer.downcast().ok());
        answer.map(|answer| *answer).ok_or_else(missing)
    }
}

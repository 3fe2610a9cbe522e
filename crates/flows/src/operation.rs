//! An operation in three steps: what it needs, what it decides, what it answers.

use std::fmt;

use credits::PlainCharge;
use idempotency::{KeyConflict, KeyStatus, KeyedRequest, NewAnswer, Replay, StoredAnswer};
use identity::UserStatus;
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;
use usage::Record;
use uuid::Uuid;

use crate::{
    answers::Wanted,
    caller::CallerCheck,
    unit_of_work::{Saved, UnitOfWork},
};

/// The outcome of an operation that may have an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<T, E> {
    /// The success, or the reason for the refusal.
    pub result: Result<T, E>,
    /// Time of the decision. A repeat has that of the first answer.
    pub at: OffsetDateTime,
    /// Shows whether this is the answer to a repeat under the same key.
    pub replay: Replay,
}

/// One change that a caller waits for, in three steps: what it needs, what it decides, what it answers.
pub(crate) trait Operation: fmt::Debug + Send + Sync + 'static {
    /// The answer to the caller.
    type Outcome: Clone + Send + 'static;
    /// The decision, before the unit of work is saved.
    type Decided: Send;

    /// The rows that must be locked and read before the decision.
    fn needs(&self) -> Needs<'_>;

    /// Decides it in memory, after the operations before it. `status` is that of the caller, if it was asked for.
    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<Self::Decided, DbError>;

    /// The answer, after everything is saved; the commit follows.
    fn answer(&self, decided: Self::Decided, saved: &mut Saved<'_>) -> Result<Self::Outcome, DbError>;

    /// The charge, if the operation is nothing else.
    fn plain_charge(&self) -> Option<PlainCharge<'_>> {
        None
    }

    /// The answer to an operation whose plain charge has this outcome.
    fn charged(&self, _outcome: credits::Outcome) -> Option<Self::Outcome> {
        None
    }
}

/// Needs of an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// Its subject. Operations on the same subject keep their order.
    pub(crate) subject: Subject<'a>,
    /// A check of the caller, who acts for themselves.
    pub(crate) caller: Option<(&'a UserId, CallerCheck)>,
    /// The idempotency key of the request.
    pub(crate) key: Option<KeyedRequest<'a>>,
    /// Commands that name everything which the ledger has to lock and read.
    pub(crate) ledger: &'a [credits::Command],
    /// Most usage records that it adds.
    pub(crate) records: usize,
    /// Events of the user that must be looked up.
    pub(crate) events: &'a [String],
    /// A record of the user that must still be there.
    pub(crate) original: Option<&'a Record>,
    /// Length of its free texts, in bytes.
    pub(crate) bytes: usize,
}

/// Subject of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// The account and records of a user.
    User(&'a UserId),
    /// A session.
    Session(Uuid),
}

impl<'a> Needs<'a> {
    /// An operation that needs nothing else.
    pub(crate) fn new(subject: Subject<'a>) -> Self {
        Self {
            subject,
            caller: None,
            key: None,
            ledger: &[],
            records: 0,
            events: &[],
            original: None,
            bytes: 0,
        }
    }
}

/// An operation whose request may have an idempotency key: under one it is done once (HTTP contract 1.11).
pub(crate) trait KeyedOperation: fmt::Debug + Send + Sync + 'static {
    /// The success.
    type Success: fmt::Debug + Clone + Send + 'static;
    /// The refusal.
    type Refusal: fmt::Debug + Clone + Send + From<KeyConflict> + 'static;
    /// As [`Operation::Decided`], of a request that is decided now or of the repeat of an earlier one.
    type Decided: Send;

    /// As [`Operation::needs`].
    fn needs(&self) -> Needs<'_>;

    /// As [`Operation::decide`], with the answer that is stored under the key: none for a refusal that is not remembered.
    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<(Self::Decided, Option<NewAnswer>), DbError>;

    /// Reads the stored answer to the first request, and notes which rows its repeat shows.
    fn repeat(&self, stored: &StoredAnswer, wanted: &mut Wanted) -> Result<Self::Decided, DbError>;

    /// As [`Operation::answer`], with the time of the decision.
    fn answer(
        &self,
        decided: Self::Decided,
        saved: &mut Saved<'_>,
    ) -> Result<Timed<Self::Success, Self::Refusal>, DbError>;

    /// As [`Operation::plain_charge`], without a key.
    fn plain_charge(&self) -> Option<PlainCharge<'_>> {
        None
    }

    /// As [`Operation::charged`].
    fn charged(&self, _outcome: credits::Outcome) -> Option<Timed<Self::Success, Self::Refusal>> {
        None
    }

    /// The success that a repeat shows if its first request is in the same unit of work.
    fn shown_again(&self, first: Self::Success) -> Self::Success {
        first
    }
}

/// A result, and the time of the decision.
pub(crate) type Timed<T, E> = (Result<T, E>, OffsetDateTime);

/// Decision by the key of an operation.
pub(crate) enum ByKey<D> {
    /// Nothing: it has none, or a new one.
    New(D),
    /// It is the repeat of a request that is stored.
    Repeat(D),
    /// It is the repeat of the operation at this place of the unit of work.
    SameAs(usize),
    /// Its key was used for another request.
    Conflict(KeyConflict, OffsetDateTime),
}

impl<O: KeyedOperation> Operation for O {
    type Outcome = Outcome<O::Success, O::Refusal>;
    type Decided = ByKey<O::Decided>;

    fn needs(&self) -> Needs<'_> {
        KeyedOperation::needs(self)
    }

    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<Self::Decided, DbError> {
        let needs = KeyedOperation::needs(self);
        let Some(request) = needs.key else {
            return Ok(ByKey::New(KeyedOperation::decide(self, status, unit)?.0));
        };
        Ok(match unit.keys.status(request) {
            KeyStatus::InBatch(place) => ByKey::SameAs(place),
            KeyStatus::Conflict(conflict) => {
                let account = needs.ledger.first().map(|command| &command.user_id);
                ByKey::Conflict(conflict, unit.at(account)?)
            }
            KeyStatus::Answered(stored) => ByKey::Repeat(self.repeat(stored, &mut unit.wanted)?),
            KeyStatus::New => {
                let (decided, answer) = KeyedOperation::decide(self, status, unit)?;
                if let Some(answer) = answer {
                    unit.keys.add(request, unit.place, answer);
                }
                ByKey::New(decided)
            }
        })
    }

    fn answer(&self, decided: Self::Decided, saved: &mut Saved<'_>) -> Result<Self::Outcome, DbError> {
        let (decided, replay) = match decided {
            ByKey::New(decided) => (decided, Replay::First),
            ByKey::Repeat(decided) => (decided, Replay::ByKey),
            ByKey::SameAs(place) => {
                let Outcome { result, at, .. }: Self::Outcome = saved.answer_at(place)?;
                let result = result.map(|first| self.shown_again(first));
                return Ok(Outcome { result, at, replay: Replay::ByKey });
            }
            ByKey::Conflict(conflict, at) => {
                return Ok(Outcome { result: Err(conflict.into()), at, replay: Replay::First });
            }
        };
        let (result, at) = KeyedOperation::answer(self, decided, saved)?;
        Ok(Outcome { result, at, replay })
    }

    fn plain_charge(&self) -> Option<PlainCharge<'_>> {
        KeyedOperation::plain_charge(self)
    }

    fn charged(&self, outcome: credits::Outcome) -> Option<Self::Outcome> {
        let (result, at) = KeyedOperation::charged(self, outcome)?;
        Some(Outcome { result, at, replay: Replay::First })
    }
}

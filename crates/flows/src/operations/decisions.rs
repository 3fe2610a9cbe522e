//! Decisions about the operations of a batch, one after the other in memory.

use std::{borrow::Cow, sync::Arc};

use idempotency::{KeyConflict, KeyStatus, Keys, Replay};
use kernel::Actor;
use pg::DbError;
use time::OffsetDateTime;
use usage::{Recording, rating::PriceBook};

use super::{Operation, Outcome};
use crate::{
    answers::{Books, Wanted},
    ledger::{self, LedgerOutcome, LedgerRepeat},
    metering::{self, Meterage, UsageRepeat},
    standing::Standings,
};

/// What becomes of an operation.
pub(super) enum Place {
    /// The outcome of this command of the ledger.
    Ledger(usize),
    /// This, for usage.
    Usage(Box<Meterage>),
    /// The next message.
    Message,
    /// The stored answer under its key, as soon as it is read.
    Repeat(Box<Repeat>),
    /// The stored answer to usage, with the record.
    FirstAnswer(Box<metering::FirstAnswer>),
    /// The outcome of an earlier operation of the batch, again.
    SameAs(usize),
    /// This.
    Done(Box<Outcome>),
}

/// The repeat of an operation whose answer is stored.
pub(super) enum Repeat {
    Ledger(LedgerRepeat),
    Usage(UsageRepeat),
}

/// The operations of a batch while they are decided.
pub(super) struct Decisions<'a> {
    pub(super) standings: Standings,
    pub(super) ledger: Option<credits::Deciding<'a>>,
    pub(super) recording: Option<(Recording, Arc<PriceBook>)>,
    pub(super) keys: Keys,
    pub(super) messages: Vec<sessions::NewMessage>,
    /// Rows that repeats need.
    pub(super) wanted: Wanted,
    /// By operation.
    pub(super) places: Vec<Place>,
}

impl<'a> Decisions<'a> {
    /// Decides the next operation.
    pub(super) fn add(&mut self, item: &'a Operation) -> Result<(), DbError> {
        let admitted = match item {
            Operation::Ledger(command, _, check) => self.standings.admit(&command.user_id, *check),
            Operation::Usage(metered, check) => self.standings.admit(&metered.input.user_id, *check),
            Operation::Message(_) => Ok(None),
        };
        let place = match admitted {
            Err(barred) => Place::Done(Box::new(Outcome::Barred(barred))),
            Ok(status) => match self.known(item)? {
                Some(place) => place,
                None => self.decide(item, status)?,
            },
        };
        self.places.push(place);
        Ok(())
    }

    /// The answer that the key of an operation decides: `None` without a key, or with a new one.
    fn known(&mut self, item: &Operation) -> Result<Option<Place>, DbError> {
        let Some(request) = item.keyed() else {
            return Ok(None);
        };
        if let Operation::Ledger(command, ..) = item
            && credits::core::check(&command.action).is_err()
        {
            // It is refused whatever its key was used for.
            return Ok(None);
        }
        Ok(match self.keys.status(request) {
            KeyStatus::New => None,
            KeyStatus::InBatch(place) => Some(Place::SameAs(place)),
            KeyStatus::Conflict(conflict) => conflicting(item, conflict, self.at(item)?),
            KeyStatus::Answered(stored) => match item {
                Operation::Ledger(command, ..) => {
                    let repeat = LedgerRepeat::read(command, stored, &mut self.wanted)?;
                    Some(Place::Repeat(Box::new(Repeat::Ledger(repeat))))
                }
                Operation::Usage(metered, _) => {
                    let repeat = UsageRepeat::read(metered, stored, &mut self.wanted)?;
                    Some(Place::Repeat(Box::new(Repeat::Usage(repeat))))
                }
                Operation::Message(_) => None,
            },
        })
    }

    /// Decides an operation, and adds its answer to those that are stored if it has a key.
    fn decide(
        &mut self,
        item: &'a Operation,
        status: Option<identity::UserStatus>,
    ) -> Result<Place, DbError> {
        let (place, answer) = match item {
            Operation::Ledger(command, key, _) => {
                let acting = match acts_as(command.actor, status) {
                    actor if actor == command.actor => Cow::Borrowed(command),
                    actor => Cow::Owned(credits::Command { actor, ..command.clone() }),
                };
                let deciding = self.ledger.as_mut().ok_or_else(missing)?;
                let place = Place::Ledger(deciding.count());
                let preview = deciding.apply(acting)?;
                let answer = if key.is_some() { ledger::answer(command, preview)? } else { None };
                (place, answer)
            }
            Operation::Usage(metered, _) => {
                let (recording, book) = self.recording.as_mut().ok_or_else(missing)?;
                let actor = acts_as(metered.actor, status);
                let mut desk = metering::Desk { ledger: self.ledger.as_mut(), recording, book, actor };
                let meterage = desk.decide(metered)?;
                let answer = match metered.idempotency {
                    Some(_) => metering::answer(metered, &meterage)?,
                    None => None,
                };
                (Place::Usage(Box::new(meterage)), answer)
            }
            Operation::Message(message) => {
                self.messages.push(message.clone());
                (Place::Message, None)
            }
        };
        if let (Some(request), Some(answer)) = (item.keyed(), answer) {
            self.keys.add(request, self.places.len(), answer);
        }
        Ok(place)
    }

    /// Time of the decision about an operation, by the clock of the account if it is locked.
    fn at(&self, item: &Operation) -> Result<OffsetDateTime, DbError> {
        let by_ledger = |user_id| self.ledger.as_ref().map(|ledger| ledger.at(user_id));
        let of_account = match item {
            Operation::Ledger(command, ..) => by_ledger(&command.user_id),
            Operation::Usage(metered, _) if metered.involves_ledger() => by_ledger(&metered.input.user_id),
            Operation::Usage(..) | Operation::Message(_) => None,
        };
        let now = self.recording.as_ref().map(|(recording, _)| recording.now());
        of_account.or(now).ok_or_else(missing)
    }
}

fn missing() -> DbError {
    DbError::Inconsistent("an operation was not opened".to_owned())
}

/// The outcome of an operation whose key another request has used.
fn conflicting(item: &Operation, conflict: KeyConflict, at: OffsetDateTime) -> Option<Place> {
    let replay = Replay::First;
    let outcome = match item {
        Operation::Ledger(..) => {
            Outcome::Ledger(Box::new(LedgerOutcome { result: Err(conflict.into()), at, replay }))
        }
        Operation::Usage(..) => {
            Outcome::Usage(Box::new(Meterage { result: Err(conflict.into()), at, replay }))
        }
        Operation::Message(_) => return None,
    };
    Some(Place::Done(Box::new(outcome)))
}

/// Answers repeats with what was read for them.
pub(super) fn resolve(
    items: &[Operation],
    places: &mut [Place],
    ledger: Option<&credits::Decided<'_>>,
    books: &Books,
) -> Result<(), DbError> {
    let present = |user_id| ledger.and_then(|ledger| ledger.balance(user_id));
    for (item, place) in items.iter().zip(places) {
        if !matches!(place, Place::Repeat(_)) {
            continue;
        }
        *place = match (std::mem::replace(place, Place::Message), item) {
            (Place::Repeat(repeat), item) => match (*repeat, item) {
                (Repeat::Ledger(repeat), Operation::Ledger(command, ..)) => {
                    let outcome = repeat.outcome(command, books, present(&command.user_id))?;
                    Place::Done(Box::new(Outcome::Ledger(Box::new(outcome))))
                }
                (Repeat::Usage(repeat), Operation::Usage(metered, _)) => {
                    let present = present(&metered.input.user_id);
                    Place::FirstAnswer(Box::new(repeat.first_answer(metered, books, present)?))
                }
                _ => return Err(DbError::Inconsistent("a repeat of another operation".to_owned())),
            },
            (other, _) => other,
        };
    }
    Ok(())
}

/// An administrator acts as one for himself too; whether the caller is one is not known before his status was read.
fn acts_as(actor: Actor, status: Option<identity::UserStatus>) -> Actor {
    let is_admin = status.is_some_and(|status| status.role == identity::Role::Admin);
    match actor {
        Actor::User if is_admin => Actor::Admin,
        actor => actor,
    }
}

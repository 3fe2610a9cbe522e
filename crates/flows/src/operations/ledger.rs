//! A command of the ledger.

use std::borrow::Cow;

use credits::{Action, Applied, Command, Effect, PlainCharge, Preview, Refusal};
use idempotency::{KeyConflict, KeyedRequest, Link, NewAnswer, StoredAnswer};
use identity::UserStatus;
use kernel::{Actor, CallerClass, Failure, IdempotencyKey};
use pg::{DbError, Rejected};

use super::Writes;
use crate::{
    answers::{self, Repeat, RepeatAnswer, Wanted},
    audited::Audited,
    caller::{CallerCheck, CallerRejected},
    operation::{KeyedOperation, Needs, Outcome, Subject, Timed},
    unit_of_work::{Saved, UnitOfWork},
};

/// Outcome of a command.
pub type LedgerOutcome = Outcome<Applied, CommandRefusal>;

/// Refusals of a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefusal {
    /// The ledger refused it.
    #[error(transparent)]
    Ledger(#[from] Refusal),
    /// Its idempotency key was used for another request.
    #[error(transparent)]
    Key(#[from] KeyConflict),
}

impl CommandRefusal {
    /// The refusal of the domain.
    #[must_use]
    pub fn failure(&self) -> &dyn Failure {
        match self {
            Self::Ledger(refusal) => refusal,
            Self::Key(conflict) => conflict,
        }
    }
}

/// A command with its key, for a user whose status may still have to be checked.
#[derive(Debug)]
struct LedgerOperation {
    command: Command,
    key: Option<IdempotencyKey>,
    check: CallerCheck,
    audited: Option<Audited>,
}

/// A command before it is saved.
#[derive(Debug)]
enum Decided {
    /// Its number among the commands of the unit of work.
    New(usize),
    Repeat(Repeat<Effect, Refusal>),
}

impl Writes {
    /// Runs a command of the ledger, under a key at most once; with a check that is due, only for a user who is active.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; a refusal of the rules is an outcome.
    pub async fn ledger(
        &self,
        command: Command,
        key: Option<IdempotencyKey>,
        check: CallerCheck,
    ) -> Result<Result<LedgerOutcome, CallerRejected>, Rejected> {
        self.audited_ledger(command, key, check, None).await
    }

    /// Like [`Writes::ledger`]. A recharge, grant or refund that this call does is also written to the audit log, if a caller
    /// is given.
    ///
    /// # Errors
    /// Like [`Writes::ledger`].
    pub async fn audited_ledger(
        &self,
        command: Command,
        key: Option<IdempotencyKey>,
        check: CallerCheck,
        audited: Option<Audited>,
    ) -> Result<Result<LedgerOutcome, CallerRejected>, Rejected> {
        // Who was erased since has no credit, and what was charged before is emptied afterwards.
        let is_charge = key.is_none() && matches!(command.action, Action::Consume { .. });
        let check = if is_charge && check == CallerCheck::Known { CallerCheck::Done } else { check };
        self.submit(LedgerOperation { command, key, check, audited }).await
    }
}

impl KeyedOperation for LedgerOperation {
    type Success = Applied;
    type Refusal = CommandRefusal;
    type Decided = Decided;

    fn needs(&self) -> Needs<'_> {
        let Self { command, key, check, .. } = self;
        let (user_id, caller) = (&command.user_id, command.caller);
        // An impossible command is refused whatever its key was used for.
        let key = key.as_ref().filter(|_| credits::core::check(&command.action).is_ok());
        let description = command.description.as_ref().map_or(0, String::len);
        Needs {
            caller: Some((user_id, *check)),
            key: key.map(|key| KeyedRequest { user_id, key, caller }),
            ledger: std::slice::from_ref(command),
            bytes: description + command.metadata.as_json().len(),
            ..Needs::new(Subject::User(user_id))
        }
    }

    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<(Decided, Option<NewAnswer>), DbError> {
        let command = &self.command;
        let acting = match acts_as(command.actor, status) {
            actor if actor == command.actor => Cow::Borrowed(command),
            actor => Cow::Owned(Command { actor, ..command.clone() }),
        };
        let ledger = unit.ledger()?;
        let decided = Decided::New(ledger.count());
        let preview = ledger.apply(acting)?;
        let event = self.audited.as_ref().and_then(|audited| audited.command(command, preview));
        let answer = if self.key.is_some() { stored_answer(preview)? } else { None };
        unit.audit_events.extend(event);
        Ok((decided, answer))
    }

    fn repeat(&self, stored: &StoredAnswer, wanted: &mut Wanted) -> Result<Decided, DbError> {
        let (repeat, user_id) = (Repeat::read(stored)?, &self.command.user_id);
        match &repeat.answer {
            RepeatAnswer::Applied { entry_seq: Some(seq), .. } => wanted.entry(user_id, *seq),
            RepeatAnswer::Pruned(link) => wanted.trace(user_id, link.transaction_id),
            RepeatAnswer::Applied { .. } | RepeatAnswer::Refused(_) => {}
        }
        Ok(Decided::Repeat(repeat))
    }

    fn answer(
        &self,
        decided: Decided,
        saved: &mut Saved<'_>,
    ) -> Result<Timed<Applied, CommandRefusal>, DbError> {
        let Repeat { at, answer } = match decided {
            Decided::Repeat(repeat) => repeat,
            Decided::New(place) => {
                let credits::Outcome { result, at } = saved.ledger(place)?;
                return Ok((result.map_err(CommandRefusal::Ledger), at));
            }
        };
        let (books, user_id) = (&saved.books, &self.command.user_id);
        let result = match answer {
            RepeatAnswer::Refused(refusal) => Err(refusal.into()),
            RepeatAnswer::Applied { effect, entry_seq, lacks_maker, .. } => {
                let entry = entry_seq.map(|seq| books.entry(user_id, seq)).transpose()?.cloned();
                let mut applied = effect.with_entry(entry);
                if let Some(hold) = &mut applied.hold
                    && lacks_maker
                {
                    hold.made_by = match applied.entry.as_ref().map(|entry| entry.actor) {
                        Some(Actor::User) => CallerClass::User,
                        _ => CallerClass::Service,
                    };
                }
                Ok(applied)
            }
            RepeatAnswer::Pruned(link) => {
                let (trace, present) = books.trace(user_id, link.transaction_id)?;
                Ok(trace.applied(&self.command.action, present, at))
            }
        };
        Ok((result, at))
    }

    fn plain_charge(&self) -> Option<PlainCharge<'_>> {
        // The statement looks at no login.
        let acts = match self.check {
            CallerCheck::Done => false,
            CallerCheck::Due { login_id: None } => true,
            CallerCheck::Due { login_id: Some(_) } | CallerCheck::Exists | CallerCheck::Known => return None,
        };
        if self.key.is_some() { None } else { PlainCharge::new(&self.command, acts) }
    }

    fn charged(&self, outcome: credits::Outcome) -> Option<Timed<Applied, CommandRefusal>> {
        Some((outcome.result.map_err(CommandRefusal::Ledger), outcome.at))
    }
}

/// The answer to be stored for a command; `None` for a refusal that is not remembered.
fn stored_answer(preview: &Preview) -> Result<Option<NewAnswer>, DbError> {
    match &preview.result {
        Err(refusal) if !refusal.is_remembered() => Ok(None),
        Err(refusal) => answers::refused(preview.at, refusal).map(Some),
        Ok(effect) => {
            let link = Link { transaction_id: effect.transaction_id, usage_record_id: None };
            answers::applied(preview.at, effect.entry_seq(), link, effect).map(Some)
        }
    }
}

/// An administrator acts as one for themselves too; whether the caller is one is not known before their status was read.
pub(super) fn acts_as(actor: Actor, status: Option<UserStatus>) -> Actor {
    let is_admin = status.is_some_and(|status| status.role == identity::Role::Admin);
    match actor {
        Actor::User if is_admin => Actor::Admin,
        actor => actor,
    }
}

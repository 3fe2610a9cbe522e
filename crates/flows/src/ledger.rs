//! The outcome of a command of the ledger, and its answer under an idempotency key.
//!
//! Pure: the flow that calls it looks keys up and stores answers in the transaction of the command.

use credits::{Applied, Balance, Command, Effect, Preview, Refusal};
use idempotency::{KeyConflict, Link, NewAnswer, Replay, StoredAnswer};
use kernel::{Actor, CallerClass, Failure};
use pg::DbError;
use time::OffsetDateTime;

use crate::answers::{self, Books, Repeat, RepeatAnswer, Wanted, unusable};

/// Outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOutcome {
    /// What it did, or why it is not done.
    pub result: Result<Applied, CommandRefusal>,
    /// When that was decided, in the time of the account. A repeat has the instant of the first answer.
    pub at: OffsetDateTime,
    /// Whether this is the answer to a repeat under the same key.
    pub replay: Replay,
}

/// Why a command is not done.
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

impl LedgerOutcome {
    /// The outcome of a command that was run now.
    pub(crate) fn first(outcome: credits::Outcome) -> Self {
        let result = outcome.result.map_err(CommandRefusal::Ledger);
        Self { result, at: outcome.at, replay: Replay::First }
    }
}

/// The answer to be stored for a command; `None` for a refusal that is not remembered.
pub(crate) fn answer(command: &Command, preview: &Preview) -> Result<Option<NewAnswer>, DbError> {
    match &preview.result {
        Err(refusal) if !refusal.is_remembered() => Ok(None),
        Err(refusal) => answers::refused(preview.at, refusal).map(Some),
        Ok(effect) => {
            let link = Link { transaction_id: effect.transaction_id(command), usage_record_id: None };
            answers::applied(preview.at, effect.entry_seq(), link, effect).map(Some)
        }
    }
}

/// The repeat of a command.
#[derive(Debug)]
pub(crate) struct LedgerRepeat(Repeat<Effect, Refusal>);

impl LedgerRepeat {
    /// Reads the stored answer to a command, and notes what it needs from the books.
    pub(crate) fn read(
        command: &Command,
        stored: &StoredAnswer,
        wanted: &mut Wanted,
    ) -> Result<Self, DbError> {
        let repeat: Repeat<Effect, Refusal> = Repeat::read(stored)?;
        match &repeat.answer {
            RepeatAnswer::Applied { entry_seq: Some(seq), .. } => wanted.entry(&command.user_id, *seq),
            RepeatAnswer::Pruned(link) => wanted.trace(&command.user_id, link.transaction_id),
            RepeatAnswer::Applied { .. } | RepeatAnswer::Refused(_) => {}
        }
        Ok(Self(repeat))
    }

    /// The first outcome again. `present` is the balance of the account.
    pub(crate) fn outcome(
        self,
        command: &Command,
        books: &Books,
        present: Option<Balance>,
    ) -> Result<LedgerOutcome, DbError> {
        let Repeat { at, answer } = self.0;
        let user_id = &command.user_id;
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
                let present = present.ok_or_else(|| unusable(format!("{user_id} has no account")))?;
                let trace = books.trace(user_id, link.transaction_id)?;
                Ok(trace.applied(&command.action, present, at))
            }
        };
        Ok(LedgerOutcome { result, at, replay: Replay::ByKey })
    }
}

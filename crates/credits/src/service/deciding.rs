//! Commands are applied one after the other to what was read, before anything is written.

use std::borrow::Cow;

use diesel_async::AsyncPgConnection;
use kernel::{Clock, FreeForm, UserId};
use pg::DbError;
use time::OffsetDateTime;

use super::{
    decided::{Decided, Preview},
    inconsistent,
};
use crate::{
    core::{self, AccountState, Effect, JournalEntry, Stop},
    error::Refusal,
    model::{Balance, Command, Defaults, Entry, LowCrossing},
    store::{self, Batch, Wanted},
};

/// The locked accounts of some commands, with what was read of them.
#[derive(Debug)]
pub struct Locked(store::Locked);

/// Commands that are being decided, on accounts that are locked and read.
#[derive(Debug)]
pub struct Deciding<'a> {
    defaults: Defaults,
    batch: Batch,
    commands: Vec<Cow<'a, Command>>,
    previews: Vec<Preview>,
}

/// Locks the accounts of these commands and reads what belongs to them, as the first step of [`execute`](super::execute()). Alone it can be
/// sent together with other first statements of a transaction.
///
/// # Errors
/// [`DbError`] when an account could not be locked in time, or the database failed.
pub async fn lock<'a>(
    conn: &AsyncPgConnection,
    clock: &dyn Clock,
    commands: impl IntoIterator<Item = &'a Command>,
) -> Result<Locked, DbError> {
    let wanted = Wanted::of(commands);
    store::lock(conn, clock.pinned(), wanted).await.map(Locked)
}

/// One account before some commands, to go back to.
#[derive(Debug)]
pub struct Savepoint {
    user_id: UserId,
    state: Option<AccountState>,
    count: usize,
}

/// The second step of [`execute`](super::execute()): reads what the commands need for which [`lock`] was asked.
///
/// # Errors
/// As [`execute`](super::execute()).
pub async fn prepare<'a>(
    conn: &AsyncPgConnection,
    defaults: Defaults,
    locked: Locked,
) -> Result<Deciding<'a>, DbError> {
    let batch = store::load(conn, locked.0).await?;
    Ok(Deciding { defaults, batch, commands: Vec::new(), previews: Vec::new() })
}

impl<'a> Deciding<'a> {
    /// Applies a command, the next one of the batch. One for which [`lock`] was not asked finds no account.
    /// Nothing is written yet.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`]: damaged data or a bug; nothing of the batch may be saved.
    pub fn apply(&mut self, command: Cow<'a, Command>) -> Result<&Preview, DbError> {
        let result = decide_one(&mut self.batch, &command)?;
        let preview = Preview { result, at: self.at(&command.user_id) };
        self.commands.push(command);
        let place = self.previews.len();
        self.previews.push(preview);
        self.previews.get(place).ok_or_else(|| DbError::Inconsistent(format!("command {place} is not there")))
    }

    /// The instant of the batch in the time of an account.
    #[must_use]
    pub fn at(&self, user_id: &UserId) -> OffsetDateTime {
        let account = self.batch.accounts.get(user_id);
        account.map_or(self.batch.now, |state| state.account.as_of.max(self.batch.now))
    }

    /// The balance of an account after the commands so far; what is due counts as gone or come. `None` if there is no such account,
    /// or [`lock`] was not called for it.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`]: damaged data or a bug; nothing of the batch may be saved.
    pub fn balance(&self, user_id: &UserId) -> Result<Option<Balance>, DbError> {
        let open = |state: &&core::AccountState| state.status == core::AccountStatus::Open;
        let state = self.batch.accounts.get(user_id).filter(open);
        state.map(|state| core::view(state, self.at(user_id)).map_err(inconsistent)).transpose()
    }

    /// Number of commands applied or refused: the index of the next one among the outcomes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.commands.len()
    }

    /// The present state of an account, before commands that must be applied all or not at all. They concern this account alone,
    /// and name no reference.
    #[must_use]
    pub fn savepoint(&self, user_id: &UserId) -> Savepoint {
        let state = self.batch.accounts.get(user_id).cloned();
        Savepoint { user_id: user_id.clone(), state, count: self.count() }
    }

    /// Forgets the commands since the savepoint.
    pub fn roll_back(&mut self, savepoint: Savepoint) {
        let Savepoint { user_id, state, count } = savepoint;
        self.commands.truncate(count);
        self.previews.truncate(count);
        if let Some(state) = state {
            self.batch.accounts.insert(user_id, state);
        }
    }

    /// The last step before [`Decided::save`].
    #[must_use]
    pub fn finish(self) -> Decided<'a> {
        let Self { defaults, batch, commands, previews } = self;
        let entries: Vec<Entry> = batch
            .accounts
            .values()
            .flat_map(|state| {
                let unsaved = |entry: &JournalEntry| entry.stored(&state.user_id, 0, FreeForm::empty());
                state.journal().iter().map(unsaved)
            })
            .collect();
        let own = |entry: &Entry| batch.thresholds.get(&entry.user_id).copied();
        let threshold = |entry: &Entry| own(entry).or(defaults.low_balance_at);
        let low = entries.iter().filter_map(|entry| LowCrossing::new(entry, threshold(entry)?)).collect();
        Decided { commands, previews, batch, entries, low }
    }
}

/// Applies one command to its account in the batch.
fn decide_one(batch: &mut Batch, command: &Command) -> Result<Result<Effect, Refusal>, DbError> {
    if let Err(refusal) = core::check(&command.action) {
        return Ok(Err(refusal));
    }
    let now = batch.now;
    tell_claim(batch, command);
    let result = match batch.accounts.get_mut(&command.user_id) {
        None => Err(Refusal::UserNotFound { user_id: command.user_id.clone() }),
        Some(state) => match core::apply(state, command, now) {
            Ok(effect) => Ok(effect),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Broken(fault)) => {
                let user = &command.user_id;
                return Err(DbError::Inconsistent(format!("account {user}: {fault}")));
            }
        },
    };
    if result.is_ok() {
        batch.global_references.note_done(command);
    }
    Ok(result)
}

/// Notes at the account of a command who uses the reference that it names with the scope of all users.
fn tell_claim(batch: &mut Batch, command: &Command) {
    if let Some(reference) = command.action.global_reference()
        && let Some(claim) = batch.global_references.claim(reference, &command.user_id)
        && let Some(state) = batch.accounts.get_mut(&command.user_id)
        && state.claim(reference).is_none()
    {
        state.know_claim(reference.to_owned(), claim);
    }
}

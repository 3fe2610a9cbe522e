//! Commands are applied one after the other to what was read, before anything is written.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use diesel_async::AsyncPgConnection;
use kernel::{CallerClass, Credits, FreeForm, IdempotencyKey, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{decided::Decided, execute::Locked};
use crate::{
    core::{self, Effect, JournalEntry, Stop, Written},
    error::Refusal,
    model::{Action, Command, Defaults, Entry, LowCrossing, Outcome},
    store::{
        self, Batch,
        idempotency::{Memory, NewKey, Shelf},
        stored_outcome::StoredOutcome,
    },
};

/// Commands that are being decided, on accounts that are locked and read.
#[derive(Debug)]
pub struct Deciding<'a> {
    defaults: Defaults,
    batch: Batch,
    keys: Keys,
    commands: Vec<Cow<'a, Command>>,
    decisions: Vec<Decision>,
}

/// What became of a command, before it is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preview {
    /// It is done now.
    Applied {
        /// The entry that tells, by its place in the journal of the account.
        seq: Option<i64>,
        /// As [`crate::Applied::uncollected`].
        uncollected: Credits,
    },
    /// It is refused.
    Refused(Refusal),
    /// Its idempotency key was used before: nothing is done.
    Repeat,
}

/// What is to be answered to a command.
#[derive(Debug)]
pub(super) enum Decision {
    /// What was decided now.
    New { result: Result<Effect, Refusal>, at: OffsetDateTime },
    /// The stored first outcome.
    Again(Box<Outcome>),
    /// The outcome of an earlier command of the batch.
    SameAs(usize),
    /// What the books say of a transaction whose outcome was pruned.
    Traced { transaction_id: Uuid, usage_record_id: Option<i64>, at: OffsetDateTime },
}

/// Whose account, which key, and callers of which class use it.
type KeyName = (UserId, String, CallerClass);

/// Idempotency keys of a batch, but for those that were stored before.
#[derive(Debug, Default)]
struct Keys {
    /// Keys that commands of the batch used first, with the place of the command.
    used: BTreeMap<KeyName, (usize, IdempotencyKey, OffsetDateTime)>,
    /// First outcomes to be kept.
    new: Vec<NewKey>,
    /// Transactions whose outcomes were pruned.
    pruned: BTreeSet<(UserId, Uuid)>,
}

/// The second step of [`execute`](super::execute()): reads what the commands need for which [`lock`](super::lock) was asked.
///
/// # Errors
/// As [`execute`](super::execute()).
pub async fn prepare<'a>(
    conn: &AsyncPgConnection,
    defaults: Defaults,
    locked: Locked,
) -> Result<Deciding<'a>, DbError> {
    Ok(Deciding {
        defaults,
        batch: store::load(conn, locked.0).await?,
        keys: Keys::default(),
        commands: Vec::new(),
        decisions: Vec::new(),
    })
}

impl<'a> Deciding<'a> {
    /// Whether a command with this key, by a caller of this class, would be a repeat, or in conflict with the first one.
    #[must_use]
    pub fn knows(&self, user_id: &UserId, key: &IdempotencyKey, caller: CallerClass) -> bool {
        let name = (user_id.clone(), key.key().to_owned(), caller);
        self.keys.used.contains_key(&name) || self.batch.keys.of(user_id, key, caller).is_some()
    }

    /// Applies a command, the next one of the batch. One for which [`lock`](super::lock) was not asked finds no account.
    /// Nothing is written yet.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`]: damaged data or a bug; nothing of the batch may be saved.
    pub fn apply(&mut self, command: Cow<'a, Command>) -> Result<Preview, DbError> {
        let place = self.commands.len();
        let decision = decide_one(&mut self.batch, &mut self.keys, place, &command)?;
        let preview = match &decision {
            Decision::New { result: Ok(effect), .. } => Preview::Applied {
                seq: match &effect.entry {
                    Written::Now(seq) => Some(*seq),
                    Written::Nothing | Written::Before(_) => None,
                },
                uncollected: effect.uncollected,
            },
            Decision::New { result: Err(refusal), .. } => Preview::Refused(refusal.clone()),
            Decision::Again(_) | Decision::SameAs(_) | Decision::Traced { .. } => Preview::Repeat,
        };
        self.commands.push(command);
        self.decisions.push(decision);
        Ok(preview)
    }

    /// The last step before [`Decided::save`]: what repeats of pruned outcomes need is read.
    ///
    /// # Errors
    /// [`DbError`] when that failed.
    pub async fn finish(self, tx: &mut Tx) -> Result<Decided<'a>, DbError> {
        let Self { defaults, batch, keys, commands, decisions } = self;
        let traces = store::idempotency::trace(tx.conn(), &keys.pruned).await?;
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
        let low = entries.iter().filter_map(|entry| LowCrossing::of(entry, threshold(entry)?)).collect();
        Ok(Decided { commands, decisions, batch, keys: keys.new, traces, entries, low })
    }
}

/// Applies one command to its account in the batch, unless its key was used before.
fn decide_one(
    batch: &mut Batch,
    keys: &mut Keys,
    place: usize,
    command: &Command,
) -> Result<Decision, DbError> {
    let at = |batch: &Batch| {
        let as_of = batch.accounts.get(&command.user_id).map(|state| state.account.as_of);
        as_of.map_or(batch.now, |as_of| as_of.max(batch.now))
    };
    let refused = |refusal: Refusal, at| Decision::New { result: Err(refusal), at };
    if let Err(refusal) = core::check(&command.action) {
        return Ok(refused(refusal, at(batch)));
    }
    if let Some(key) = &command.idempotency
        && let Some(decision) = look_up(batch, keys, command, key)
    {
        return Ok(decision.unwrap_or_else(|conflict| refused(conflict, at(batch))));
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
    let at = at(batch);
    if let Some(key) = &command.idempotency {
        keys.keep(batch, place, command, key, &result, at)?;
    }
    Ok(Decision::New { result, at })
}

/// Tells the account of a command who uses the reference that it names with the scope of all users.
fn tell_claim(batch: &mut Batch, command: &Command) {
    if let Some(reference) = command.action.global_reference()
        && let Some(claim) = batch.global_references.claim(reference, &command.user_id)
        && let Some(state) = batch.accounts.get_mut(&command.user_id)
        && state.claim(reference).is_none()
    {
        state.know_claim(reference.to_owned(), claim);
    }
}

/// What is answered because of the key: `None` if it is new.
fn look_up(
    batch: &Batch,
    keys: &mut Keys,
    command: &Command,
    key: &IdempotencyKey,
) -> Option<Result<Decision, Refusal>> {
    let (user_id, caller) = (&command.user_id, command.caller);
    let name = (user_id.clone(), key.key().to_owned(), caller);
    if let Some((place, first, first_used_at)) = keys.used.get(&name) {
        return Some(if first.fingerprint() == key.fingerprint() {
            Ok(Decision::SameAs(*place))
        } else {
            let first_used_at = *first_used_at;
            Err(Refusal::IdempotencyConflict { first_used_at })
        });
    }
    let remembered = batch.keys.of(user_id, key, caller)?;
    if remembered.caller.is_some() && !key.matches(&remembered.fingerprint) {
        let first_used_at = remembered.at;
        return Some(Err(Refusal::IdempotencyConflict { first_used_at }));
    }
    Some(Ok(match &remembered.memory {
        Memory::Whole(outcome) => Decision::Again(outcome.clone()),
        Memory::Pruned(transaction_id) => {
            keys.pruned.insert((user_id.clone(), *transaction_id));
            Decision::Traced {
                transaction_id: *transaction_id,
                usage_record_id: remembered.usage_record_id,
                at: remembered.at,
            }
        }
    }))
}

impl Keys {
    /// Keeps the first outcome of a key, if it is one to be remembered.
    fn keep(
        &mut self,
        batch: &Batch,
        place: usize,
        command: &Command,
        key: &IdempotencyKey,
        result: &Result<Effect, Refusal>,
        at: OffsetDateTime,
    ) -> Result<(), DbError> {
        let Some(outcome) = StoredOutcome::of(result, at)? else {
            return Ok(());
        };
        let transaction_id = match result {
            Ok(effect) => Some(transaction_of(batch, command, effect)),
            Err(_) => None,
        };
        let other = match command.caller {
            CallerClass::User => CallerClass::Service,
            CallerClass::Service => CallerClass::User,
        };
        let by_other = (command.user_id.clone(), key.key().to_owned(), other);
        let taken = batch.keys.has_first(&command.user_id, key.key()) || self.used.contains_key(&by_other);
        self.new.push(NewKey {
            user_id: command.user_id.clone(),
            key: key.key().to_owned(),
            caller: command.caller,
            shelf: if taken { Shelf::Shared } else { Shelf::First },
            fingerprint: *key.fingerprint(),
            at,
            transaction_id,
            usage_record_id: result.is_ok().then(|| recorded_by(command)).flatten(),
            outcome: outcome.to_json()?,
        });
        let name = (command.user_id.clone(), key.key().to_owned(), command.caller);
        self.used.insert(name, (place, key.clone(), at));
        Ok(())
    }
}

/// The transaction that tells what a command did, for good.
fn transaction_of(batch: &Batch, command: &Command, effect: &Effect) -> Uuid {
    let written = match &effect.entry {
        Written::Nothing => effect.grant.as_ref().and_then(|grant| grant.transaction_id),
        Written::Before(entry) => Some(entry.transaction_id),
        Written::Now(seq) => batch.accounts.get(&command.user_id).and_then(|state| {
            let mut journal = state.journal().iter();
            journal.find(|entry| entry.seq == *seq).map(|entry| entry.transaction_id)
        }),
    };
    written.unwrap_or(command.transaction_id)
}

/// The usage record that is written with a command.
pub(super) fn recorded_by(command: &Command) -> Option<i64> {
    match command.action {
        Action::Meter(metering) => Some(metering.usage_record_id),
        Action::Acknowledge { usage_record_id } => Some(usage_record_id),
        _ => None,
    }
}

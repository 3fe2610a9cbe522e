//! Load, apply in order, save.

use std::collections::{BTreeMap, BTreeSet};

use diesel_async::AsyncPgConnection;
use kernel::{Clock, Credits, FreeForm, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{self, Effect, JournalEntry, Stop, Written},
    error::Refusal,
    model::{
        Action, Applied, Balance, Command, Defaults, Entry, EntryKind, Executed, IdempotencyKey, LowCrossing,
        Outcome, Replay,
    },
    store::{
        self, Batch, Saved, Wanted,
        idempotency::{Memory, NewKey, Trace},
        stored_outcome::StoredOutcome,
    },
};

/// The locked accounts of some commands, with what was read of them.
#[derive(Debug)]
pub struct Locked(store::Locked);

/// Locks the accounts of these commands and reads what belongs to them, as the first step of [`execute`]. Alone it can be
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

/// Applies the commands in their order, with the same outcome as one by one. The caller commits.
///
/// The accounts are locked in the order of their ids, so that batches of any processes run side by side without
/// deadlock, as long as a transaction calls this once. The number of statements does not depend on the number of commands.
/// The instant is the database's clock, read after the locks are held (or the pinned instant of `clock`), never earlier
/// than the account's own time.
///
/// Refusals are values: what was due before them is saved, and they do not disturb the other commands. A command whose
/// idempotency key was used before is not applied: the first outcome is answered again, or the conflict.
///
/// `defaults` say which falls of a balance are told of accounts that have no threshold of their own.
///
/// # Errors
/// [`DbError`] when the batch as a whole failed: nothing of it may be committed. [`DbError::Inconsistent`] means damaged
/// data or a bug.
pub async fn execute(
    tx: &mut Tx,
    clock: &dyn Clock,
    defaults: Defaults,
    commands: &[Command],
) -> Result<Executed, DbError> {
    if commands.is_empty() {
        return Ok(Executed::default());
    }
    let locked = lock(tx.conn(), clock, commands).await?;
    let commands: Vec<&Command> = commands.iter().collect();
    let decided = decide(tx, defaults, locked, &commands).await?;
    decided.save(tx).await
}

/// Commands that are decided but not saved.
#[derive(Debug)]
pub struct Decided<'a> {
    commands: &'a [&'a Command],
    decisions: Vec<Decision>,
    batch: Batch,
    keys: Vec<NewKey>,
    traces: BTreeMap<(UserId, Uuid), Trace>,
    entries: Vec<Entry>,
    low: Vec<LowCrossing>,
}

/// The second step of [`execute`]: reads what else the commands need and decides them. Commands for which [`lock`] was not asked
/// find no account. Nothing is written before [`Decided::save`].
///
/// # Errors
/// As [`execute`].
pub async fn decide<'a>(
    tx: &mut Tx,
    defaults: Defaults,
    locked: Locked,
    commands: &'a [&'a Command],
) -> Result<Decided<'a>, DbError> {
    let mut batch = store::load(tx, locked.0).await?;
    let mut keys = Keys::default();
    let mut decisions = Vec::with_capacity(commands.len());
    for (place, command) in commands.iter().enumerate() {
        decisions.push(decide_one(&mut batch, &mut keys, place, command)?);
    }
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
    let low = entries
        .iter()
        .filter_map(|entry| LowCrossing::of(entry, threshold(entry)?))
        .collect();
    Ok(Decided {
        commands,
        decisions,
        batch,
        keys: keys.new,
        traces,
        entries,
        low,
    })
}

impl Decided<'_> {
    /// The entries to be written, as [`Executed::entries`]; their ids are 0 and their metadata empty until they are saved.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// As [`Executed::low`].
    #[must_use]
    pub fn low(&self) -> &[LowCrossing] {
        &self.low
    }

    /// The last step of [`execute`]. Its statements are sent without waiting for one another; so may be others
    /// that are run beside it.
    ///
    /// # Errors
    /// As [`execute`].
    pub async fn save(self, tx: &Tx) -> Result<Executed, DbError> {
        let Self {
            commands,
            decisions,
            batch,
            keys,
            traces,
            entries,
            low,
        } = self;
        let saved = store::save(tx.shared(), &batch, &keys).await?;
        let answers = Answers::new(&batch, &saved, &traces, entries)?;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(commands.len());
        for (command, decision) in commands.iter().zip(decisions) {
            let outcome = match decision {
                Decision::New { result, at } => Outcome {
                    result: match result {
                        Ok(effect) => Ok(answers.applied(&command.user_id, effect)?),
                        Err(refusal) => Err(refusal),
                    },
                    at,
                    replay: Replay::First,
                },
                Decision::Again(outcome) => *outcome,
                Decision::SameAs(place) => repeated(&outcomes, place)?,
                Decision::Traced { transaction_id, at } => answers.traced(command, transaction_id, at)?,
            };
            outcomes.push(outcome);
        }
        Ok(Executed {
            outcomes,
            entries: answers.entries,
            low,
        })
    }
}

/// What is to be answered to a command.
#[derive(Debug)]
enum Decision {
    /// What was decided now.
    New {
        result: Result<Effect, Refusal>,
        at: OffsetDateTime,
    },
    /// The stored first outcome.
    Again(Box<Outcome>),
    /// The outcome of an earlier command of the batch.
    SameAs(usize),
    /// What the books say of a transaction whose outcome was pruned.
    Traced {
        transaction_id: Uuid,
        at: OffsetDateTime,
    },
}

/// Idempotency keys of a batch, but for those that were stored before.
#[derive(Default)]
struct Keys {
    /// Keys that commands of the batch used first, with the place of the command.
    used: BTreeMap<(UserId, String), (usize, IdempotencyKey, OffsetDateTime)>,
    /// First outcomes to be kept.
    new: Vec<NewKey>,
    /// Transactions whose outcomes were pruned.
    pruned: BTreeSet<(UserId, Uuid)>,
}

/// What was saved, for answering.
struct Answers<'a> {
    batch: &'a Batch,
    saved: &'a Saved,
    traces: &'a BTreeMap<(UserId, Uuid), Trace>,
    /// All new entries, by account and `seq`.
    entries: Vec<Entry>,
}

/// Applies one command to its account in the batch, unless its key was used before.
fn decide_one(
    batch: &mut Batch,
    keys: &mut Keys,
    place: usize,
    command: &Command,
) -> Result<Decision, DbError> {
    let at = |batch: &Batch| {
        let as_of = batch
            .accounts
            .get(&command.user_id)
            .map(|state| state.account.as_of);
        as_of.map_or(batch.now, |as_of| as_of.max(batch.now))
    };
    let refused = |refusal: Refusal, at| Decision::New {
        result: Err(refusal),
        at,
    };
    if let Err(refusal) = core::check(&command.action) {
        return Ok(refused(refusal, at(batch)));
    }
    if let Some(key) = &command.idempotency
        && let Some(decision) = look_up(batch, keys, &command.user_id, key)
    {
        return Ok(decision.unwrap_or_else(|conflict| refused(conflict, at(batch))));
    }
    let now = batch.now;
    let result = match batch.accounts.get_mut(&command.user_id) {
        None => Err(Refusal::UserNotFound {
            user_id: command.user_id.clone(),
        }),
        Some(state) => match core::apply(state, command, now) {
            Ok(effect) => Ok(effect),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Broken(fault)) => {
                let user = &command.user_id;
                return Err(DbError::Inconsistent(format!("account {user}: {fault}")));
            }
        },
    };
    let at = at(batch);
    if let Some(key) = &command.idempotency {
        keys.keep(batch, place, command, key, &result, at)?;
    }
    Ok(Decision::New { result, at })
}

/// What is answered because of the key: `None` if it is new.
fn look_up(
    batch: &mut Batch,
    keys: &mut Keys,
    user_id: &UserId,
    key: &IdempotencyKey,
) -> Option<Result<Decision, Refusal>> {
    let name = (user_id.clone(), key.key().to_owned());
    if let Some((place, first, first_used_at)) = keys.used.get(&name) {
        return Some(if first.fingerprint() == key.fingerprint() {
            Ok(Decision::SameAs(*place))
        } else {
            let first_used_at = *first_used_at;
            Err(Refusal::IdempotencyConflict { first_used_at })
        });
    }
    let remembered = batch.keys.get(&name)?;
    if remembered.fingerprint != key.fingerprint() {
        let first_used_at = remembered.at;
        return Some(Err(Refusal::IdempotencyConflict { first_used_at }));
    }
    Some(Ok(match &remembered.memory {
        Memory::Whole(outcome) => Decision::Again(outcome.clone()),
        Memory::Pruned(transaction_id) => {
            keys.pruned.insert((user_id.clone(), *transaction_id));
            Decision::Traced {
                transaction_id: *transaction_id,
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
        self.new.push(NewKey {
            user_id: command.user_id.clone(),
            key: key.key().to_owned(),
            fingerprint: *key.fingerprint(),
            at,
            transaction_id,
            outcome: outcome.to_json()?,
        });
        let name = (command.user_id.clone(), key.key().to_owned());
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
            journal
                .find(|entry| entry.seq == *seq)
                .map(|entry| entry.transaction_id)
        }),
    };
    written.unwrap_or(command.transaction_id)
}

/// The outcome of an earlier command of the batch, as a repeat answers it.
fn repeated(outcomes: &[Outcome], place: usize) -> Result<Outcome, DbError> {
    let first = outcomes
        .get(place)
        .ok_or_else(|| DbError::Inconsistent(format!("outcome {place} is not there")))?;
    Ok(Outcome {
        replay: Replay::ByKey,
        ..first.clone()
    })
}

impl<'a> Answers<'a> {
    fn new(
        batch: &'a Batch,
        saved: &'a Saved,
        traces: &'a BTreeMap<(UserId, Uuid), Trace>,
        mut entries: Vec<Entry>,
    ) -> Result<Self, DbError> {
        for entry in &mut entries {
            let name = (entry.user_id.clone(), entry.seq);
            let given = saved.entries.get(&name).ok_or_else(|| {
                DbError::Inconsistent(format!("entry {} of {} has no id", entry.seq, entry.user_id))
            })?;
            entry.id = given.id;
            entry.metadata = kept(given.metadata.as_deref());
        }
        Ok(Self {
            batch,
            saved,
            traces,
            entries,
        })
    }

    /// What a command did, with all that the database gave to it.
    fn applied(&self, user_id: &UserId, effect: Effect) -> Result<Applied, DbError> {
        let entry = match effect.entry {
            Written::Nothing => None,
            Written::Before(entry) => Some(*entry),
            Written::Now(seq) => Some(self.entry(user_id, seq)?.clone()),
        };
        let mut hold = effect.hold.map(|hold| *hold);
        if let Some(hold) = &mut hold
            && let Some(stored) = self.saved.holds.get(&(user_id.clone(), hold.hold_id))
        {
            hold.metadata = kept(stored.as_deref());
        }
        let mut grant = effect.grant.map(|grant| *grant);
        if let Some(grant) = &mut grant
            && let Some(stored) = self.saved.grants.get(&(user_id.clone(), grant.grant_id))
        {
            grant.metadata = kept(stored.as_deref());
        }
        Ok(Applied {
            entry,
            balance: effect.balance,
            hold,
            grant,
            uncollected: effect.uncollected,
            replayed: effect.replayed,
        })
    }

    /// The answer to a repeat whose first outcome was pruned, as the books tell it.
    fn traced(
        &self,
        command: &Command,
        transaction_id: Uuid,
        at: OffsetDateTime,
    ) -> Result<Outcome, DbError> {
        let name = (command.user_id.clone(), transaction_id);
        let state = self.batch.accounts.get(&command.user_id);
        let (Some(trace), Some(state)) = (self.traces.get(&name), state) else {
            return Err(DbError::Inconsistent(format!(
                "transaction {transaction_id} has no trace"
            )));
        };
        // A hold that was captured for nothing left nothing but its release.
        let told = |entry: &&Entry| {
            !matches!(command.action, Action::Capture { .. }) || entry.kind == EntryKind::Capture
        };
        let entry = trace.entry.as_ref().filter(told).cloned();
        let present = state.account.balance();
        let balance = trace.left.map_or(present, |(posted, held)| Balance {
            posted,
            held,
            ..present
        });
        let hold = trace.hold.as_ref().map(|hold| hold.shown(&command.user_id));
        let charged = entry.as_ref().map_or(Credits::ZERO, |entry| entry.amount);
        let uncollected = match (&command.action, &hold) {
            (Action::ConsumeUncollected { amount, .. }, _) => amount.checked_sub(charged),
            (Action::Capture { .. }, Some(hold)) => Some(hold.uncollected),
            _ => None,
        };
        let notes = |grant: &core::Grant| grant.notes.as_deref().cloned().unwrap_or_default();
        let grant = trace.grant.as_ref().map(|grant| grant.shown(&notes(grant), at));
        Ok(Outcome {
            result: Ok(Applied {
                entry,
                balance,
                hold,
                grant,
                uncollected: uncollected.unwrap_or(Credits::ZERO),
                replayed: false,
            }),
            at,
            replay: Replay::ByKey,
        })
    }

    fn entry(&self, user_id: &UserId, seq: i64) -> Result<&Entry, DbError> {
        let place = self
            .entries
            .binary_search_by(|entry| (&entry.user_id, entry.seq).cmp(&(user_id, seq)));
        place
            .ok()
            .and_then(|place| self.entries.get(place))
            .ok_or_else(|| DbError::Inconsistent(format!("entry {seq} of {user_id} is not there")))
    }
}

/// Metadata as the database keeps them.
fn kept(text: Option<&str>) -> FreeForm {
    text.map_or_else(FreeForm::empty, |text| FreeForm::stored(text.to_owned()))
}

//! What was decided is saved, and answered with what the database gave to it.

use std::{borrow::Cow, collections::BTreeMap};

use kernel::{Credits, FreeForm, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;
use uuid::Uuid;

use super::deciding::{Decision, recorded_by};
use crate::{
    core::{self, Effect, Written},
    model::{Action, Applied, Balance, Command, Entry, EntryKind, Executed, LowCrossing, Outcome, Replay},
    store::{
        self, Batch, Saved,
        idempotency::{NewKey, Trace},
    },
};

/// Commands that are decided but not saved.
#[derive(Debug)]
pub struct Decided<'a> {
    pub(super) commands: Vec<Cow<'a, Command>>,
    pub(super) decisions: Vec<Decision>,
    pub(super) batch: Batch,
    pub(super) keys: Vec<NewKey>,
    pub(super) traces: BTreeMap<(UserId, Uuid), Trace>,
    pub(super) entries: Vec<Entry>,
    pub(super) low: Vec<LowCrossing>,
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
        let Self { commands, decisions, batch, keys, traces, entries, low } = self;
        let saved = store::save(tx.shared(), &batch, &keys).await?;
        let answers = Answers::new(&batch, &saved, &traces, entries)?;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(commands.len());
        for (command, decision) in commands.iter().zip(decisions) {
            let outcome = match decision {
                Decision::New { result, at } => Outcome {
                    result: match result {
                        Ok(effect) => Ok(answers.applied(command, effect)?),
                        Err(refusal) => Err(refusal),
                    },
                    at,
                    replay: Replay::First,
                },
                Decision::Again(outcome) => *outcome,
                Decision::SameAs(place) => repeated(&outcomes, place)?,
                Decision::Traced { transaction_id, usage_record_id, at } => {
                    let applied = answers.traced(command, transaction_id, at)?;
                    Outcome { result: Ok(Applied { usage_record_id, ..applied }), at, replay: Replay::ByKey }
                }
            };
            outcomes.push(outcome);
        }
        Ok(Executed { outcomes, entries: answers.entries, low })
    }
}

/// What was saved, for answering.
struct Answers<'a> {
    batch: &'a Batch,
    saved: &'a Saved,
    traces: &'a BTreeMap<(UserId, Uuid), Trace>,
    /// All new entries, by account and `seq`.
    entries: Vec<Entry>,
}

/// The outcome of an earlier command of the batch, as a repeat answers it.
fn repeated(outcomes: &[Outcome], place: usize) -> Result<Outcome, DbError> {
    let first =
        outcomes.get(place).ok_or_else(|| DbError::Inconsistent(format!("outcome {place} is not there")))?;
    Ok(Outcome { replay: Replay::ByKey, ..first.clone() })
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
        Ok(Self { batch, saved, traces, entries })
    }

    /// What a command did, with all that the database gave to it.
    fn applied(&self, command: &Command, effect: Effect) -> Result<Applied, DbError> {
        let user_id = &command.user_id;
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
            usage_record_id: recorded_by(command),
            replayed: effect.replayed,
        })
    }

    /// The answer to a repeat whose first outcome was pruned, as the books tell it.
    fn traced(
        &self,
        command: &Command,
        transaction_id: Uuid,
        at: OffsetDateTime,
    ) -> Result<Applied, DbError> {
        let name = (command.user_id.clone(), transaction_id);
        let state = self.batch.accounts.get(&command.user_id);
        let (Some(trace), Some(state)) = (self.traces.get(&name), state) else {
            return Err(DbError::Inconsistent(format!("transaction {transaction_id} has no trace")));
        };
        // A hold that was captured for nothing left nothing but its release.
        let captures = match command.action {
            Action::Capture { .. } => true,
            Action::Meter(metering) => metering.from.hold_id().is_some(),
            _ => false,
        };
        let told = |entry: &&Entry| !captures || entry.kind == EntryKind::Capture;
        let entry = trace.entry.as_ref().filter(told).cloned();
        let present = state.account.balance();
        let balance = trace.left.map_or(present, |(posted, held)| Balance { posted, held, ..present });
        let hold = trace.hold.as_ref().map(|hold| hold.shown(&command.user_id));
        let charged = entry.as_ref().map_or(Credits::ZERO, |entry| entry.amount);
        let uncollected = match (&command.action, &hold) {
            (Action::ConsumeUncollected { amount, .. }, _) => amount.checked_sub(charged),
            (_, Some(hold)) if captures => Some(hold.uncollected),
            _ => None,
        };
        let notes = |grant: &core::Grant| grant.notes.as_deref().cloned().unwrap_or_default();
        let grant = trace.grant.as_ref().map(|grant| grant.shown(&notes(grant), at));
        Ok(Applied {
            entry,
            balance,
            hold,
            grant,
            uncollected: uncollected.unwrap_or(Credits::ZERO),
            usage_record_id: None,
            replayed: false,
        })
    }

    fn entry(&self, user_id: &UserId, seq: i64) -> Result<&Entry, DbError> {
        let place = self.entries.binary_search_by(|entry| (&entry.user_id, entry.seq).cmp(&(user_id, seq)));
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

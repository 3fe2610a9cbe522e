//! Saving of decided commands, and their answers.

use std::borrow::Cow;

use kernel::{FreeForm, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;

use crate::{
    core::{Effect, EntryRef},
    error::Refusal,
    model::{Applied, Balance, Command, Entry, Executed, LowCrossing, Outcome},
    store::{self, Batch, Saved},
};

/// The result of a command, before it is saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Its effect, or the reason for the refusal.
    pub result: Result<Effect, Refusal>,
    /// Time of the decision, by the clock of the account.
    pub at: OffsetDateTime,
}

/// Commands that are decided but not saved.
#[derive(Debug)]
pub struct Decided<'a> {
    pub(super) commands: Vec<Cow<'a, Command>>,
    pub(super) previews: Vec<Preview>,
    pub(super) batch: Batch,
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

    /// The balance of an account after all commands; `None` if it was not locked or does not exist.
    #[must_use]
    pub fn balance(&self, user_id: &UserId) -> Option<Balance> {
        self.batch.accounts.get(user_id).map(|state| state.account.balance())
    }

    /// The last step of [`execute`](super::execute()). Its statements are sent without waiting for one another; so may be others
    /// that are run beside it.
    ///
    /// # Errors
    /// As [`execute`](super::execute()).
    pub async fn save(self, tx: &Tx) -> Result<Executed, DbError> {
        let Self { commands, previews, batch, entries, low } = self;
        let saved = store::save(tx.shared(), &batch).await?;
        let answers = Answers::new(&saved, entries)?;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(commands.len());
        for (command, Preview { result, at }) in commands.iter().zip(previews) {
            let result = match result {
                Ok(effect) => Ok(answers.applied(command, effect)?),
                Err(refusal) => Err(refusal),
            };
            outcomes.push(Outcome { result, at });
        }
        Ok(Executed { outcomes, entries: answers.entries, low })
    }
}

/// Saved rows, for answers.
struct Answers<'a> {
    saved: &'a Saved,
    /// All new entries, by account and `seq`.
    entries: Vec<Entry>,
}

impl<'a> Answers<'a> {
    fn new(saved: &'a Saved, mut entries: Vec<Entry>) -> Result<Self, DbError> {
        for entry in &mut entries {
            let name = (entry.user_id.clone(), entry.seq);
            let given = saved.entries.get(&name).ok_or_else(|| {
                DbError::Inconsistent(format!("entry {} of {} has no id", entry.seq, entry.user_id))
            })?;
            entry.id = given.id;
            entry.metadata = kept(given.metadata.as_deref());
        }
        Ok(Self { saved, entries })
    }

    /// Effect of a command, with values from the database.
    fn applied(&self, command: &Command, mut effect: Effect) -> Result<Applied, DbError> {
        let user_id = &command.user_id;
        let entry = match std::mem::take(&mut effect.entry) {
            EntryRef::Nothing => None,
            EntryRef::Before(entry) => Some(*entry),
            EntryRef::Now(seq) => Some(self.entry(user_id, seq)?.clone()),
        };
        let mut applied = effect.with_entry(entry);
        if let Some(hold) = &mut applied.hold
            && let Some(stored) = self.saved.holds.get(&(user_id.clone(), hold.hold_id))
        {
            hold.metadata = kept(stored.as_deref());
        }
        if let Some(grant) = &mut applied.grant
            && let Some(stored) = self.saved.grants.get(&(user_id.clone(), grant.grant_id))
        {
            grant.metadata = kept(stored.as_deref());
        }
        Ok(applied)
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

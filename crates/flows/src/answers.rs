//! The answers that are stored under idempotency keys, and what their repeats show.
//!
//! An answer is stored as JSON with the version of its form: when it was decided, the place of its entry in the journal, and what
//! was done or why not. Entries and usage records are not copied into it: they never change, so a repeat reads them. Pure, but
//! for [`Wanted::read`].

#[cfg(test)]
mod tests;
mod v1;

use std::collections::{BTreeMap, BTreeSet};

use credits::{Balance, Entry, Trace};
use futures_util::try_join;
use idempotency::{Link, NewAnswer, StoredAnswer};
use kernel::UserId;
use pg::{DbError, PgConnection, Tx};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use time::OffsetDateTime;
use usage::Record;
use uuid::Uuid;

/// The version of the form. Members that are added do not change it.
const VERSION: u8 = 1;

/// The answer to an operation, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Form<E, R> {
    v: u8,
    #[serde(with = "kernel::stored::micros")]
    at: OffsetDateTime,
    entry_seq: Option<i64>,
    result: FormResult<E, R>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FormResult<E, R> {
    Applied(E),
    Refused(R),
}

/// The members of every form.
#[derive(Deserialize)]
struct Versioned {
    v: u8,
}

/// The first answer to an operation, for a repeat of it.
#[derive(Debug)]
pub(crate) struct Repeat<E, R> {
    /// When it was decided.
    pub(crate) at: OffsetDateTime,
    pub(crate) answer: RepeatAnswer<E, R>,
}

#[derive(Debug)]
pub(crate) enum RepeatAnswer<E, R> {
    /// It was done.
    Applied {
        effect: E,
        /// The entry, by its place in the journal.
        entry_seq: Option<i64>,
        link: Link,
        /// The answer has a hold without the class of its maker.
        lacks_maker: bool,
    },
    /// It was refused.
    Refused(R),
    /// It was done, and the answer was pruned.
    Pruned(Link),
}

/// The answer to be stored for what was done.
pub(crate) fn applied<E: Serialize>(
    at: OffsetDateTime,
    entry_seq: Option<i64>,
    link: Link,
    effect: &E,
) -> Result<NewAnswer, DbError> {
    let result = FormResult::<_, ()>::Applied(effect);
    let json = written(&Form { v: VERSION, at, entry_seq, result })?;
    Ok(NewAnswer { at, link: Some(link), json })
}

/// The answer to be stored for a refusal that is remembered.
pub(crate) fn refused<R: Serialize>(at: OffsetDateTime, refusal: &R) -> Result<NewAnswer, DbError> {
    let result = FormResult::<(), _>::Refused(refusal);
    let json = written(&Form { v: VERSION, at, entry_seq: None, result })?;
    Ok(NewAnswer { at, link: None, json })
}

fn written<E: Serialize, R: Serialize>(form: &Form<E, R>) -> Result<String, DbError> {
    serde_json::to_string(form).map_err(unusable)
}

impl<E: DeserializeOwned, R: DeserializeOwned> Repeat<E, R> {
    /// Reads a stored answer.
    pub(crate) fn read(stored: &StoredAnswer) -> Result<Self, DbError> {
        let (json, link) = match &stored.content {
            idempotency::Content::Whole { json, link } => (json, *link),
            idempotency::Content::Pruned(link) => {
                return Ok(Self { at: stored.at, answer: RepeatAnswer::Pruned(*link) });
            }
        };
        let Versioned { v } = serde_json::from_str(json).map_err(unusable)?;
        if v != VERSION {
            return Err(unusable(format!("version {v}")));
        }
        let form: Form<E, R> = serde_json::from_str(json).map_err(unusable)?;
        let answer = match (form.result, link) {
            (FormResult::Refused(refusal), None) => RepeatAnswer::Refused(refusal),
            (FormResult::Applied(effect), Some(link)) => RepeatAnswer::Applied {
                effect,
                entry_seq: form.entry_seq,
                link,
                lacks_maker: v1::lacks_maker(json),
            },
            _ => return Err(unusable("a refusal that did something, or an effect that did nothing")),
        };
        Ok(Self { at: form.at, answer })
    }
}

/// Rows that answers show.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    entries: BTreeSet<(UserId, i64)>,
    transactions: BTreeSet<(UserId, Uuid)>,
    /// Usage records by their whole key.
    new_records: BTreeSet<(UserId, OffsetDateTime, i64)>,
    /// Usage records of which only the id is known.
    records: BTreeSet<(UserId, i64)>,
}

/// Rows of the ledger that were read for repeats.
#[derive(Debug, Default)]
pub(crate) struct Books {
    entries: BTreeMap<(UserId, i64), Entry>,
    traces: BTreeMap<(UserId, Uuid), Trace>,
    /// Balances of the accounts of these traces, after the unit of work.
    balances: BTreeMap<UserId, Balance>,
}

/// Usage records as the database has them: they are the same for good.
#[derive(Debug, Default)]
pub(crate) struct Records(BTreeMap<(UserId, i64), Record>);

impl Records {
    pub(crate) fn new(records: Vec<Record>) -> Self {
        Self(records.into_iter().map(|record| ((record.user_id.clone(), record.id), record)).collect())
    }

    pub(crate) fn get(&self, user_id: &UserId, id: i64) -> Option<&Record> {
        self.0.get(&(user_id.clone(), id))
    }
}

impl Wanted {
    /// An entry, by its place in the journal.
    pub(crate) fn entry(&mut self, user_id: &UserId, seq: i64) {
        self.entries.insert((user_id.clone(), seq));
    }

    /// All rows of a transaction.
    pub(crate) fn trace(&mut self, user_id: &UserId, transaction_id: Uuid) {
        self.transactions.insert((user_id.clone(), transaction_id));
    }

    /// A usage record that the unit of work adds.
    pub(crate) fn new_record(&mut self, record: &Record) {
        self.new_records.insert((record.user_id.clone(), record.occurred_at, record.id));
    }

    /// A usage record, by its id.
    pub(crate) fn record(&mut self, user_id: &UserId, id: i64) {
        self.records.insert((user_id.clone(), id));
    }

    /// Reads the rows of the ledger; asks nothing if none are wanted.
    pub(crate) async fn read_books(
        &self,
        conn: &PgConnection,
        ledger: Option<&credits::Decided<'_>>,
    ) -> Result<Books, DbError> {
        let (entries, traces) =
            try_join!(credits::entries_at(conn, &self.entries), credits::trace(conn, &self.transactions),)?;
        let entries = entries.into_iter().map(|entry| ((entry.user_id.clone(), entry.seq), entry));
        let balance = |(user_id, _): &(UserId, Uuid)| Some((user_id.clone(), ledger?.balance(user_id)?));
        let balances = self.transactions.iter().filter_map(balance).collect();
        Ok(Books { entries: entries.collect(), traces, balances })
    }

    /// Reads the usage records, after they are written; asks nothing if none are wanted.
    pub(crate) async fn read_records(&self, tx: &mut Tx) -> Result<Records, DbError> {
        let new: Vec<_> = self.new_records.iter().map(|(user_id, at, id)| (user_id, *at, *id)).collect();
        let others: Vec<_> = self.records.iter().map(|(user_id, id)| (user_id, *id)).collect();
        let mut records = usage::find_all_at(tx.conn(), &new).await?;
        records.extend(usage::find_all(tx.conn(), &others).await?);
        Ok(Records::new(records))
    }
}

impl Books {
    pub(crate) fn entry(&self, user_id: &UserId, seq: i64) -> Result<&Entry, DbError> {
        let entry = self.entries.get(&(user_id.clone(), seq));
        entry.ok_or_else(|| unusable(format!("entry {seq} of {user_id} is not there")))
    }

    /// All rows of a transaction, and the balance of its account.
    pub(crate) fn trace(&self, user_id: &UserId, transaction_id: Uuid) -> Result<(&Trace, Balance), DbError> {
        let balance = self.balances.get(user_id);
        let balance = balance.ok_or_else(|| unusable(format!("{user_id} has no account")))?;
        let trace = self.traces.get(&(user_id.clone(), transaction_id));
        let trace = trace.ok_or_else(|| unusable(format!("transaction {transaction_id} has no trace")))?;
        Ok((trace, *balance))
    }
}

pub(crate) fn unusable(what: impl std::fmt::Display) -> DbError {
    DbError::Inconsistent(format!("the stored answer of an idempotency key: {what}"))
}

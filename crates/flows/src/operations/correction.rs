//! A usage record is taken back, what it charged is given back, and another may stand instead: in one commit.
//!
//! Guarantees that a record is taken back once, that the refund is what was not given back before, and that neither is done
//! without the other. Where no credit moves, no account is locked.

use std::{borrow::Cow, collections::BTreeMap};

use credits::{Action, Command, Entry, Payer, Refusal, TransactionName};
use idempotency::{KeyedRequest, Link, NewAnswer, StoredAnswer};
use identity::UserStatus;
use kernel::{Actor, CallerClass, FreeForm, IdempotencyKey, UserId};
use pg::{DbError, PgConnection, Pool, Rejected};
use time::OffsetDateTime;
use usage::{Charge, Draft, Record, UsageInput, UsageRefusal};
use uuid::Uuid;

use super::{
    Writes,
    metering::{MeterRefusal, RecordedEffect, charge, price_not_found, record_id},
};
use crate::{
    answers::{self, Repeat, RepeatAnswer, Wanted},
    audited::Audited,
    operation::{KeyedOperation, Needs, Outcome, Subject, Timed},
    unit_of_work::{Saved, UnitOfWork},
};

/// Name of the refund in the billing metadata of the correction.
const REFUND: &str = "refund_transaction_id";
/// Name of the replacement there.
const REPLACEMENT: &str = "replacement_id";

/// A record that is to be taken back.
#[derive(Debug, Clone)]
pub struct Correct {
    /// Owner of the record.
    pub user_id: UserId,
    /// The record.
    pub record_id: i64,
    /// Reason; kept with the correction and the refund.
    pub reason: String,
    /// Its replacement.
    pub replacement: Option<Replacement>,
    /// In which capacity the caller acts.
    pub actor: Actor,
    /// The class of the caller.
    pub caller: CallerClass,
    /// Random bits of the refund, from [`kernel::Ids`].
    pub refund_nonce: Uuid,
    /// Random bits of the charge of the replacement.
    pub charge_nonce: Uuid,
    /// The caller's identity of the request.
    pub idempotency: Option<IdempotencyKey>,
    /// The caller, if the refund is written to the audit log.
    pub audited: Option<Audited>,
}

/// Replacement of a record.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The usage.
    pub input: UsageInput,
    /// True if it is charged, from the available credits and as far as they suffice, because the work was done.
    pub is_charged: bool,
}

/// Outcome of a [`Correct`].
pub type CorrectOutcome = Outcome<Corrected, MeterRefusal>;

/// A record that was taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrected {
    /// The record with negative amounts.
    pub correction: Record,
    /// Its replacement.
    pub replacement: Option<Record>,
    /// The refund.
    pub refund: Option<Entry>,
}

/// Reasons that a correction has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum CorrectError {
    /// It was not run, or the outcome of its commit is unknown.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Its record, or its stored answer, cannot be read.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A [`Correct`] with the record that it takes back.
#[derive(Debug)]
struct CorrectOperation {
    correct: Correct,
    original: Option<Record>,
    /// As [`Correct::wanted`].
    ledger: Vec<Command>,
    events: Vec<String>,
}

/// A correction before it is saved.
#[derive(Debug)]
enum Decided {
    New(PendingCorrection),
    Refused(MeterRefusal, OffsetDateTime),
    Repeat(Repeat<RecordedEffect, MeterRefusal>),
}

/// A correction that will be saved.
#[derive(Debug)]
struct PendingCorrection {
    at: OffsetDateTime,
    correction_id: i64,
    replacement_id: Option<i64>,
    /// The refund, by its number among the commands of the unit of work, and its transaction.
    refund: Option<(usize, Uuid)>,
}

/// A correction when its unit of work is saved.
#[derive(Debug, Clone)]
enum Known {
    Whole(Box<Corrected>),
    /// It was made by an earlier request: this is its record.
    Stored(Box<Record>),
}

impl Writes {
    /// Takes a record back. `pool` is for what can be read beforehand or afterwards: records and entries never change.
    ///
    /// # Errors
    /// [`CorrectError`] when it could not be run. Refusals are outcomes: those of [`usage::correct`], and of the ledger those of a
    /// refund, but for [`Refusal::RefundExceedsCharge`]: where all was given back before, nothing is left to give.
    pub async fn correct(&self, pool: &Pool, correct: Correct) -> Result<CorrectOutcome, CorrectError> {
        let user_id = correct.user_id.clone();
        let original = pool.read(async |conn| usage::find(conn, &user_id, correct.record_id).await).await?;
        // A correction shows nothing of the large texts, so they do not wait in the queue.
        let original = original.map(Record::without_texts);
        let ledger = original.as_ref().map_or_else(Vec::new, |record| correct.wanted(record.charge));
        let new = correct.replacement.as_ref().map(|new| new.input.clone().complete());
        let events = usage::correction_events(correct.record_id, new.as_ref());
        let command = CorrectOperation { correct, original, ledger, events };
        let Outcome { result, at, replay } = self.submit_unchecked(command).await?;
        let result = match result {
            Err(refusal) => Err(refusal),
            Ok(Known::Whole(corrected)) => Ok(*corrected),
            Ok(Known::Stored(correction)) => {
                Ok(pool.read(async |conn| of_notes(conn, (*correction).clone()).await).await?)
            }
        };
        Ok(Outcome { result, at, replay })
    }
}

impl KeyedOperation for CorrectOperation {
    type Success = Known;
    type Refusal = MeterRefusal;
    type Decided = Decided;

    fn needs(&self) -> Needs<'_> {
        let Correct { user_id, caller, .. } = &self.correct;
        let key = self.correct.idempotency.as_ref();
        let inputs = self.correct.replacement.iter().map(|new| &new.input);
        let texts = inputs.flat_map(|new| [&new.billing_metadata, &new.request_data, &new.response_data]);
        Needs {
            key: key.map(|key| KeyedRequest { user_id, key, caller: *caller }),
            ledger: &self.ledger,
            records: 2,
            events: &self.events,
            original: self.original.as_ref(),
            bytes: texts.flatten().map(|json| json.as_json().len()).sum::<usize>()
                + self.correct.reason.len(),
            ..Needs::new(Subject::User(user_id))
        }
    }

    fn decide<'a>(
        &'a self,
        _status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<(Decided, Option<NewAnswer>), DbError> {
        let at = unit.recording()?.now();
        let before = match self.ledger.is_empty() {
            true => None,
            false => Some(unit.ledger()?.savepoint(&self.correct.user_id)),
        };
        match self.correct.decide(self.original.as_ref(), unit)? {
            Ok(pending) => {
                let refund = pending.refund.map(|(_, transaction_id)| transaction_id);
                let audited = self.correct.audited.as_ref().zip(refund);
                unit.audit_events.extend(
                    audited.map(|(audited, refund)| audited.refund(at, &self.correct.user_id, refund)),
                );
                let link = Link {
                    transaction_id: refund.unwrap_or(self.correct.refund_nonce),
                    usage_record_id: Some(pending.correction_id),
                };
                let answer = answers::applied(at, None, link, &RecordedEffect::uncharged())?;
                Ok((Decided::New(pending), Some(answer)))
            }
            Err(refusal) => {
                // All of it is done, or nothing.
                if let Some(before) = before {
                    unit.ledger()?.roll_back(before);
                }
                let is_remembered = refusal.is_remembered();
                let answer = is_remembered.then(|| answers::refused(at, &refusal)).transpose()?;
                Ok((Decided::Refused(refusal, at), answer))
            }
        }
    }

    fn repeat(&self, stored: &StoredAnswer, wanted: &mut Wanted) -> Result<Decided, DbError> {
        let repeat = Repeat::read(stored)?;
        if let RepeatAnswer::Applied { link, .. } | RepeatAnswer::Pruned(link) = &repeat.answer {
            wanted.record(&self.correct.user_id, record_id(*link)?);
        }
        Ok(Decided::Repeat(repeat))
    }

    fn answer(&self, decided: Decided, saved: &mut Saved<'_>) -> Result<Timed<Known, MeterRefusal>, DbError> {
        let user_id = &self.correct.user_id;
        match decided {
            Decided::Refused(refusal, at) => Ok((Err(refusal), at)),
            Decided::New(pending) => {
                Ok((Ok(Known::Whole(Box::new(pending.saved(user_id, saved)?))), pending.at))
            }
            Decided::Repeat(Repeat { at, answer }) => match answer {
                RepeatAnswer::Refused(refusal) => Ok((Err(refusal), at)),
                RepeatAnswer::Applied { link, .. } | RepeatAnswer::Pruned(link) => {
                    let id = record_id(link)?;
                    let correction = saved.records.get(user_id, id).cloned().map(Box::new).map(Known::Stored);
                    Ok((correction.ok_or(UsageRefusal::UsageRecordNotFound { id }.into()), at))
                }
            },
        }
    }
}

impl PendingCorrection {
    fn saved(&self, user_id: &UserId, saved: &mut Saved<'_>) -> Result<Corrected, DbError> {
        let refund = match self.refund {
            Some((place, _)) => saved.ledger(place)?.result.ok().and_then(|applied| applied.entry),
            None => None,
        };
        let record = |id| saved.records.get(user_id, id).cloned();
        let correction = record(self.correction_id);
        Ok(Corrected {
            correction: correction.ok_or_else(not_there)?,
            replacement: self.replacement_id.and_then(record),
            refund,
        })
    }
}

impl Correct {
    /// Decides all of it in memory. A refusal leaves what must not be saved in the ledger, but nothing in the records.
    fn decide(
        &self,
        original: Option<&Record>,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<Result<PendingCorrection, MeterRefusal>, DbError> {
        let Some(original) = original.filter(|original| unit.has(original)) else {
            return Ok(Err(UsageRefusal::UsageRecordNotFound { id: self.record_id }.into()));
        };
        let negative = match unit.recording()?.correct(original, &self.reason)? {
            Ok(draft) => draft,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let replacement = match self.replacement(original, unit)? {
            Ok(draft) => draft,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let mut notes = Vec::new();
        let mut refund = None;
        if let Some(charge) = original.charge {
            let ledger = unit.ledger()?;
            let place = ledger.count();
            match &ledger.apply(Cow::Owned(self.refund(charge)))?.result {
                Ok(effect) => {
                    notes.push((REFUND, TransactionName::Transaction(effect.transaction_id).to_string()));
                    refund = Some((place, effect.transaction_id));
                }
                Err(Refusal::RefundExceedsCharge { .. }) => {}
                Err(refusal) => return Ok(Err(refusal.clone().into())),
            }
        }
        let replacement = match replacement.map(|draft| self.charge(draft, unit)).transpose()?.transpose() {
            Ok(draft) => draft,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let at = unit.recording()?.now();
        let replacement =
            replacement.map(|draft| unit.recording().map(|recording| recording.add(draft))).transpose()?;
        notes.extend(replacement.iter().map(|record| (REPLACEMENT, record.id.to_string())));
        let notes = notes.iter().map(|(name, text)| (*name, text.as_str()));
        let correction = unit.recording()?.add(negative.noted(notes));
        unit.wanted.new_record(&correction);
        replacement.iter().for_each(|record| unit.wanted.new_record(record));
        let replacement_id = replacement.map(|record| record.id);
        Ok(Ok(PendingCorrection { at, correction_id: correction.id, replacement_id, refund }))
    }

    fn replacement(
        &self,
        original: &Record,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<Result<Option<Draft>, UsageRefusal>, DbError> {
        let Some(replacement) = &self.replacement else {
            return Ok(Ok(None));
        };
        let mut input = replacement.input.clone();
        if replacement.is_charged {
            // A charge is new, so it is not made for what lies further back than any event may.
            input.occurred_at = input.occurred_at.or(Some(original.occurred_at));
        }
        let new = match input.priced(&*unit.prices()?, original.occurred_at) {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match price_not_found(&new).filter(|_| replacement.is_charged) {
            Some(refusal) => Ok(Err(refusal)),
            None => Ok(unit.recording()?.replace(original, new)?.map(Some)),
        }
    }

    fn charge(&self, draft: Draft, unit: &mut UnitOfWork<'_>) -> Result<Result<Draft, Refusal>, DbError> {
        if !self.is_charged() {
            return Ok(Ok(draft));
        }
        let description = Some(draft.record().event_type.clone());
        let command = |action| Command { description, ..self.command(action, self.charge_nonce) };
        let (charged, _) = charge(draft, Payer::AsFarAsItGoes, command, unit.ledger()?)?;
        Ok(charged.map(|charged| charged.draft))
    }

    fn command(&self, action: Action, nonce: Uuid) -> Command {
        Command {
            user_id: self.user_id.clone(),
            actor: self.actor,
            caller: self.caller,
            nonce,
            description: None,
            metadata: FreeForm::empty(),
            action,
        }
    }

    fn is_charged(&self) -> bool {
        self.replacement.as_ref().is_some_and(|new| new.is_charged)
    }

    fn refund(&self, charge: Charge) -> Command {
        let action = Action::Refund {
            transaction_id: charge.transaction_id,
            amount: None,
            reason: self.reason.clone(),
        };
        self.command(action, self.refund_nonce)
    }

    /// Commands that name everything the ledger has to lock and read; none if no credit moves.
    fn wanted(&self, charge: Option<Charge>) -> Vec<Command> {
        let refund = charge.map(|charge| self.refund(charge));
        let new = self.is_charged().then(|| self.command(Action::ApplyDue, self.charge_nonce));
        refund.into_iter().chain(new).collect()
    }
}

/// A correction with what it names.
async fn of_notes(conn: &mut PgConnection, correction: Record) -> Result<Corrected, DbError> {
    let notes: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(correction.billing_metadata.as_json()).unwrap_or_default();
    let text = |name: &str| notes.get(name).and_then(serde_json::Value::as_str);
    let refund = text(REFUND).and_then(|id| {
        // The first versions wrote the number alone.
        let bare = || Uuid::try_parse(id).ok().map(TransactionName::Transaction);
        TransactionName::of_transaction(id).or_else(bare)
    });
    let refund = match refund {
        Some(name) => credits::find_transaction(conn, &correction.user_id, name).await?,
        None => None,
    };
    let replacement = match text(REPLACEMENT).and_then(|id| id.parse().ok()) {
        Some(id) => usage::find(conn, &correction.user_id, id).await?,
        None => None,
    };
    Ok(Corrected { correction, replacement, refund })
}

fn not_there() -> DbError {
    DbError::Inconsistent("a correction is not there".to_owned())
}

//! A usage record and its charge, decided together: neither is ever written without the other.
//!
//! Guarantees that a refused charge records nothing, that a known event or key charges nothing again, and that an unknown
//! price is never free. Where nothing is to be charged the ledger takes no part.

use std::borrow::Cow;

use credits::{Action, Balance, Command, Effect, Payer, Refusal, UsageCharge};
use idempotency::{KeyConflict, KeyedRequest, Link, NewAnswer, StoredAnswer};
use identity::UserStatus;
use kernel::{Actor, CallerClass, Credits, Failure, FreeForm, IdempotencyKey};
use pg::{DbError, Rejected};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use usage::{Charge, Draft, NewRecord, Next, Pricing, Record, UsageInput, UsageRefusal};
use uuid::Uuid;

use super::{Writes, ledger::acts_as};
use crate::{
    answers::{self, Repeat, RepeatAnswer, Wanted, unusable},
    caller::{CallerCheck, CallerRejected},
    operation::{KeyedOperation, Needs, Outcome, Subject, Timed},
    unit_of_work::{Saved, UnitOfWork},
};

/// A usage record that is wanted.
#[derive(Debug, Clone)]
pub struct UsageCommand {
    /// The usage.
    pub input: UsageInput,
    /// The payer; `None` records and deducts nothing.
    pub from: Option<Payer>,
    /// In which capacity the caller acts.
    pub actor: Actor,
    /// Random bits of the charge, from [`kernel::Ids`].
    pub nonce: Uuid,
    /// The caller's identity of the request.
    pub idempotency: Option<IdempotencyKey>,
}

/// Outcome of a [`UsageCommand`].
pub type UsageOutcome = Outcome<Recorded, MeterRefusal>;

/// A record that is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The record.
    pub record: Record,
    /// Shows whether its event was recorded before.
    pub replay: usage::Replay,
    /// The account behind it; `None` where nothing was to be charged.
    pub balance: Option<Balance>,
}

/// Refusals of a usage record.
///
/// Those that are remembered can be written as JSON, in a form that is stored and never changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MeterRefusal {
    /// The record is refused.
    #[error(transparent)]
    #[serde(rename = "outside", with = "reason")]
    Usage(#[from] UsageRefusal),
    /// The idempotency key was used for another request.
    #[error(transparent)]
    #[serde(skip)]
    Key(#[from] KeyConflict),
    /// Its charge is refused.
    #[error(transparent)]
    #[serde(untagged)]
    Ledger(#[from] Refusal),
}

/// A refusal as the member `reason` of an object.
mod reason {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use usage::UsageRefusal;

    #[derive(Serialize, Deserialize)]
    struct Because<R> {
        reason: R,
    }

    pub(super) fn serialize<S: Serializer>(refusal: &UsageRefusal, serializer: S) -> Result<S::Ok, S::Error> {
        Because { reason: refusal }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UsageRefusal, D::Error> {
        Because::deserialize(deserializer).map(|because| because.reason)
    }
}

impl MeterRefusal {
    /// Returns whether a repeat under the same key is refused again (HTTP contract 1.11).
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        match self {
            Self::Usage(refusal) => refusal.is_remembered(),
            Self::Ledger(refusal) => refusal.is_remembered(),
            Self::Key(_) => false,
        }
    }

    /// The refusal of the domain.
    #[must_use]
    pub fn failure(&self) -> &dyn Failure {
        match self {
            Self::Usage(refusal) => refusal,
            Self::Ledger(refusal) => refusal,
            Self::Key(conflict) => conflict,
        }
    }
}

impl UsageCommand {
    /// Returns whether the ledger takes part: credits may be charged.
    #[must_use]
    pub fn involves_ledger(&self) -> bool {
        self.from.is_some()
    }

    /// A command that names everything the ledger has to lock and read for this, if it takes part.
    fn wanted(&self) -> Option<Command> {
        let action = match self.from? {
            Payer::Hold(hold_id) => Action::Capture { hold_id, amount: None, usage_record_id: None },
            Payer::Available | Payer::AsFarAsItGoes => Action::ApplyDue,
        };
        Some(self.command(self.actor, action))
    }

    /// The class of the caller.
    fn caller(&self) -> CallerClass {
        self.input.recorded_by
    }

    /// A known event that was only recorded cannot be charged by sending it again: that is another event.
    fn agrees(&self, next: Next) -> Result<Next, UsageRefusal> {
        match &next {
            Next::Known(record)
                if self.from.is_some()
                    && record.charge.is_none()
                    && record.credits_charged > record.credits_uncollected =>
            {
                Err(UsageRefusal::UsageConflict { event_id: self.input.event_id.clone().unwrap_or_default() })
            }
            _ => Ok(next),
        }
    }

    fn command(&self, actor: Actor, action: Action) -> Command {
        Command {
            user_id: self.input.user_id.clone(),
            actor,
            caller: self.caller(),
            nonce: self.nonce,
            description: Some(self.input.event_type.clone()),
            metadata: FreeForm::empty(),
            action,
        }
    }
}

/// A [`UsageCommand`], for a user whose status may still have to be checked.
#[derive(Debug)]
struct UsageOperation {
    command: UsageCommand,
    /// As [`UsageCommand::wanted`].
    ledger: Option<Command>,
    check: CallerCheck,
}

/// A record before it is saved.
#[derive(Debug)]
enum Decided {
    New(Box<Timed<Recorded, MeterRefusal>>),
    Repeat(Box<Repeat<RecordedEffect, MeterRefusal>>),
}

impl Writes {
    /// Records usage and deducts its charge, if one is to be deducted; with a check that is due, only for a user in good
    /// standing.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; a refusal of the rules is an outcome.
    pub async fn usage(
        &self,
        command: UsageCommand,
        check: CallerCheck,
    ) -> Result<Result<UsageOutcome, CallerRejected>, Rejected> {
        let ledger = command.wanted();
        self.submit(UsageOperation { command, ledger, check }).await
    }
}

impl KeyedOperation for UsageOperation {
    type Success = Recorded;
    type Refusal = MeterRefusal;
    type Decided = Decided;

    fn needs(&self) -> Needs<'_> {
        let (command, input) = (&self.command, &self.command.input);
        let (user_id, caller) = (&input.user_id, input.recorded_by);
        let texts = [&input.billing_metadata, &input.request_data, &input.response_data];
        Needs {
            caller: Some((user_id, self.check)),
            key: command.idempotency.as_ref().map(|key| KeyedRequest { user_id, key, caller }),
            ledger: self.ledger.as_slice(),
            records: 1,
            events: input.event_id.as_slice(),
            bytes: texts.into_iter().flatten().map(|json| json.as_json().len()).sum(),
            ..Needs::new(Subject::User(user_id))
        }
    }

    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<(Decided, Option<NewAnswer>), DbError> {
        let command = &self.command;
        let (timed, transaction_id) = command.decide(acts_as(command.actor, status), unit)?;
        let mut answer = None;
        if command.idempotency.is_some() {
            answer = stored_answer(&timed, transaction_id)?;
            if let Ok(recorded) = &timed.0 {
                unit.wanted.new_record(&recorded.record);
            }
        }
        Ok((Decided::New(Box::new(timed)), answer))
    }

    fn repeat(&self, stored: &StoredAnswer, wanted: &mut Wanted) -> Result<Decided, DbError> {
        let (repeat, user_id) = (Repeat::read(stored)?, &self.command.input.user_id);
        match &repeat.answer {
            RepeatAnswer::Refused(_) => {}
            RepeatAnswer::Applied { link, .. } => wanted.record(user_id, record_id(*link)?),
            RepeatAnswer::Pruned(link) => {
                wanted.record(user_id, record_id(*link)?);
                if self.command.involves_ledger() {
                    wanted.trace(user_id, link.transaction_id);
                }
            }
        }
        Ok(Decided::Repeat(Box::new(repeat)))
    }

    fn answer(
        &self,
        decided: Decided,
        saved: &mut Saved<'_>,
    ) -> Result<Timed<Recorded, MeterRefusal>, DbError> {
        let user_id = &self.command.input.user_id;
        let Repeat { at, answer } = match decided {
            Decided::Repeat(repeat) => *repeat,
            Decided::New(timed) => {
                let (mut result, at) = *timed;
                // An answer under a key shows the record as it is stored, as its repeats will.
                if let (Some(_), Ok(recorded)) = (&self.command.idempotency, &mut result)
                    && let Some(stored) = saved.records.get(user_id, recorded.record.id)
                {
                    recorded.record = stored.clone();
                }
                return Ok((result, at));
            }
        };
        let involves_ledger = self.command.involves_ledger();
        let (link, replay, balance) = match answer {
            RepeatAnswer::Refused(refusal) => return Ok((Err(refusal), at)),
            RepeatAnswer::Applied { effect, link, .. } => {
                let replay = if effect.replayed { usage::Replay::ByEvent } else { usage::Replay::First };
                (link, replay, Some(effect.balance).filter(|_| !effect.uncharged && involves_ledger))
            }
            RepeatAnswer::Pruned(link) => {
                let trace = || saved.books.trace(user_id, link.transaction_id);
                let trace = involves_ledger.then(trace).transpose()?;
                let balance = trace.map(|(trace, present)| trace.balance(present));
                (link, usage::Replay::First, balance)
            }
        };
        let id = record_id(link)?;
        Ok(match saved.records.get(user_id, id) {
            // It was dropped with its month.
            None => (Err(UsageRefusal::UsageRecordNotFound { id }.into()), at),
            Some(record) => (Ok(Recorded { record: record.clone(), replay, balance }), at),
        })
    }

    fn shown_again(&self, first: Recorded) -> Recorded {
        Recorded { balance: first.balance.filter(|_| self.command.involves_ledger()), ..first }
    }
}

impl UsageCommand {
    /// The outcome, and the transaction that names it: the nonce where the ledger did nothing.
    fn decide(
        &self,
        actor: Actor,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<(Timed<Recorded, MeterRefusal>, Uuid), DbError> {
        let now = unit.recording()?.now();
        let next = self.next(unit)?.and_then(|next| self.agrees(next));
        let timed = match (next, self.from) {
            (Err(refusal), _) => (Err(refusal.into()), now),
            (Ok(Next::Known(record)), None) => {
                (Ok(Recorded { record: *record, replay: usage::Replay::ByEvent, balance: None }), now)
            }
            (Ok(Next::Known(record)), Some(_)) => self.known(*record, unit)?,
            (Ok(Next::New(draft)), None) => {
                let record = unit.recording()?.add(*draft);
                (Ok(Recorded { record, replay: usage::Replay::First, balance: None }), now)
            }
            (Ok(Next::New(draft)), Some(from)) => return self.charge(actor, from, *draft, unit),
        };
        Ok((timed, self.nonce))
    }

    /// The event, priced. An unknown charge is refused.
    fn next(&self, unit: &mut UnitOfWork<'_>) -> Result<Result<Next, UsageRefusal>, DbError> {
        let (input, book) = (&self.input, unit.prices()?);
        let recording = unit.recording()?;
        if let Some(event_id) = &input.event_id
            && recording.may_know(&input.user_id, event_id, input.recorded_by)
        {
            let new = input.clone().complete();
            if recording.known(&new).is_some() {
                // Its price does not matter any more.
                return recording.next(new);
            }
        }
        let new = match input.clone().priced(&book, recording.now()) {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let unknown = self.from.and_then(|_| price_not_found(&new));
        let next = recording.next(new)?;
        Ok(match (next, unknown) {
            (Ok(Next::New(_)), Some(refusal)) => Err(refusal),
            (next, _) => next,
        })
    }

    /// An event that was recorded before charges nothing again; the answer shows the balance as it is.
    fn known(
        &self,
        record: Record,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<Timed<Recorded, MeterRefusal>, DbError> {
        let (user_id, ledger) = (&self.input.user_id, unit.ledger()?);
        let at = ledger.at(user_id);
        Ok(match ledger.balance(user_id)? {
            None => (Err(Refusal::UserNotFound { user_id: user_id.clone() }.into()), at),
            balance => (Ok(Recorded { record, replay: usage::Replay::ByEvent, balance }), at),
        })
    }

    fn charge(
        &self,
        actor: Actor,
        from: Payer,
        draft: Draft,
        unit: &mut UnitOfWork<'_>,
    ) -> Result<(Timed<Recorded, MeterRefusal>, Uuid), DbError> {
        let command = |action| self.command(actor, action);
        let (charged, at) = charge(draft, from, command, unit.ledger()?)?;
        Ok(match charged {
            Err(refusal) => ((Err(refusal.into()), at), self.nonce),
            Ok(Charged { draft, balance, transaction_id }) => {
                let record = unit.recording()?.add(draft);
                let recorded = Recorded { record, replay: usage::Replay::First, balance: Some(balance) };
                ((Ok(recorded), at), transaction_id)
            }
        })
    }
}

/// A record that is charged but not added yet.
pub(crate) struct Charged {
    pub(crate) draft: Draft,
    /// The balance after it.
    pub(crate) balance: Balance,
    /// The transaction of the charge, also where it charged nothing.
    transaction_id: Uuid,
}

/// Charges a record that is not added yet.
pub(crate) fn charge(
    draft: Draft,
    from: Payer,
    command: impl FnOnce(Action) -> Command,
    ledger: &mut credits::Deciding<'_>,
) -> Result<Timed<Charged, Refusal>, DbError> {
    let (amount, usage_record_id) = (draft.record().credits_charged, draft.record().id);
    let command = command(Action::Meter(UsageCharge { amount, from, usage_record_id }));
    let preview = ledger.apply(Cow::Owned(command))?;
    let charged = |effect: &Effect| {
        let transaction_id = effect.transaction_id;
        let draft = match effect.entry_seq() {
            Some(seq) => draft.charged(Charge { transaction_id, seq }),
            None => draft,
        };
        let draft = draft.uncollected(effect.uncollected);
        Charged { draft, balance: effect.balance, transaction_id }
    };
    Ok((preview.result.as_ref().map(charged).map_err(Clone::clone), preview.at))
}

/// The stored answer of a record under a key, without the record. Earlier versions read it too, and refuse it without all of its
/// figures: they are zero where nothing was to be charged.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordedEffect {
    /// The account after it.
    #[serde(flatten)]
    balance: Balance,
    /// Credits that could not be charged.
    #[serde(default, with = "kernel::stored::micro_credits")]
    uncollected: Credits,
    /// True if the event was recorded before.
    replayed: bool,
    /// True if nothing was to be charged, so that there is no balance. Earlier versions did not store it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    uncharged: bool,
    /// Member of the ledger's answers; named, so that it is skipped without being read.
    #[serde(default, skip_serializing, rename = "hold")]
    _hold: IgnoredAny,
    #[serde(default, skip_serializing, rename = "grant")]
    _grant: IgnoredAny,
}

impl RecordedEffect {
    /// The effect of a request that charged nothing.
    pub(crate) fn uncharged() -> Self {
        Self::new(None, Credits::ZERO, false)
    }

    fn new(balance: Option<Balance>, uncollected: Credits, replayed: bool) -> Self {
        Self {
            balance: balance.unwrap_or_default(),
            uncollected,
            replayed,
            uncharged: balance.is_none(),
            _hold: IgnoredAny,
            _grant: IgnoredAny,
        }
    }
}

/// The answer to be stored; `None` for a refusal that is not remembered.
fn stored_answer(
    (result, at): &Timed<Recorded, MeterRefusal>,
    transaction_id: Uuid,
) -> Result<Option<NewAnswer>, DbError> {
    match result {
        Err(refusal) if !refusal.is_remembered() => Ok(None),
        Err(refusal) => answers::refused(*at, refusal).map(Some),
        Ok(Recorded { record, replay, balance }) => {
            let is_known = *replay == usage::Replay::ByEvent;
            let entry_seq = record.charge.filter(|_| !is_known).map(|charge| charge.seq);
            let link = Link { transaction_id, usage_record_id: Some(record.id) };
            let effect = RecordedEffect::new(*balance, record.credits_uncollected, is_known);
            answers::applied(*at, entry_seq, link, &effect).map(Some)
        }
    }
}

/// The record of a request that recorded usage.
pub(crate) fn record_id(link: Link) -> Result<i64, DbError> {
    link.usage_record_id.ok_or_else(|| unusable("it names no usage record"))
}

/// The refusal of an event whose charge is unknown.
pub(crate) fn price_not_found(new: &NewRecord) -> Option<UsageRefusal> {
    match new.pricing {
        Pricing::Stated | Pricing::Rated { .. } => None,
        Pricing::Unrated { token_class } => Some(UsageRefusal::PriceNotFound {
            provider: new.provider.clone(),
            model_name: new.model_name.clone(),
            token_class,
        }),
    }
}

//! A usage record and its charge, decided together: neither is ever written without the other.
//!
//! Guarantees that a refused charge records nothing, that a known event or key charges nothing again, and that an unknown
//! price is never free. Reads usage (events, prices) and credits; both are written by the caller, in one transaction, with the
//! answer under the key. Where nothing is to be charged the ledger takes no part.

use std::{borrow::Cow, collections::BTreeMap};

use credits::{Action, Balance, Command, Deciding, Metering, Payer, Refusal};
use idempotency::{KeyConflict, KeyedRequest, Link, NewAnswer, Replay, StoredAnswer};
use kernel::{Actor, CallerClass, Credits, Failure, FreeForm, IdempotencyKey, UserId};
use pg::DbError;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use time::OffsetDateTime;
use usage::{
    Charge, Draft, NewRecord, Next, Pricing, Record, Recording, UsageInput, UsageRefusal, rating::PriceBook,
};
use uuid::Uuid;

use crate::answers::{self, Books, Repeat, RepeatAnswer, Wanted, unusable};

/// A usage record that is wanted.
#[derive(Debug, Clone)]
pub struct Metered {
    /// What was used.
    pub input: UsageInput,
    /// What pays for it; `None` records and deducts nothing.
    pub from: Option<Payer>,
    /// In which capacity the caller acts.
    pub actor: Actor,
    /// Identity of the charge, from [`kernel::Ids`].
    pub transaction_id: Uuid,
    /// The caller's identity of the request.
    pub idempotency: Option<IdempotencyKey>,
}

/// What became of a [`Metered`].
#[derive(Debug, Clone, PartialEq)]
pub struct Meterage {
    /// The record, or why there is none.
    pub result: Result<Recorded, MeterRefusal>,
    /// When that was decided. A repeat under the same key has the instant of the first answer.
    pub at: OffsetDateTime,
    /// Whether this answers a repeat under the same key.
    pub replay: Replay,
}

/// A record that is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The record.
    pub record: Record,
    /// Whether its event was recorded before.
    pub replay: usage::Replay,
    /// The account behind it; `None` where nothing was to be charged.
    pub balance: Option<Balance>,
}

/// Why nothing was recorded.
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

impl Metered {
    /// Returns whether the ledger takes part: credits may be charged.
    #[must_use]
    pub fn involves_ledger(&self) -> bool {
        self.from.is_some()
    }

    /// The request with its key, if it has one.
    pub(crate) fn keyed(&self) -> Option<KeyedRequest<'_>> {
        let key = self.idempotency.as_ref()?;
        Some(KeyedRequest { user_id: &self.input.user_id, key, caller: self.caller() })
    }

    /// A command that names everything the ledger has to lock and read for this, if it takes part.
    pub(crate) fn wanted(&self) -> Option<Command> {
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
            transaction_id: self.transaction_id,
            description: Some(self.input.event_type.clone()),
            metadata: FreeForm::empty(),
            action,
        }
    }
}

/// Decides what waits together, in its order.
pub(crate) struct Desk<'a, 'b> {
    /// The ledger, if any of what waits involves it.
    pub(crate) ledger: Option<&'b mut Deciding<'a>>,
    pub(crate) recording: &'b mut Recording,
    pub(crate) book: &'b PriceBook,
    /// In which capacity the next one is asked for.
    pub(crate) actor: Actor,
}

/// The result of a record, and when it was decided.
type Decided = (Result<Recorded, MeterRefusal>, OffsetDateTime);

impl<'a> Desk<'a, '_> {
    /// Decides the next one.
    pub(crate) fn decide(&mut self, metered: &Metered) -> Result<Meterage, DbError> {
        let now = self.recording.now();
        let next = self.next(metered)?.and_then(|next| metered.agrees(next));
        let (result, at) = match (next, metered.from) {
            (Err(refusal), _) => (Err(refusal.into()), now),
            (Ok(Next::Known(record)), None) => {
                (Ok(Recorded { record: *record, replay: usage::Replay::ByEvent, balance: None }), now)
            }
            (Ok(Next::Known(record)), Some(_)) => self.known(metered, *record)?,
            (Ok(Next::New(draft)), None) => {
                let record = self.recording.add(*draft);
                (Ok(Recorded { record, replay: usage::Replay::First, balance: None }), now)
            }
            (Ok(Next::New(draft)), Some(from)) => self.charge(metered, from, *draft)?,
        };
        Ok(Meterage { result, at, replay: Replay::First })
    }

    /// The event, priced. A charge that nobody can tell is refused.
    fn next(&mut self, metered: &Metered) -> Result<Result<Next, UsageRefusal>, DbError> {
        let input = &metered.input;
        if let Some(event_id) = &input.event_id
            && self.recording.may_know(&input.user_id, event_id, input.recorded_by)
        {
            let new = input.clone().complete();
            if self.recording.known(&new).is_some() {
                // Its price does not matter any more.
                return self.recording.next(new);
            }
        }
        let new = match metered.input.clone().priced(self.book, self.recording.now()) {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let unknown = metered.from.and_then(|_| price_not_found(&new));
        let next = self.recording.next(new)?;
        Ok(match (next, unknown) {
            (Ok(Next::New(_)), Some(refusal)) => Err(refusal),
            (next, _) => next,
        })
    }

    /// An event that was recorded before charges nothing again; the answer shows the balance as it is.
    fn known(&mut self, metered: &Metered, record: Record) -> Result<Decided, DbError> {
        let (user_id, ledger) = (&metered.input.user_id, self.ledger()?);
        let at = ledger.at(user_id);
        Ok(match ledger.balance(user_id)? {
            None => (Err(Refusal::UserNotFound { user_id: user_id.clone() }.into()), at),
            balance => (Ok(Recorded { record, replay: usage::Replay::ByEvent, balance }), at),
        })
    }

    fn charge(&mut self, metered: &Metered, from: Payer, draft: Draft) -> Result<Decided, DbError> {
        let usage_record_id = draft.record().id;
        let metering = Metering { amount: draft.record().credits_charged, from, usage_record_id };
        let command = metered.command(self.actor, Action::Meter(metering));
        let preview = self.ledger()?.apply(Cow::Owned(command))?;
        let at = preview.at;
        let effect = match &preview.result {
            Err(refusal) => return Ok((Err(refusal.clone().into()), at)),
            Ok(effect) => effect,
        };
        let draft = match effect.entry_seq() {
            Some(seq) => draft.charged(Charge { transaction_id: metered.transaction_id, seq }),
            None => draft,
        };
        let (draft, balance) = (draft.uncollected(effect.uncollected), Some(effect.balance));
        let record = self.recording.add(draft);
        Ok((Ok(Recorded { record, replay: usage::Replay::First, balance }), at))
    }

    fn ledger(&mut self) -> Result<&mut Deciding<'a>, DbError> {
        let ledger = self.ledger.as_deref_mut();
        ledger.ok_or_else(|| DbError::Inconsistent("a charge without its ledger".to_owned()))
    }
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
pub(crate) fn answer(metered: &Metered, meterage: &Meterage) -> Result<Option<NewAnswer>, DbError> {
    match &meterage.result {
        Err(refusal) if !refusal.is_remembered() => Ok(None),
        Err(refusal) => answers::refused(meterage.at, refusal).map(Some),
        Ok(Recorded { record, replay, balance }) => {
            let is_known = *replay == usage::Replay::ByEvent;
            let entry_seq = record.charge.filter(|_| !is_known).map(|charge| charge.seq);
            let transaction_id = metered.transaction_id;
            let link = Link { transaction_id, usage_record_id: Some(record.id) };
            let effect = RecordedEffect::new(*balance, record.credits_uncollected, is_known);
            answers::applied(meterage.at, entry_seq, link, &effect).map(Some)
        }
    }
}

/// The repeat of a record.
#[derive(Debug)]
pub(crate) struct UsageRepeat(Repeat<RecordedEffect, MeterRefusal>);

/// The first answer to a record, without the record.
#[derive(Debug)]
pub(crate) struct FirstAnswer {
    /// The record, by its id.
    result: Result<(i64, usage::Replay, Option<Balance>), MeterRefusal>,
    at: OffsetDateTime,
}

impl UsageRepeat {
    /// Reads the stored answer, and notes what it needs from the books.
    pub(crate) fn read(
        metered: &Metered,
        stored: &StoredAnswer,
        wanted: &mut Wanted,
    ) -> Result<Self, DbError> {
        let repeat: Repeat<RecordedEffect, MeterRefusal> = Repeat::read(stored)?;
        if let RepeatAnswer::Pruned(link) = &repeat.answer
            && metered.involves_ledger()
        {
            wanted.trace(&metered.input.user_id, link.transaction_id);
        }
        Ok(Self(repeat))
    }

    /// The first answer. `present` is the balance of the account, if the ledger takes part.
    pub(crate) fn first_answer(
        self,
        metered: &Metered,
        books: &Books,
        present: Option<Balance>,
    ) -> Result<FirstAnswer, DbError> {
        let Repeat { at, answer } = self.0;
        let result = match answer {
            RepeatAnswer::Refused(refusal) => Err(refusal),
            RepeatAnswer::Applied { effect, link, .. } => {
                let replay = match effect.replayed {
                    true => usage::Replay::ByEvent,
                    false => usage::Replay::First,
                };
                Ok((
                    record_id(link)?,
                    replay,
                    Some(effect.balance).filter(|_| !effect.uncharged && metered.involves_ledger()),
                ))
            }
            RepeatAnswer::Pruned(link) => {
                let balance = match present.filter(|_| metered.involves_ledger()) {
                    Some(present) => {
                        let trace = books.trace(&metered.input.user_id, link.transaction_id)?;
                        Some(trace.balance(present))
                    }
                    None => None,
                };
                Ok((record_id(link)?, usage::Replay::First, balance))
            }
        };
        Ok(FirstAnswer { result, at })
    }
}

/// The record of a request that recorded usage.
pub(crate) fn record_id(link: Link) -> Result<i64, DbError> {
    link.usage_record_id.ok_or_else(|| unusable("it names no usage record"))
}

impl FirstAnswer {
    /// The record that it shows.
    pub(crate) fn record_id(&self) -> Option<i64> {
        self.result.as_ref().ok().map(|(id, ..)| *id)
    }

    /// The answer with its record, which may have been dropped with its month.
    pub(crate) fn with_record(self, user_id: &UserId, stored: &Records) -> Meterage {
        let result = self.result.and_then(|(id, replay, balance)| match stored.get(user_id, id) {
            None => Err(UsageRefusal::UsageRecordNotFound { id }.into()),
            Some(record) => Ok(Recorded { record: record.clone(), replay, balance }),
        });
        Meterage { result, at: self.at, replay: Replay::ByKey }
    }
}

/// Records as the database has them, for answers under a key: those are the same for good.
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

/// Why the charge of an event cannot be told.
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

//! A usage record is taken back, what it charged is given back, and another may stand in its stead: in one commit.
//!
//! Guarantees that a record is taken back once, that the refund is what was not given back before, and that neither is done
//! without the other. Reads usage and credits; touches credits, webhooks, idempotency and usage, in this order. Where no credit
//! moves, no account is locked. Rare, so it has a transaction of its own.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use credits::{Action, Command, Decided, Deciding, Entry, Metering, Payer, Refusal, TransactionName};
use futures_util::try_join;
use idempotency::{KeyStatus, KeyedRequest, Keys, Link, Replay, StoredAnswer};
use kernel::{Actor, CallerClass, Clock, FreeForm, IdempotencyKey, Ids, UserId};
use pg::{Attempts, DbError, Pool, Tx};
use time::OffsetDateTime;
use usage::{Charge, Draft, Prices, Record, Recording, UsageInput, UsageRefusal, rating::PriceBook};
use uuid::Uuid;

use crate::{
    answers::{self, Repeat, RepeatAnswer},
    events,
    metering::{MeterRefusal, RecordedEffect, price_not_found, record_id},
};

/// Attempts while it is certain that nothing was done.
const ATTEMPTS: u32 = 3;
/// Where the correction names the refund, in what is kept about billing.
const REFUND: &str = "refund_transaction_id";
/// Where it names the record that stands in the stead.
const REPLACEMENT: &str = "replacement_id";

/// A record that is to be taken back.
#[derive(Debug, Clone)]
pub struct Correct {
    /// Whose record.
    pub user_id: UserId,
    /// Which.
    pub record_id: i64,
    /// Why; kept with the correction and the refund.
    pub reason: String,
    /// What is recorded in its stead.
    pub replacement: Option<Replacement>,
    /// In which capacity the caller acts.
    pub actor: Actor,
    /// The class of the caller.
    pub caller: CallerClass,
    /// The caller's identity of the request.
    pub idempotency: Option<IdempotencyKey>,
}

/// What is recorded in the stead of a record.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// What was really used.
    pub input: UsageInput,
    /// Whether it is charged: from what is available, as far as that goes, because the work was done.
    pub is_charged: bool,
}

/// What became of a [`Correct`].
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was done, or why not.
    pub result: Result<Corrected, MeterRefusal>,
    /// When that was decided.
    pub at: OffsetDateTime,
    /// Whether this answers a repeat under the same key.
    pub replay: Replay,
}

/// A record that was taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrected {
    /// What takes it back.
    pub correction: Record,
    /// What stands in its stead.
    pub replacement: Option<Record>,
    /// What was given back.
    pub refund: Option<Entry>,
}

/// Takes records back.
#[derive(Clone)]
pub struct Corrections {
    pool: Pool,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    defaults: credits::Defaults,
    prices: Prices,
}

impl std::fmt::Debug for Corrections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corrections").finish_non_exhaustive()
    }
}

/// What is to be saved, and what the answer will show.
struct Draught {
    records: Vec<i64>,
    refund: Option<Uuid>,
}

impl Corrections {
    /// On the database behind `pool`. `defaults` hold for accounts that say nothing of their own.
    #[must_use]
    pub fn new(pool: Pool, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, defaults: credits::Defaults) -> Self {
        let prices = Prices::new();
        Self { pool, clock, ids, defaults, prices }
    }

    /// Takes a record back.
    ///
    /// # Errors
    /// [`DbError`] when it failed. Refusals are outcomes: those of [`usage::correct`], and of the ledger those of a refund,
    /// but for [`Refusal::RefundExceedsCharge`]: where all was given back before, nothing is left to give.
    pub async fn correct(&self, wish: &Correct) -> Result<Outcome, DbError> {
        let mut attempts = Attempts::up_to(ATTEMPTS);
        loop {
            let done = Tx::run(&self.pool, async |tx| self.decide(tx, wish).await).await;
            match done {
                Err(error) if attempts.again(&error).await => {}
                done => return done,
            }
        }
    }

    async fn decide(&self, tx: &mut Tx, wish: &Correct) -> Result<Outcome, DbError> {
        // Records never change, so this needs no lock but that against the making of months.
        usage::lock_to_write(tx.conn()).await?;
        let original = usage::find(tx.conn(), &wish.user_id, wish.record_id).await?;
        let wanted = original.as_ref().map_or_else(Vec::new, |record| wish.wanted(record.charge));
        let locked = match wanted.is_empty() {
            true => None,
            false => Some(credits::lock(tx.conn(), &*self.clock, &wanted).await?),
        };
        let new = wish.replacement.as_ref().map(|new| new.input.clone().complete());
        let events = usage::correction_events(wish.record_id, new.as_ref());
        let events = events.iter().map(|event| (&wish.user_id, event.as_str()));
        let (conn, keyed) = (tx.shared(), wish.keyed());
        let prepare = async {
            match locked {
                Some(locked) => credits::prepare(conn, self.defaults, locked).await.map(Some),
                None => Ok(None),
            }
        };
        let (mut ledger, (mut recording, book), mut keys) = try_join!(
            prepare,
            usage::look_up(conn, &*self.clock, &self.prices, events, 2),
            idempotency::look_up(conn, keyed),
        )?;
        let now = recording.now();
        match keyed.map(|request| keys.status(request)) {
            Some(KeyStatus::Answered(stored)) => return repeat(tx, wish, stored).await,
            Some(KeyStatus::Conflict(conflict)) => return Ok(refused(conflict.into(), now)),
            Some(KeyStatus::New | KeyStatus::InBatch(_)) | None => {}
        }
        let done = match original {
            None => Err(UsageRefusal::UsageRecordNotFound { id: wish.record_id }.into()),
            Some(original) => self.book(wish, &original, ledger.as_mut(), &mut recording, &book)?,
        };
        match done {
            Ok(draught) => {
                if let Some(request) = keyed {
                    let transaction_id = draught.refund.unwrap_or_else(|| self.id());
                    let usage_record_id = draught.records.first().copied();
                    let link = Link { transaction_id, usage_record_id };
                    keys.add(request, 0, answers::applied(now, None, link, &RecordedEffect::uncharged())?);
                }
                let ledger = ledger.map(Deciding::finish);
                save(tx, wish, draught, ledger, keys, recording).await
            }
            Err(refusal) => {
                // What was decided in memory is not saved, only that it was refused.
                if let Some(request) = keyed.filter(|_| refusal.is_remembered()) {
                    keys.add(request, 0, answers::refused(now, &refusal)?);
                    keys.save(tx).await?;
                }
                Ok(refused(refusal, now))
            }
        }
    }

    /// Decides all of it in memory; a refusal leaves what must not be saved.
    fn book(
        &self,
        wish: &Correct,
        original: &Record,
        mut ledger: Option<&mut Deciding<'_>>,
        recording: &mut Recording,
        book: &PriceBook,
    ) -> Result<Result<Draught, MeterRefusal>, DbError> {
        let negative = match recording.correct(original, &wish.reason)? {
            Ok(draft) => draft,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let replacement = match self.replacement(wish, original, recording, book)? {
            Ok(draft) => draft,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let mut notes = Vec::new();
        let mut refund = None;
        if let Some(charge) = original.charge {
            let transaction_id = self.id();
            let command = wish.refund(charge, transaction_id);
            match &locked(ledger.as_deref_mut())?.apply(Cow::Owned(command))?.result {
                Ok(_) => {
                    notes.push((REFUND, TransactionName::Transaction(transaction_id).to_string()));
                    refund = Some(transaction_id);
                }
                Err(Refusal::RefundExceedsCharge { .. }) => {}
                Err(refusal) => return Ok(Err(refusal.clone().into())),
            }
        }
        let mut records = vec![negative.record().id];
        if let Some(draft) = replacement {
            notes.push((REPLACEMENT, draft.record().id.to_string()));
            let draft = match self.charge(wish, draft, ledger)? {
                Ok(draft) => draft,
                Err(refusal) => return Ok(Err(refusal.into())),
            };
            records.push(recording.add(draft).id);
        }
        let notes = notes.iter().map(|(name, text)| (*name, text.as_str()));
        recording.add(negative.noted(notes));
        Ok(Ok(Draught { records, refund }))
    }

    fn replacement(
        &self,
        wish: &Correct,
        original: &Record,
        recording: &mut Recording,
        book: &PriceBook,
    ) -> Result<Result<Option<Draft>, UsageRefusal>, DbError> {
        let Some(replacement) = &wish.replacement else {
            return Ok(Ok(None));
        };
        let mut input = replacement.input.clone();
        if replacement.is_charged {
            // A charge is new, so it is not made for what lies further back than any event may.
            input.occurred_at = input.occurred_at.or(Some(original.occurred_at));
        }
        let new = match input.priced(book, original.occurred_at) {
            Ok(new) => new,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match price_not_found(&new).filter(|_| replacement.is_charged) {
            Some(refusal) => Ok(Err(refusal)),
            None => Ok(recording.replace(original, new)?.map(Some)),
        }
    }

    fn charge(
        &self,
        wish: &Correct,
        draft: Draft,
        ledger: Option<&mut Deciding<'_>>,
    ) -> Result<Result<Draft, Refusal>, DbError> {
        if !wish.is_charged() {
            return Ok(Ok(draft));
        }
        let transaction_id = self.id();
        let metering = Metering {
            amount: draft.record().credits_charged,
            from: Payer::AsFarAsItGoes,
            usage_record_id: draft.record().id,
        };
        let command = Command {
            description: Some(draft.record().event_type.clone()),
            ..wish.command(Action::Meter(metering), transaction_id)
        };
        Ok(match &locked(ledger)?.apply(Cow::Owned(command))?.result {
            Err(refusal) => Err(refusal.clone()),
            Ok(effect) => Ok(match effect.entry_seq() {
                Some(seq) => draft.charged(Charge { transaction_id, seq }),
                None => draft,
            }
            .uncollected(effect.uncollected)),
        })
    }

    fn id(&self) -> Uuid {
        self.ids.uuid()
    }
}

impl Correct {
    fn command(&self, action: Action, transaction_id: Uuid) -> Command {
        Command {
            user_id: self.user_id.clone(),
            actor: self.actor,
            caller: self.caller,
            transaction_id,
            description: None,
            metadata: FreeForm::empty(),
            action,
        }
    }

    /// The request with its key, if it has one.
    fn keyed(&self) -> Option<KeyedRequest<'_>> {
        let key = self.idempotency.as_ref()?;
        Some(KeyedRequest { user_id: &self.user_id, key, caller: self.caller })
    }

    fn is_charged(&self) -> bool {
        self.replacement.as_ref().is_some_and(|new| new.is_charged)
    }

    fn refund(&self, charge: Charge, transaction_id: Uuid) -> Command {
        let action = Action::Refund {
            transaction_id: charge.transaction_id,
            amount: None,
            reason: self.reason.clone(),
        };
        self.command(action, transaction_id)
    }

    /// Commands that name everything the ledger has to lock and read; none if no credit moves.
    fn wanted(&self, charge: Option<Charge>) -> Vec<Command> {
        let refund = charge.map(|charge| self.refund(charge, Uuid::nil()));
        let new = self.is_charged().then(|| self.command(Action::ApplyDue, Uuid::nil()));
        refund.into_iter().chain(new).collect()
    }
}

/// The ledger, which takes part where credit moves.
fn locked<'b, 'a>(ledger: Option<&'b mut Deciding<'a>>) -> Result<&'b mut Deciding<'a>, DbError> {
    ledger
        .ok_or_else(|| DbError::Inconsistent("a correction that moves credit without an account".to_owned()))
}

async fn save(
    tx: &mut Tx,
    wish: &Correct,
    draught: Draught,
    ledger: Option<Decided<'_>>,
    keys: Keys,
    recording: Recording,
) -> Result<Outcome, DbError> {
    let at = recording.now();
    let news = ledger.as_ref().map(|decided| events::of_entries(decided.entries(), decided.low()));
    let (news, shared) = (news.unwrap_or_default(), &*tx);
    let ledger = async {
        match ledger {
            Some(decided) => Ok(decided.save(shared).await?.entries),
            None => Ok(Vec::new()),
        }
    };
    let (entries, (), (), ()) =
        try_join!(ledger, webhooks::enqueue(shared, &news), keys.save(shared), recording.save(shared))?;
    let refund = entries.into_iter().find(|entry| Some(entry.transaction_id) == draught.refund);
    let result = Ok(shown(tx, &wish.user_id, &draught.records, refund).await?);
    Ok(Outcome { result, at, replay: Replay::First })
}

fn refused(refusal: MeterRefusal, at: OffsetDateTime) -> Outcome {
    Outcome { result: Err(refusal), at, replay: Replay::First }
}

/// The first outcome again.
async fn repeat(tx: &mut Tx, wish: &Correct, stored: &StoredAnswer) -> Result<Outcome, DbError> {
    let Repeat { at, answer } = Repeat::<RecordedEffect, MeterRefusal>::read(stored)?;
    let result = match answer {
        RepeatAnswer::Refused(refusal) => Err(refusal),
        RepeatAnswer::Applied { link, .. } | RepeatAnswer::Pruned(link) => {
            let id = record_id(link)?;
            match usage::find(tx.conn(), &wish.user_id, id).await? {
                None => Err(UsageRefusal::UsageRecordNotFound { id }.into()),
                Some(correction) => Ok(of_notes(tx, correction).await?),
            }
        }
    };
    Ok(Outcome { result, at, replay: Replay::ByKey })
}

/// A correction with what it names.
async fn of_notes(tx: &mut Tx, correction: Record) -> Result<Corrected, DbError> {
    let notes: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(correction.billing_metadata.as_json()).unwrap_or_default();
    let text = |name: &str| notes.get(name).and_then(serde_json::Value::as_str);
    let refund = text(REFUND).and_then(|id| {
        // The first versions wrote the number alone.
        let bare = || Uuid::try_parse(id).ok().map(TransactionName::Transaction);
        TransactionName::of_transaction(id).or_else(bare)
    });
    let refund = match refund {
        Some(name) => credits::find_transaction(tx.conn(), &correction.user_id, name).await?,
        None => None,
    };
    let replacement = text(REPLACEMENT).and_then(|id| id.parse().ok());
    let ids: Vec<i64> = [correction.id].into_iter().chain(replacement).collect();
    shown(tx, &correction.user_id.clone(), &ids, refund).await
}

/// The correction and its replacement, by their ids, as the database has them.
async fn shown(
    tx: &mut Tx,
    user_id: &UserId,
    ids: &[i64],
    refund: Option<Entry>,
) -> Result<Corrected, DbError> {
    let wanted: Vec<(&UserId, i64)> = ids.iter().map(|id| (user_id, *id)).collect();
    let mut found = usage::find_all(tx.conn(), &wanted).await?;
    let mut take = |is: fn(&Record) -> bool| {
        let place = found.iter().position(is);
        place.map(|place| found.swap_remove(place))
    };
    let correction = take(|record| record.correction_of.is_some());
    Ok(Corrected {
        correction: correction
            .ok_or_else(|| DbError::Inconsistent("a correction is not there".to_owned()))?,
        replacement: take(|record| record.correction_of.is_none()),
        refund,
    })
}

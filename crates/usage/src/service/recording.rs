//! Recording, step by step: look up, decide each event, save.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use diesel_async::AsyncPgConnection;
use kernel::{CallerClass, Clock, Credits, UserId};
use pg::{DbError, Tx};
use time::OffsetDateTime;

use super::price_cache::Prices;
use crate::{
    CORRECTION, Charge, EventId, NewRecord, Record, UsageRefusal,
    core::{instant, rollup},
    model::input,
    rating::PriceBook,
    store::{
        self,
        dedupe::{Known, Shelf},
        saving::{Claim, Saving},
    },
};

/// Events that are being recorded in a transaction. Nothing is written before [`Recording::save`].
#[derive(Debug)]
pub struct Recording {
    now: OffsetDateTime,
    ids: std::vec::IntoIter<i64>,
    /// Events that were recorded before, and those that are recorded now.
    known: BTreeMap<EventName, Seen>,
    /// Event ids whose place in the table of the first callers is taken.
    taken: BTreeSet<(UserId, String)>,
    claims: Vec<EventClaim>,
    records: Vec<Record>,
    /// Credits deducted for the records that corrections among them take back, by the ids of the corrections.
    returned: BTreeMap<i64, Credits>,
}

/// User and id of an event, and the class of callers to whom it is known: of an unknown one, if an earlier version recorded it.
type EventName = (UserId, String, Option<CallerClass>);

/// An event id that stands for a record.
#[derive(Debug)]
struct Seen {
    payload: Vec<u8>,
    record: RecordSource,
}

/// Where the record of an event is.
#[derive(Debug)]
enum RecordSource {
    /// It was recorded before.
    Another(Box<Record>),
    /// It is this one of those that are recorded now.
    Ours(usize),
}

/// An event id that is to stand for one of the records.
#[derive(Debug)]
struct EventClaim {
    event: EventId,
    place: usize,
    caller: Option<CallerClass>,
    shelf: Shelf,
}

/// Treatment of an event.
#[derive(Debug)]
pub enum Next {
    /// It was recorded before: this is its record.
    Known(Box<Record>),
    /// It can be recorded.
    New(Box<Draft>),
}

/// A record that was not added yet.
#[derive(Debug)]
pub struct Draft {
    record: Record,
    event: Option<EventId>,
    /// Credits deducted for the record that it takes back.
    returned: Option<Credits>,
}

impl Draft {
    /// The record as it will be, but for its charge.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// With what it was charged.
    #[must_use]
    pub fn charged(mut self, charge: Charge) -> Self {
        self.record.charge = Some(charge);
        self
    }

    /// With further texts in what is kept about billing.
    #[must_use]
    pub fn noted<'a>(mut self, notes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.record.billing_metadata = self.record.billing_metadata.with_texts(notes);
        self
    }

    /// With the part of its charge that nothing was left to pay for.
    #[must_use]
    pub fn uncollected(mut self, part: Credits) -> Self {
        self.record.credits_uncollected = part;
        self
    }
}

/// Looks up what recording up to `count` events needs: ids, which of `events` were recorded before, and the prices as of
/// [`Prices::book`].
///
/// To be sent behind the statements that lock: what is recorded under those locks by others is seen then. The statement
/// needs no answer to another.
///
/// # Errors
/// [`DbError`] when that failed.
pub async fn look_up<'a>(
    conn: &AsyncPgConnection,
    clock: &dyn Clock,
    prices: &Prices,
    events: impl IntoIterator<Item = (&'a UserId, &'a str)>,
    count: usize,
) -> Result<(Recording, Arc<PriceBook>), DbError> {
    let events: Vec<(&UserId, &str)> = events.into_iter().collect();
    let asked = store::dedupe::ask(conn, &events, count).await?;
    let book = prices.of_edition(conn, asked.edition).await?;
    let recording = Recording::begun(conn, clock, asked.ids, &events, asked.known).await?;
    Ok((recording, book))
}

/// [`look_up`] without prices.
pub(super) async fn look_up_events<'a>(
    conn: &AsyncPgConnection,
    clock: &dyn Clock,
    events: impl IntoIterator<Item = (&'a UserId, &'a str)>,
    count: usize,
) -> Result<Recording, DbError> {
    let events: Vec<(&UserId, &str)> = events.into_iter().collect();
    let asked = store::dedupe::ask(conn, &events, count).await?;
    Recording::begun(conn, clock, asked.ids, &events, asked.known).await
}

impl Recording {
    async fn begun(
        conn: &AsyncPgConnection,
        clock: &dyn Clock,
        ids: Vec<i64>,
        events: &[(&UserId, &str)],
        known: Vec<Known>,
    ) -> Result<Self, DbError> {
        let mut recording = Self {
            now: clock.now(),
            ids: ids.into_iter(),
            known: BTreeMap::new(),
            taken: BTreeSet::new(),
            claims: Vec::new(),
            records: Vec::new(),
            returned: BTreeMap::new(),
        };
        if known.is_empty() {
            return Ok(recording);
        }
        let known: Vec<(&UserId, &str, Known)> = known
            .into_iter()
            .filter_map(|known| events.get(known.place).map(|(user, event)| (*user, *event, known)))
            .collect();
        let wanted: Vec<_> =
            known.iter().map(|(user, _, known)| (*user, known.occurred_at, known.record_id)).collect();
        store::records::lock_to_write(conn).await?;
        let records = store::records::find_all_at(conn, &wanted).await?;
        let records: BTreeMap<_, _> =
            records.into_iter().map(|record| ((record.user_id.clone(), record.id), record)).collect();
        for (user, event, known) in known {
            if known.shelf == Shelf::First {
                recording.taken.insert((user.clone(), event.to_owned()));
            }
            if let Some(record) = records.get(&(user.clone(), known.record_id)) {
                let seen =
                    Seen { payload: known.payload, record: RecordSource::Another(Box::new(record.clone())) };
                let name = (user.clone(), event.to_owned(), known.caller);
                recording.known.insert(name, seen);
            }
        }
        Ok(recording)
    }

    /// When the events are recorded, and have occurred if they do not say.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.now
    }

    /// Decides what is to be done with an event, as the next one of the batch. `Ok(Err(_))` is a refusal.
    ///
    /// # Errors
    /// [`DbError::Inconsistent`] when fewer ids were drawn.
    pub fn next(&mut self, new: NewRecord) -> Result<Result<Next, UsageRefusal>, DbError> {
        if let Some(found) = self.known(&new) {
            return Ok(found.map(|record| Next::Known(Box::new(record))));
        }
        let occurred_at = match instant::time_of(self.now, &new) {
            Ok(at) => at,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let draft = self.draft(new, occurred_at)?;
        Ok(draft.map(|draft| Next::New(Box::new(draft))))
    }

    /// Returns true if an event of this id may have been recorded before for a caller of this class: see [`Recording::known`].
    #[must_use]
    pub fn may_know(&self, user_id: &UserId, event_id: &str, caller: CallerClass) -> bool {
        [None, Some(caller)].into_iter().any(|caller| self.seen(user_id, event_id, caller).is_some())
    }

    fn seen(&self, user_id: &UserId, event_id: &str, caller: Option<CallerClass>) -> Option<&Seen> {
        self.known.get(&(user_id.clone(), event_id.to_owned(), caller))
    }

    /// The record of an event that was recorded before, or the conflict with it; `None` if the event is new. Neither its
    /// price nor its time matters then: whoever repeats an event may do so later.
    ///
    /// What an earlier version recorded counts for callers of any class, but only as the same event: for another one it
    /// leaves the id free.
    #[must_use]
    pub fn known(&self, new: &NewRecord) -> Option<Result<Record, UsageRefusal>> {
        let event = new.event.as_ref().filter(|event| !event.id.starts_with(CORRECTION))?;
        let is_same = |seen: &Seen| seen.payload.as_slice() == event.payload.as_slice();
        let is_formerly_same = |seen: &&Seen| {
            is_same(seen) || event.former.as_ref().is_some_and(|former| former.has(&seen.payload))
        };
        let formerly = self.seen(&new.user_id, &event.id, None).filter(is_formerly_same);
        let seen = match formerly {
            Some(seen) => seen,
            None => self.seen(&new.user_id, &event.id, Some(new.recorded_by))?,
        };
        Some(if formerly.is_some() || is_same(seen) {
            Ok(match &seen.record {
                RecordSource::Another(record) => (**record).clone(),
                RecordSource::Ours(place) => self.records.get(*place)?.clone(),
            })
        } else {
            Err(UsageRefusal::UsageConflict { event_id: event.id.clone() })
        })
    }

    /// Decides what is to be recorded instead of a record that is taken back: at the same instant, unless it states its
    /// own. `Ok(Err(_))` is a refusal.
    ///
    /// # Errors
    /// As [`Recording::next`].
    pub fn replace(
        &mut self,
        original: &Record,
        new: NewRecord,
    ) -> Result<Result<Draft, UsageRefusal>, DbError> {
        let new = NewRecord { user_id: original.user_id.clone(), ..new };
        let at = match new.occurred_at {
            None => original.occurred_at,
            Some(_) => match instant::time_of(self.now, &new) {
                Ok(at) => at,
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        // Even an event that says the same is another record.
        if self.known(&new).is_some() {
            let event_id = new.event.map(|event| event.id).unwrap_or_default();
            return Ok(Err(UsageRefusal::UsageConflict { event_id }));
        }
        self.draft(new, at)
    }

    /// A new record, unless its event id is one of those that the service gives itself.
    fn draft(
        &mut self,
        new: NewRecord,
        occurred_at: OffsetDateTime,
    ) -> Result<Result<Draft, UsageRefusal>, DbError> {
        if let Some(event) = new.event.as_ref().filter(|event| event.id.starts_with(CORRECTION)) {
            let event_id = event.id.clone();
            return Ok(Err(UsageRefusal::ReservedEventId { event_id }));
        }
        let event = new.event.clone();
        let record = new.stored(self.draw()?, occurred_at);
        Ok(Ok(Draft { record, event, returned: None }))
    }

    /// Decides whether a record can be taken back, and with what. `Ok(Err(_))` is a refusal.
    ///
    /// # Errors
    /// As [`Recording::next`].
    pub fn correct(
        &mut self,
        original: &Record,
        reason: &str,
    ) -> Result<Result<Draft, UsageRefusal>, DbError> {
        let id = original.id;
        let event = EventId { id: correction_event(id), payload: input::hash(&[Some(reason)]), former: None };
        if self.seen(&original.user_id, &event.id, None).is_some() || original.correction_of.is_some() {
            return Ok(Err(UsageRefusal::AlreadyCorrected { id }));
        }
        let record = original.corrected(self.draw()?, reason);
        Ok(Ok(Draft { record, event: Some(event), returned: Some(original.credits_deducted()) }))
    }

    /// Adds a record to those that will be saved, and answers it. Later events of the batch with the same id are repeats of
    /// it.
    pub fn add(&mut self, draft: Draft) -> Record {
        let Draft { record, event, returned } = draft;
        self.returned.extend(returned.map(|amount| (record.id, amount)));
        if let Some(event) = event {
            let place = self.records.len();
            let caller = record.recorded_by.filter(|_| record.correction_of.is_none());
            let seen = Seen { payload: event.payload.to_vec(), record: RecordSource::Ours(place) };
            let name = (record.user_id.clone(), event.id.clone(), caller);
            self.known.insert(name, seen);
            let is_first = self.taken.insert((record.user_id.clone(), event.id.clone()));
            self.claims.push(EventClaim {
                event,
                place,
                caller,
                shelf: if is_first { Shelf::First } else { Shelf::Shared },
            });
        }
        self.records.push(record.clone());
        record
    }

    /// Writes the records with their event ids and roll-ups, in one statement; others may be sent beside it.
    ///
    /// Rows are written in the order of their keys, so that transactions which do this once, behind the locks of the ledger,
    /// never deadlock.
    ///
    /// # Errors
    /// [`DbError::Contention`] when another transaction recorded one of the events since it was looked up: nothing of the
    /// transaction may be committed, and all of it can be done again. Other [`DbError`]s when it failed.
    pub async fn save(self, tx: &Tx) -> Result<(), DbError> {
        let Self { now, claims, records, returned, .. } = self;
        if records.is_empty() {
            return Ok(());
        }
        let on = |shelf: Shelf| {
            let claims = claims.iter().filter(|claim| claim.shelf == shelf);
            let mut claims: Vec<Claim<'_>> =
                claims.filter_map(|claim| Some(Claim::new(records.get(claim.place)?, claim))).collect();
            claims.sort_unstable();
            claims
        };
        let claims = on(Shelf::First);
        let by_user = rollup::by_user(&records, &returned);
        let across = rollup::across_users(&by_user);
        let saving = Saving { now, records: &records, claims: &claims, by_user: &by_user, across: &across };
        store::saving::share(tx.shared(), &on(Shelf::Shared)).await?;
        store::saving::save(tx.shared(), &saving).await
    }

    fn draw(&mut self) -> Result<i64, DbError> {
        self.ids
            .next()
            .ok_or_else(|| DbError::Inconsistent("too few ids of usage records were drawn".to_owned()))
    }
}

/// The events that must be looked up before record `id` is corrected.
#[must_use]
pub fn correction_events(id: i64, replacement: Option<&NewRecord>) -> Vec<String> {
    let theirs = replacement.and_then(|new| new.event.as_ref());
    let theirs = theirs.map(|event| event.id.clone());
    [correction_event(id)].into_iter().chain(theirs).collect()
}

/// The event that the one correction of a record is.
fn correction_event(id: i64) -> String {
    format!("{CORRECTION}{id}")
}

impl<'a> Claim<'a> {
    fn new(record: &'a Record, claim: &'a EventClaim) -> Self {
        Self {
            user_id: &record.user_id,
            event_id: &claim.event.id,
            caller: claim.caller,
            payload: &claim.event.payload,
            record_id: record.id,
            occurred_at: record.occurred_at,
        }
    }
}

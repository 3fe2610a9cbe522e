//! A batch of operations in one transaction, one set-oriented step a domain.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use futures_util::try_join;
use idempotency::{KeyConflict, KeyStatus, Keys, Replay};
use kernel::{Actor, Clock};
use pg::{DbError, PgConnection, Tx, Work};
use time::OffsetDateTime;
use usage::{Prices, Recording, rating::PriceBook};

use super::{Operation, Outcome, SHORT_TEXTS_BYTES};
use crate::{
    answers::{Books, Wanted},
    events,
    ledger::{self, LedgerOutcome, LedgerRepeat},
    metering::{self, Meterage, Records, UsageRepeat},
    standing::Standings,
};

/// Runs a batch of mixed operations in one transaction, one set-oriented step a domain.
pub(super) struct Together {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) defaults: credits::Defaults,
    pub(super) prices: Prices,
}

/// What the first statements of a batch bring: locks, who may pass, and what is known of the events and keys.
pub(crate) struct Opening {
    standings: Standings,
    locked: Option<credits::Locked>,
    recording: Option<(Recording, Arc<PriceBook>)>,
    keys: Keys,
}

/// What becomes of an operation.
enum Place {
    /// The outcome of this command of the ledger.
    Ledger(usize),
    /// This, for usage.
    Usage(Box<Meterage>),
    /// The next message.
    Message,
    /// What was answered before under its key, as soon as that is read.
    Repeat(Box<Repeat>),
    /// What was answered before to usage, with the record.
    FirstAnswer(Box<metering::FirstAnswer>),
    /// The outcome of an earlier operation of the batch, again.
    SameAs(usize),
    /// This.
    Done(Box<Outcome>),
}

/// The repeat of an operation whose answer is stored.
enum Repeat {
    Ledger(LedgerRepeat),
    Usage(UsageRepeat),
}

/// The operations of a batch while they are decided.
struct Decisions<'a> {
    standings: Standings,
    ledger: Option<credits::Deciding<'a>>,
    recording: Option<(Recording, Arc<PriceBook>)>,
    keys: Keys,
    messages: Vec<sessions::NewMessage>,
    /// What repeats need from the books.
    wanted: Wanted,
    /// By operation.
    places: Vec<Place>,
}

/// A batch that is decided, with its messages, and of which nothing else is saved.
pub(crate) struct Plan<'a> {
    places: Vec<Place>,
    added: Vec<Result<sessions::Message, sessions::SessionRefusal>>,
    ledger: Option<credits::Decided<'a>>,
    recording: Option<Recording>,
    keys: Keys,
}

impl Work for Together {
    type Item = Operation;
    type Outcome = Outcome;
    type Opening = Opening;
    type Plan<'a> = Plan<'a>;

    async fn open(&self, conn: &PgConnection, items: &[Operation]) -> Result<Opening, DbError> {
        let asked = items.iter().filter_map(|item| match item {
            Operation::Ledger(command, _, check) => Some((&command.user_id, *check)),
            Operation::Usage(metered, check) => Some((&metered.input.user_id, *check)),
            Operation::Message(_) => None,
        });
        let commands: Vec<Cow<'_, credits::Command>> = items
            .iter()
            .filter_map(|item| match item {
                Operation::Ledger(command, ..) => Some(Cow::Borrowed(command)),
                Operation::Usage(metered, _) => metered.wanted().map(Cow::Owned),
                Operation::Message(_) => None,
            })
            .collect();
        let lock = async {
            if commands.is_empty() {
                return Ok(None);
            }
            let commands = commands.iter().map(AsRef::as_ref);
            credits::lock(conn, &*self.clock, commands).await.map(Some)
        };
        // In this order, so that keys and events are looked up behind the locks.
        let (standings, locked, keys, recording) = try_join!(
            Standings::load(conn, asked),
            lock,
            idempotency::look_up(conn, items.iter().filter_map(Operation::keyed)),
            self.look_up(conn, items),
        )?;
        Ok(Opening { standings, locked, recording, keys })
    }

    async fn decide<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Operation],
        opening: Opening,
    ) -> Result<Plan<'a>, DbError> {
        let Opening { standings, locked, recording, keys } = opening;
        let ledger = match locked {
            Some(locked) => Some(credits::prepare(tx.shared(), self.defaults, locked).await?),
            None => None,
        };
        let mut decisions = Decisions {
            standings,
            ledger,
            recording,
            keys,
            messages: Vec::new(),
            wanted: Wanted::default(),
            places: Vec::with_capacity(items.len()),
        };
        for item in items {
            decisions.add(item)?;
        }
        let Decisions { ledger, recording, keys, messages, wanted, mut places, .. } = decisions;
        let ledger = ledger.map(credits::Deciding::finish);
        let books = wanted.read(tx.shared()).await?;
        resolve(items, &mut places, ledger.as_ref(), &books)?;
        // Here, because it takes locks: messages of a session keep their order.
        let added = sessions::add_messages(tx, &*self.clock, &messages).await?;
        Ok(Plan { places, added, ledger, recording: recording.map(|(recording, _)| recording), keys })
    }

    async fn save<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Operation],
        plan: Plan<'a>,
    ) -> Result<Vec<Outcome>, DbError> {
        let Plan { places, added, ledger, recording, keys } = plan;
        let applied = save(tx, ledger, keys, recording).await?;
        let records = read_records(tx, items, &places).await?;
        answer(items, places, applied, added, &records)
    }

    fn weight(operation: &Operation) -> usize {
        let texts: usize = match operation {
            Operation::Ledger(command, ..) => {
                let description = command.description.as_ref().map_or(0, String::len);
                description + command.metadata.as_json().len()
            }
            Operation::Usage(metered, _) => {
                [&metered.input.billing_metadata, &metered.input.request_data, &metered.input.response_data]
                    .into_iter()
                    .flatten()
                    .map(|json| json.as_json().len())
                    .sum()
            }
            Operation::Message(message) => {
                let calls = message.tool_calls.as_ref().map_or(0, |json| json.as_json().len());
                message.content.len() + calls + message.message_metadata.as_json().len()
            }
        };
        size_of::<Operation>() + SHORT_TEXTS_BYTES + texts
    }

    async fn held_up(&self, tx: &mut Tx, items: &[Operation]) -> Result<Vec<bool>, DbError> {
        let (mut users, mut sessions) = (BTreeSet::new(), BTreeSet::new());
        for item in items {
            match item {
                Operation::Ledger(command, ..) => drop(users.insert(command.user_id.clone())),
                Operation::Message(message) => drop(sessions.insert(message.session_id)),
                Operation::Usage(metered, _) if metered.involves_ledger() => {
                    users.insert(metered.input.user_id.clone());
                }
                Operation::Usage(..) => {}
            }
        }
        let users = credits::held_up(tx, &users).await?;
        let sessions = sessions::held_up(tx, &sessions).await?;
        // What only records waits for nothing, but it must not overtake what is charged for the same user.
        let mut behind = BTreeSet::new();
        let mut is_held_up = |item: &Operation| match item {
            Operation::Ledger(command, ..) => users.contains(&command.user_id),
            Operation::Message(message) => sessions.contains(&message.session_id),
            Operation::Usage(metered, _) => {
                let user_id = &metered.input.user_id;
                let is_stuck = metered.involves_ledger() && users.contains(user_id);
                if is_stuck {
                    behind.insert(user_id.clone());
                }
                is_stuck || behind.contains(user_id)
            }
        };
        Ok(items.iter().map(&mut is_held_up).collect())
    }
}

impl Together {
    /// What is known of the events, and the prices; `None` if there is nothing to record.
    async fn look_up(
        &self,
        conn: &PgConnection,
        items: &[Operation],
    ) -> Result<Option<(Recording, Arc<PriceBook>)>, DbError> {
        let inputs = || {
            items.iter().filter_map(|item| match item {
                Operation::Usage(metered, _) => Some(&metered.input),
                _ => None,
            })
        };
        let count = inputs().count();
        if count == 0 {
            return Ok(None);
        }
        let events = inputs().filter_map(|input| Some((&input.user_id, input.event_id.as_deref()?)));
        let found = usage::look_up(conn, &*self.clock, &self.prices, events, count).await?;
        Ok(Some(found))
    }
}

impl<'a> Decisions<'a> {
    fn add(&mut self, item: &'a Operation) -> Result<(), DbError> {
        let admitted = match item {
            Operation::Ledger(command, _, check) => self.standings.admit(&command.user_id, *check),
            Operation::Usage(metered, check) => self.standings.admit(&metered.input.user_id, *check),
            Operation::Message(_) => Ok(None),
        };
        let place = match admitted {
            Err(barred) => Place::Done(Box::new(Outcome::Barred(barred))),
            Ok(status) => match self.known(item)? {
                Some(place) => place,
                None => self.decide(item, status)?,
            },
        };
        self.places.push(place);
        Ok(())
    }

    /// What is answered because of the key of an operation: `None` if it has none, or a new one.
    fn known(&mut self, item: &Operation) -> Result<Option<Place>, DbError> {
        let Some(request) = item.keyed() else {
            return Ok(None);
        };
        if let Operation::Ledger(command, ..) = item
            && credits::core::check(&command.action).is_err()
        {
            // It is refused whatever its key was used for.
            return Ok(None);
        }
        Ok(match self.keys.status(request) {
            KeyStatus::New => None,
            KeyStatus::InBatch(place) => Some(Place::SameAs(place)),
            KeyStatus::Conflict(conflict) => conflicting(item, conflict, self.at(item)?),
            KeyStatus::Answered(stored) => match item {
                Operation::Ledger(command, ..) => {
                    let repeat = LedgerRepeat::read(command, stored, &mut self.wanted)?;
                    Some(Place::Repeat(Box::new(Repeat::Ledger(repeat))))
                }
                Operation::Usage(metered, _) => {
                    let repeat = UsageRepeat::read(metered, stored, &mut self.wanted)?;
                    Some(Place::Repeat(Box::new(Repeat::Usage(repeat))))
                }
                Operation::Message(_) => None,
            },
        })
    }

    /// Decides an operation, and adds its answer to those that are stored if it has a key.
    fn decide(
        &mut self,
        item: &'a Operation,
        status: Option<identity::UserStatus>,
    ) -> Result<Place, DbError> {
        let (place, answer) = match item {
            Operation::Ledger(command, key, _) => {
                let acting = match acts_as(command.actor, status) {
                    actor if actor == command.actor => Cow::Borrowed(command),
                    actor => Cow::Owned(credits::Command { actor, ..command.clone() }),
                };
                let deciding = self.ledger.as_mut().ok_or_else(missing)?;
                let place = Place::Ledger(deciding.count());
                let preview = deciding.apply(acting)?;
                let answer = if key.is_some() { ledger::answer(command, preview)? } else { None };
                (place, answer)
            }
            Operation::Usage(metered, _) => {
                let (recording, book) = self.recording.as_mut().ok_or_else(missing)?;
                let actor = acts_as(metered.actor, status);
                let mut desk = metering::Desk { ledger: self.ledger.as_mut(), recording, book, actor };
                let meterage = desk.decide(metered)?;
                let answer = match metered.idempotency {
                    Some(_) => metering::answer(metered, &meterage)?,
                    None => None,
                };
                (Place::Usage(Box::new(meterage)), answer)
            }
            Operation::Message(message) => {
                self.messages.push(message.clone());
                (Place::Message, None)
            }
        };
        if let (Some(request), Some(answer)) = (item.keyed(), answer) {
            self.keys.add(request, self.places.len(), answer);
        }
        Ok(place)
    }

    /// When an operation is decided: in the time of the account if it is locked.
    fn at(&self, item: &Operation) -> Result<OffsetDateTime, DbError> {
        let by_ledger = |user_id| self.ledger.as_ref().map(|ledger| ledger.at(user_id));
        let of_account = match item {
            Operation::Ledger(command, ..) => by_ledger(&command.user_id),
            Operation::Usage(metered, _) if metered.involves_ledger() => by_ledger(&metered.input.user_id),
            Operation::Usage(..) | Operation::Message(_) => None,
        };
        let now = self.recording.as_ref().map(|(recording, _)| recording.now());
        of_account.or(now).ok_or_else(missing)
    }
}

fn missing() -> DbError {
    DbError::Inconsistent("an operation was not opened".to_owned())
}

/// The outcome of an operation whose key another request has used.
fn conflicting(item: &Operation, conflict: KeyConflict, at: OffsetDateTime) -> Option<Place> {
    let replay = Replay::First;
    let outcome = match item {
        Operation::Ledger(..) => {
            Outcome::Ledger(Box::new(LedgerOutcome { result: Err(conflict.into()), at, replay }))
        }
        Operation::Usage(..) => {
            Outcome::Usage(Box::new(Meterage { result: Err(conflict.into()), at, replay }))
        }
        Operation::Message(_) => return None,
    };
    Some(Place::Done(Box::new(outcome)))
}

/// Answers repeats with what was read for them.
fn resolve(
    items: &[Operation],
    places: &mut [Place],
    ledger: Option<&credits::Decided<'_>>,
    books: &Books,
) -> Result<(), DbError> {
    let present = |user_id| ledger.and_then(|ledger| ledger.balance(user_id));
    for (item, place) in items.iter().zip(places) {
        if !matches!(place, Place::Repeat(_)) {
            continue;
        }
        *place = match (std::mem::replace(place, Place::Message), item) {
            (Place::Repeat(repeat), item) => match (*repeat, item) {
                (Repeat::Ledger(repeat), Operation::Ledger(command, ..)) => {
                    let outcome = repeat.outcome(command, books, present(&command.user_id))?;
                    Place::Done(Box::new(Outcome::Ledger(Box::new(outcome))))
                }
                (Repeat::Usage(repeat), Operation::Usage(metered, _)) => {
                    let present = present(&metered.input.user_id);
                    Place::FirstAnswer(Box::new(repeat.first_answer(metered, books, present)?))
                }
                _ => return Err(DbError::Inconsistent("a repeat of another operation".to_owned())),
            },
            (other, _) => other,
        };
    }
    Ok(())
}

/// Saves what was decided, with the events of the ledger: all of it is known, so it is sent together. In this order in every
/// transaction, so that those which meet at keys and events do not deadlock.
async fn save(
    tx: &Tx,
    decided: Option<credits::Decided<'_>>,
    keys: Keys,
    recording: Option<Recording>,
) -> Result<Vec<credits::Outcome>, DbError> {
    let news = decided
        .as_ref()
        .map_or_else(Vec::new, |decided| events::of_entries(decided.entries(), decided.low()));
    let ledger = async {
        match decided {
            Some(decided) => Ok(decided.save(tx).await?.outcomes),
            None => Ok(Vec::new()),
        }
    };
    let records = async {
        match recording {
            Some(recording) => recording.save(tx).await,
            None => Ok(()),
        }
    };
    let (outcomes, (), (), ()) = try_join!(ledger, webhooks::enqueue(tx, &news), keys.save(tx), records)?;
    Ok(outcomes)
}

/// Reads the records that answers under a key show.
async fn read_records(tx: &mut Tx, items: &[Operation], places: &[Place]) -> Result<Records, DbError> {
    // What is recorded now is found by its key; of a repeat only the id is known.
    let (mut now_recorded, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for (item, place) in items.iter().zip(places) {
        let Operation::Usage(metered, _) = item else { continue };
        let user_id = &metered.input.user_id;
        match place {
            Place::Usage(meterage) if metered.idempotency.is_some() => {
                let record = meterage.result.as_ref().ok().map(|recorded| &recorded.record);
                now_recorded.extend(record.map(|record| (user_id, record.occurred_at, record.id)));
            }
            Place::FirstAnswer(first) => repeated.extend(first.record_id().map(|id| (user_id, id))),
            _ => {}
        }
    }
    let now_recorded: Vec<_> = now_recorded.into_iter().collect();
    let repeated: Vec<_> = repeated.into_iter().collect();
    let mut stored = usage::find_all_at(tx.conn(), &now_recorded).await?;
    stored.extend(usage::find_all(tx.conn(), &repeated).await?);
    Ok(Records::new(stored))
}

fn answer(
    items: &[Operation],
    places: Vec<Place>,
    applied: Vec<credits::Outcome>,
    added: Vec<Result<sessions::Message, sessions::SessionRefusal>>,
    records: &Records,
) -> Result<Vec<Outcome>, DbError> {
    let mut applied: Vec<Option<credits::Outcome>> = applied.into_iter().map(Some).collect();
    let mut added = added.into_iter();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(items.len());
    for (item, place) in items.iter().zip(places) {
        let outcome = match (place, item) {
            (Place::Ledger(nth), _) => {
                let outcome = applied.get_mut(nth).and_then(Option::take);
                outcome.map(|outcome| Outcome::Ledger(Box::new(LedgerOutcome::first(outcome))))
            }
            (Place::Usage(mut meterage), Operation::Usage(metered, _)) => {
                if let (Some(_), Ok(recorded)) = (&metered.idempotency, &mut meterage.result)
                    && let Some(stored) = records.get(&metered.input.user_id, recorded.record.id)
                {
                    recorded.record = stored.clone();
                }
                Some(Outcome::Usage(meterage))
            }
            (Place::FirstAnswer(first), Operation::Usage(metered, _)) => {
                Some(Outcome::Usage(Box::new(first.with_record(&metered.input.user_id, records))))
            }
            (Place::SameAs(place), _) => outcomes.get(place).and_then(|first| repeated(item, first)),
            (Place::Message, _) => added.next().map(Box::new).map(Outcome::Message),
            (Place::Done(outcome), _) => Some(*outcome),
            (Place::Usage(_) | Place::FirstAnswer(_) | Place::Repeat(_), _) => None,
        };
        outcomes.extend(outcome);
    }
    DbError::expect_rows("operations", items.len(), outcomes.len())?;
    Ok(outcomes)
}

/// The outcome of an earlier operation of the batch, as its repeat is answered.
fn repeated(item: &Operation, first: &Outcome) -> Option<Outcome> {
    let replay = Replay::ByKey;
    match (item, first) {
        (Operation::Ledger(..), Outcome::Ledger(first)) => {
            Some(Outcome::Ledger(Box::new(LedgerOutcome { replay, ..(**first).clone() })))
        }
        (Operation::Usage(metered, _), Outcome::Usage(first)) => {
            let mut meterage = Meterage { replay, ..(**first).clone() };
            if let Ok(recorded) = &mut meterage.result {
                recorded.balance = recorded.balance.filter(|_| metered.involves_ledger());
            }
            Some(Outcome::Usage(Box::new(meterage)))
        }
        _ => None,
    }
}

/// An administrator acts as one for himself too; whether the caller is one is not known before his status was read.
fn acts_as(actor: Actor, status: Option<identity::UserStatus>) -> Actor {
    let is_admin = status.is_some_and(|status| status.role == identity::Role::Admin);
    match actor {
        Actor::User if is_admin => Actor::Admin,
        actor => actor,
    }
}

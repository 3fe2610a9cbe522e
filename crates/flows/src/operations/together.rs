//! A batch of operations in one transaction, one set-oriented step a domain.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use futures_util::try_join;
use idempotency::{Keys, Replay};
use kernel::Clock;
use pg::{DbError, PgConnection, Tx, Work};
use usage::{Prices, Recording, rating::PriceBook};

use super::{
    Operation, Outcome, SHORT_TEXTS_BYTES,
    decisions::{Decisions, Place, resolve},
};
use crate::{
    answers::Wanted,
    events,
    ledger::LedgerOutcome,
    metering::{Meterage, Records},
    standing::Standings,
};

/// Runs a batch of mixed operations in one transaction, one set-oriented step a domain.
pub(super) struct Together {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) defaults: credits::Defaults,
    pub(super) prices: Prices,
}

/// Results of the first statements of a batch: locks, the status of callers, known events and keys.
pub(crate) struct Opening {
    standings: Standings,
    locked: Option<credits::Locked>,
    recording: Option<(Recording, Arc<PriceBook>)>,
    keys: Keys,
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
        // In this order, so that keys and events are looked up after the locks.
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

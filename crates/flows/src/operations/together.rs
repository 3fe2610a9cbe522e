//! A batch of operations in one transaction, one set-oriented step a domain.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use futures_util::try_join;
use kernel::{Actor, Clock};
use pg::{DbError, PgConnection, Tx, Work};
use time::OffsetDateTime;
use usage::{Prices, Recording, rating::PriceBook};

use super::{Operation, Outcome, SHORT_TEXTS_BYTES};
use crate::{
    events, metering,
    standing::{Barred, Standings},
};

/// Runs a batch of mixed operations in one transaction, one set-oriented step a domain.
pub(super) struct Together {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) defaults: credits::Defaults,
    pub(super) prices: Prices,
}

/// What the first statements of a batch bring: locks, who may pass, and what is known of the events.
pub(crate) struct Opening {
    standings: Standings,
    locked: Option<credits::Locked>,
    recording: Option<(Recording, Arc<PriceBook>)>,
}

/// What becomes of an operation.
enum Place {
    /// The next outcome of the ledger.
    Ledger,
    /// This, and the next outcome of the ledger if that takes part.
    Usage(Box<metering::Decision>),
    /// The next message.
    Message,
    /// Nothing.
    Barred(Barred),
}

/// The operations of a batch, decided and not saved.
#[derive(Default)]
struct Decisions {
    messages: Vec<sessions::NewMessage>,
    /// By operation.
    places: Vec<Place>,
}

/// A batch that is decided, with its messages, and of which nothing else is saved.
pub(crate) struct Plan<'a> {
    places: Vec<Place>,
    added: Vec<Result<sessions::Message, sessions::SessionRefusal>>,
    ledger: Option<credits::Decided<'a>>,
    recording: Option<Recording>,
}

impl Work for Together {
    type Item = Operation;
    type Outcome = Outcome;
    type Opening = Opening;
    type Plan<'a> = Plan<'a>;

    async fn open(&self, conn: &PgConnection, items: &[Operation]) -> Result<Opening, DbError> {
        let asked = items.iter().filter_map(|item| match item {
            Operation::Ledger(command, check) => Some((&command.user_id, *check)),
            Operation::Usage(metered, check) => Some((&metered.input.user_id, *check)),
            Operation::Message(_) => None,
        });
        let commands: Vec<Cow<'_, credits::Command>> = items
            .iter()
            .filter_map(|item| match item {
                Operation::Ledger(command, _) => Some(Cow::Borrowed(command)),
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
        // In this order, so that the events are looked up behind the locks.
        let (standings, locked, recording) =
            try_join!(Standings::load(conn, asked), lock, self.look_up(conn, items))?;
        Ok(Opening { standings, locked, recording })
    }

    async fn decide<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Operation],
        opening: Opening,
    ) -> Result<Plan<'a>, DbError> {
        let Opening { standings, locked, mut recording } = opening;
        let mut ledger = match locked {
            Some(locked) => Some(credits::prepare(tx.shared(), self.defaults, locked).await?),
            None => None,
        };
        let mut decisions = Decisions::default();
        for item in items {
            let recording = recording.as_mut().map(|(recording, book)| (recording, &**book));
            decisions.add(item, &standings, ledger.as_mut(), recording)?;
        }
        let ledger = match ledger {
            Some(ledger) => Some(ledger.finish(tx).await?),
            None => None,
        };
        // Here, because it takes locks: messages of a session keep their order.
        let added = sessions::add_messages(tx, &*self.clock, &decisions.messages).await?;
        Ok(Plan {
            places: decisions.places,
            added,
            ledger,
            recording: recording.map(|(recording, _)| recording),
        })
    }

    async fn save<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Operation],
        plan: Plan<'a>,
    ) -> Result<Vec<Outcome>, DbError> {
        let Plan { places, added, ledger, recording } = plan;
        let now = recording.as_ref().map(Recording::now);
        let applied = save(tx, ledger, recording).await?;
        let settled = settle(tx, items, &places, &applied, now).await?;
        answer(items, places, applied, added, &settled)
    }

    fn weight(operation: &Operation) -> usize {
        let texts: usize = match operation {
            Operation::Ledger(command, _) => {
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
                Operation::Ledger(command, _) => drop(users.insert(command.user_id.clone())),
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
            Operation::Ledger(command, _) => users.contains(&command.user_id),
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

impl Decisions {
    fn add<'a>(
        &mut self,
        item: &'a Operation,
        standings: &Standings,
        ledger: Option<&mut credits::Deciding<'a>>,
        recording: Option<(&mut Recording, &PriceBook)>,
    ) -> Result<(), DbError> {
        let missing = || DbError::Inconsistent("an operation was not opened".to_owned());
        let place = match item {
            Operation::Ledger(command, check) => match standings.admit(&command.user_id, *check) {
                Err(barred) => Place::Barred(barred),
                Ok(status) => {
                    let command = match acts_as(command.actor, status) {
                        actor if actor == command.actor => Cow::Borrowed(command),
                        actor => Cow::Owned(credits::Command { actor, ..command.clone() }),
                    };
                    ledger.ok_or_else(missing)?.apply(command)?;
                    Place::Ledger
                }
            },
            Operation::Usage(metered, check) => match standings.admit(&metered.input.user_id, *check) {
                Err(barred) => Place::Barred(barred),
                Ok(status) => {
                    let (recording, book) = recording.ok_or_else(missing)?;
                    let mut desk =
                        metering::Desk { ledger, recording, book, actor: acts_as(metered.actor, status) };
                    Place::Usage(Box::new(desk.decide(metered)?))
                }
            },
            Operation::Message(message) => {
                self.messages.push(message.clone());
                Place::Message
            }
        };
        self.places.push(place);
        Ok(())
    }
}

/// Saves what was decided, with the events of the ledger: all of it is known, so it is sent together.
async fn save(
    tx: &Tx,
    decided: Option<credits::Decided<'_>>,
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
    let (outcomes, (), ()) = try_join!(ledger, webhooks::enqueue(tx, &news), records)?;
    Ok(outcomes)
}

/// Reads the records that answers under a key show.
async fn settle(
    tx: &mut Tx,
    items: &[Operation],
    places: &[Place],
    applied: &[credits::Outcome],
    now: Option<OffsetDateTime>,
) -> Result<Option<metering::Settled>, DbError> {
    let Some(now) = now else { return Ok(None) };
    let mut applied = applied.iter();
    let mut shown = BTreeSet::new();
    for (item, place) in items.iter().zip(places) {
        let outcome = if place.takes_outcome() { applied.next() } else { None };
        if let (Operation::Usage(metered, _), Place::Usage(decision), Some(outcome)) = (item, place, outcome)
        {
            shown.extend(metering::shown_under_key(metered, decision, outcome));
        }
    }
    // What is recorded now is found by its key; of a repeat only the id is known.
    let (now_recorded, repeated): (Vec<_>, Vec<_>) = shown.into_iter().partition(|(.., at)| at.is_some());
    let at: Vec<_> = now_recorded.into_iter().filter_map(|(user, id, at)| Some((user, at?, id))).collect();
    let repeated: Vec<_> = repeated.into_iter().map(|(user, id, _)| (user, id)).collect();
    let mut stored = usage::find_all_at(tx.conn(), &at).await?;
    stored.extend(usage::find_all(tx.conn(), &repeated).await?);
    let stored = stored.into_iter();
    let stored = stored.map(|record| ((record.user_id.clone(), record.id), record));
    Ok(Some(metering::Settled { now, stored: stored.collect() }))
}

fn answer(
    items: &[Operation],
    places: Vec<Place>,
    applied: Vec<credits::Outcome>,
    added: Vec<Result<sessions::Message, sessions::SessionRefusal>>,
    settled: &Option<metering::Settled>,
) -> Result<Vec<Outcome>, DbError> {
    let (mut applied, mut added) = (applied.into_iter(), added.into_iter());
    let mut outcomes = Vec::with_capacity(items.len());
    for (item, place) in items.iter().zip(places) {
        let outcome = if place.takes_outcome() { applied.next() } else { None };
        outcomes.extend(match (place, item) {
            (Place::Ledger, _) => outcome.map(Box::new).map(Outcome::Ledger),
            (Place::Usage(decision), Operation::Usage(metered, _)) => match settled {
                Some(settled) => {
                    let meterage = settled.answer(metered, *decision, outcome)?;
                    Some(Outcome::Usage(Box::new(meterage)))
                }
                None => None,
            },
            (Place::Message, _) => added.next().map(Box::new).map(Outcome::Message),
            (Place::Barred(barred), _) => Some(Outcome::Barred(barred)),
            (Place::Usage(_), _) => None,
        });
    }
    DbError::expect_rows("operations", items.len(), outcomes.len())?;
    Ok(outcomes)
}

impl Place {
    /// Whether the next outcome of the ledger belongs to it.
    fn takes_outcome(&self) -> bool {
        match self {
            Self::Ledger => true,
            Self::Usage(decision) => matches!(**decision, metering::Decision::WithLedger(_)),
            Self::Message | Self::Barred(_) => false,
        }
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

//! A batch of operations in one transaction, one set-oriented step a domain.
//!
//! In the first flight everything is locked and read that any operation needs; then they are decided one after the other in
//! memory; in the last flight everything is written.

use std::{
    any::Any,
    collections::BTreeSet,
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use credits::PlainCharge;
use futures_util::try_join;
use idempotency::Keys;
use identity::audit;
use kernel::Clock;
use pg::{DbError, PgConnection, Rejected, Tx, Work};
use sessions::{Message, SessionRefusal};
use usage::{Prices, Recording, rating::PriceBook};
use webhooks::{Receivers, Wanted as WantedEvents};

use crate::{
    answers::{Books, Records, Wanted},
    audited::LedgerEvent,
    caller::{CallerRejected, CallerStatuses, Noted},
    events,
    operation::{Needs, Operation, Subject},
    unit_of_work::{Saved, UnitOfWork},
};

/// Length of the ids and names of an operation, which all have a limit, in bytes.
const SHORT_TEXTS_BYTES: usize = 256;

/// Plain charges, if no receiver wants an event: an event would have to be written with them.
pub(crate) static SPEND: LazyLock<String> = LazyLock::new(|| {
    credits::spend_text(credits::Guards { edition: webhooks::STAMP, may_act: identity::MAY_ACT })
});

/// Resources of every unit of work of the process.
pub(crate) struct Domains {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) defaults: credits::Defaults,
    pub(crate) prices: Prices,
    pub(crate) receivers: Receivers,
}

/// An operation of any kind in the queue.
pub(crate) struct Item(Arc<dyn Waits>);

/// An operation that waits for its answer, and the answer as soon as it is there.
#[derive(Debug)]
pub(crate) struct Waiting<O: Operation> {
    operation: O,
    state: Mutex<State<O>>,
}

enum State<O: Operation> {
    Waiting,
    Decided(O::Decided),
    Answered(Result<O::Outcome, CallerRejected>),
}

impl<O: Operation> fmt::Debug for State<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "Waiting",
            Self::Decided(_) => "Decided",
            Self::Answered(_) => "Answered",
        })
    }
}

impl<O: Operation> Waiting<O> {
    pub(crate) fn new(operation: O) -> Self {
        Self { operation, state: Mutex::new(State::Waiting) }
    }

    /// Operations with the same name of a lane keep their order.
    pub(crate) fn lane(&self) -> String {
        match self.operation.needs().subject {
            Subject::User(user_id) => user_id.as_str().to_owned(),
            Subject::Session(session_id) => session_id.to_string(),
        }
    }

    /// The same operation for the queue.
    pub(crate) fn item(self: &Arc<Self>) -> Item {
        Item(Arc::clone(self) as Arc<dyn Waits>)
    }

    /// The answer, after the commit.
    pub(crate) fn answered(&self) -> Result<Result<O::Outcome, CallerRejected>, Rejected> {
        match std::mem::replace(&mut *self.state(), State::Waiting) {
            State::Answered(answer) => Ok(answer),
            state => {
                tracing::error!(
                    operation = std::any::type_name::<O>(),
                    ?state,
                    "an operation was committed without an answer"
                );
                Err(Rejected::Failed)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Waiting`] of any kind.
trait Waits: Send + Sync {
    fn needs(&self) -> Needs<'_>;
    fn decide<'a>(&'a self, unit: &mut UnitOfWork<'a>) -> Result<(), DbError>;
    fn answer(&self, saved: &mut Saved<'_>) -> Result<(), DbError>;
    fn plain_charge(&self) -> Option<PlainCharge<'_>>;
    /// Answers an operation that is a plain charge.
    fn charged(&self, outcome: credits::Outcome) -> Option<()>;
    /// A copy of the answer, if there is one.
    fn copied(&self) -> Option<Box<dyn Any>>;
}

impl<O: Operation> Waits for Waiting<O> {
    fn needs(&self) -> Needs<'_> {
        self.operation.needs()
    }

    fn decide<'a>(&'a self, unit: &mut UnitOfWork<'a>) -> Result<(), DbError> {
        let status = match self.operation.needs().caller {
            Some((user_id, check)) => unit.callers.admit(user_id, check),
            None => Ok(None),
        };
        *self.state() = match status {
            Ok(status) => State::Decided(self.operation.decide(status, unit)?),
            Err(rejected) => State::Answered(Err(rejected)),
        };
        Ok(())
    }

    fn answer(&self, saved: &mut Saved<'_>) -> Result<(), DbError> {
        let mut state = self.state();
        *state = match std::mem::replace(&mut *state, State::Waiting) {
            State::Decided(decided) => State::Answered(Ok(self.operation.answer(decided, saved)?)),
            state => state,
        };
        Ok(())
    }

    fn plain_charge(&self) -> Option<PlainCharge<'_>> {
        self.operation.plain_charge()
    }

    fn charged(&self, outcome: credits::Outcome) -> Option<()> {
        *self.state() = State::Answered(Ok(self.operation.charged(outcome)?));
        Some(())
    }

    fn copied(&self) -> Option<Box<dyn Any>> {
        match &*self.state() {
            State::Answered(Ok(outcome)) => Some(Box::new(outcome.clone())),
            _ => None,
        }
    }
}

/// Results of the first flight: locks, the status of callers, known events and keys.
pub(crate) struct Opening {
    events: Arc<WantedEvents>,
    callers: CallerStatuses,
    locked: Option<credits::Locked>,
    usage: Option<(Recording, Arc<PriceBook>)>,
    originals: Records,
    keys: Keys,
}

/// Operations that are decided, with their messages, and of which nothing else is saved.
pub(crate) struct Decided<'a> {
    events: Arc<WantedEvents>,
    ledger: Option<credits::Decided<'a>>,
    recording: Option<Recording>,
    keys: Keys,
    messages: Vec<Result<Message, SessionRefusal>>,
    books: Books,
    wanted: Wanted,
    audit_events: Vec<LedgerEvent>,
}

fn needs(items: &[Item]) -> impl Iterator<Item = Needs<'_>> + Clone {
    items.iter().map(|item| item.0.needs())
}

impl Work for Domains {
    type Item = Item;
    type Outcome = ();
    type Opening = Opening;
    type Plan<'a> = Decided<'a>;

    async fn open(&self, conn: &PgConnection, items: &[Item]) -> Result<Opening, DbError> {
        let commands: Vec<&credits::Command> = needs(items).flat_map(|needs| needs.ledger).collect();
        let events = async {
            match commands.is_empty() {
                true => Ok(Arc::default()),
                false => self.receivers.wanted(conn).await,
            }
        };
        let lock = async {
            match commands.is_empty() {
                true => Ok(None),
                false => credits::lock(conn, &*self.clock, commands.iter().copied()).await.map(Some),
            }
        };
        let noted = if commands.is_empty() { Noted::Not } else { Noted::WithReceivers };
        // In this order: receivers before statuses and the instant of the batch, keys and known events after the locks.
        let (events, callers, locked, keys, (usage, originals)) = try_join!(
            events,
            CallerStatuses::load_to_write(conn, noted, needs(items).filter_map(|needs| needs.caller)),
            lock,
            idempotency::look_up(conn, needs(items).filter_map(|needs| needs.key)),
            self.look_up(conn, items),
        )?;
        Ok(Opening { events, callers, locked, usage, originals, keys })
    }

    async fn decide<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Item],
        opening: Opening,
    ) -> Result<Decided<'a>, DbError> {
        let Opening { events, callers, locked, usage, originals, keys } = opening;
        let ledger = match locked {
            Some(locked) => Some(credits::prepare(tx.shared(), self.defaults, locked).await?),
            None => None,
        };
        let (messages, wanted, audit_events, place) = (Vec::new(), Wanted::default(), Vec::new(), 0);
        let mut unit =
            UnitOfWork { callers, ledger, usage, originals, keys, messages, wanted, audit_events, place };
        for (place, item) in items.iter().enumerate() {
            unit.place = place;
            item.0.decide(&mut unit)?;
        }
        let UnitOfWork { ledger, usage, keys, messages, wanted, audit_events, .. } = unit;
        let ledger = ledger.map(credits::Deciding::finish);
        let books = wanted.read_books(tx.shared(), ledger.as_ref()).await?;
        // Here, because it takes locks: messages of a session keep their order.
        let messages = sessions::add_messages(tx, &*self.clock, &messages).await?;
        let recording = usage.map(|(recording, _)| recording);
        Ok(Decided { events, ledger, recording, keys, messages, books, wanted, audit_events })
    }

    async fn save<'a>(
        &self,
        tx: &mut Tx,
        items: &'a [Item],
        decided: Decided<'a>,
    ) -> Result<Vec<()>, DbError> {
        let Decided { events, ledger, recording, keys, messages, books, wanted, audit_events } = decided;
        let ledger = save(tx, &events, ledger, audit_events, keys, recording).await?;
        let records = wanted.read_records(tx).await?;
        let ledger = ledger.into_iter().map(Some).collect();
        let messages = messages.into_iter().map(Some).collect();
        let earlier = Box::new(|place: usize| items.get(place).and_then(|item| item.0.copied()));
        let mut saved = Saved { earlier, ledger, messages, books, records };
        items.iter().map(|item| item.0.answer(&mut saved)).collect()
    }

    fn is_plain(&self, item: &Item) -> bool {
        self.receivers.none().is_some() && item.0.plain_charge().is_some()
    }

    async fn at_once(&self, conn: &PgConnection, items: &[Item]) -> Result<Vec<Option<()>>, DbError> {
        let charges: Vec<PlainCharge<'_>> = items.iter().filter_map(|item| item.0.plain_charge()).collect();
        let Some(edition) = self.receivers.none().filter(|_| charges.len() == items.len()) else {
            return Ok(vec![None; items.len()]);
        };
        let outcomes = credits::spend(conn, &*self.clock, &SPEND, edition, &charges).await?;
        let answer = |(item, outcome): (&Item, Option<_>)| {
            // It is booked: without an answer it must not be run again.
            outcome.map(|outcome| item.0.charged(outcome).ok_or_else(DbError::unknown)).transpose()
        };
        items.iter().zip(outcomes).map(answer).collect()
    }

    fn weight(item: &Item) -> usize {
        size_of::<credits::Command>() + SHORT_TEXTS_BYTES + item.0.needs().bytes
    }

    async fn blocked(&self, tx: &mut Tx, items: &[Item]) -> Result<Vec<bool>, DbError> {
        let (mut users, mut sessions) = (BTreeSet::new(), BTreeSet::new());
        for needs in needs(items) {
            match needs.subject {
                Subject::User(user_id) if !needs.ledger.is_empty() => drop(users.insert(user_id.clone())),
                Subject::Session(session_id) => drop(sessions.insert(session_id)),
                Subject::User(_) => {}
            }
        }
        let users = credits::blocked(tx, &users).await?;
        let sessions = sessions::blocked(tx, &sessions).await?;
        // What only records waits for nothing, but it must not overtake what is charged for the same user.
        let mut behind = BTreeSet::new();
        let mut blocked = Vec::with_capacity(items.len());
        for needs in needs(items) {
            blocked.push(match needs.subject {
                Subject::Session(session_id) => sessions.contains(&session_id),
                Subject::User(user_id) => {
                    let is_blocked = !needs.ledger.is_empty() && users.contains(user_id);
                    if needs.records > 0 && is_blocked {
                        behind.insert(user_id);
                    }
                    is_blocked || needs.records > 0 && behind.contains(user_id)
                }
            });
        }
        Ok(blocked)
    }
}

impl Domains {
    /// Looks up events, prices and the requested records; no usage if there is nothing to record.
    async fn look_up(
        &self,
        conn: &PgConnection,
        items: &[Item],
    ) -> Result<(Option<(Recording, Arc<PriceBook>)>, Records), DbError> {
        let count = needs(items).map(|needs| needs.records).sum();
        if count == 0 {
            return Ok((None, Records::default()));
        }
        let events = needs(items).flat_map(|needs| match needs.subject {
            Subject::User(user_id) => needs.events.iter().map(|event| (user_id, event.as_str())).collect(),
            Subject::Session(_) => Vec::new(),
        });
        let usage = usage::look_up(conn, &*self.clock, &self.prices, events, count).await?;
        let originals: Vec<_> = needs(items)
            .filter_map(|needs| needs.original)
            .map(|record| (&record.user_id, record.occurred_at, record.id))
            .collect();
        if originals.is_empty() {
            return Ok((Some(usage), Records::default()));
        }
        usage::lock_to_write(conn).await?;
        let originals = usage::find_all_at(conn, &originals).await?;
        Ok((Some(usage), Records::new(originals)))
    }
}

/// Saves what was decided, with the events of the ledger: all of it is known, so it is sent together. In this order in every
/// transaction, so that those which meet at keys and events do not deadlock.
async fn save(
    tx: &Tx,
    wanted: &WantedEvents,
    decided: Option<credits::Decided<'_>>,
    audit_events: Vec<LedgerEvent>,
    keys: Keys,
    recording: Option<Recording>,
) -> Result<Vec<credits::Outcome>, DbError> {
    let news = decided
        .as_ref()
        .map_or_else(Vec::new, |decided| events::of_entries(wanted, decided.entries(), decided.low()));
    let entries = decided.as_ref().map(credits::Decided::entries).unwrap_or_default();
    let audited: Vec<_> = audit_events.into_iter().map(|event| event.known(entries)).collect();
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
    let (outcomes, (), (), (), ()) = try_join!(
        ledger,
        webhooks::enqueue(tx, wanted, news),
        keys.save(tx),
        records,
        audit::record(tx.shared(), &audited),
    )?;
    Ok(outcomes)
}

//! What changes money, usage or messages: operations that wait together are done in one commit.
//!
//! Guarantees that the outcome of each operation is that of running it alone, in the order of arrival per user, and that
//! it is durable when it is answered. Reads identity; touches credits, usage, sessions and webhooks, in this order.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::try_join;
use kernel::{Actor, Clock, UserId};
use pg::{BatchLimits, Committer, DbError, PgConnection, Pool, Rejected, Tx, Work};

use crate::{
    events,
    standing::{Barred, StandingCheck, Standings},
};

/// One change that a caller waits for.
#[derive(Debug)]
pub enum Operation {
    /// A command of the ledger, for a user whose standing may still have to be looked at.
    Ledger(credits::Command, StandingCheck),
    /// A usage record, likewise; nothing is charged.
    Usage(usage::NewRecord, StandingCheck),
    /// A message of a session.
    Message(sessions::NewMessage),
}

/// What became of an [`Operation`] of the same kind.
#[derive(Debug)]
pub enum Outcome {
    /// Of a command of the ledger.
    Ledger(Box<credits::Outcome>),
    /// Of a usage record.
    Usage(usage::Outcome),
    /// Of a message.
    Message(Result<sessions::Message, sessions::SessionRefusal>),
    /// Nothing was done.
    Barred(Barred),
}

/// The way in for writes. Cheap to clone, usable from any runtime.
#[derive(Debug, Clone)]
pub struct Writes {
    committer: Committer<Together>,
}

/// What the ids and names of an operation take, which all have a length limit.
const SHORT_TEXTS_BYTES: usize = 256;

/// A batch of 256 keeps the longest commit at a few milliseconds. One lane makes large batches, and a statement for thirty
/// rows costs little more than one for three; its two workers let one batch work while the other waits for the disk. Messages may have a
/// megabyte each: in bytes a batch is bounded by what the copies of it may take.
const LIMITS: BatchLimits = BatchLimits {
    name: "writes",
    lanes: 1,
    workers: 2,
    batch_items_max: 256,
    queue_items_max: 4_096,
    batch_bytes_max: 16 << 20,
    queue_bytes_max: 64 << 20,
    wait_max: Duration::from_secs(10),
};

impl Writes {
    /// Starts the lanes on the present tokio runtime. `defaults` hold for accounts that say nothing of their own.
    #[must_use]
    pub fn start(pool: Pool, clock: Arc<dyn Clock>, defaults: credits::Defaults) -> Self {
        Self {
            committer: Committer::start(pool, Together { clock, defaults }, LIMITS),
        }
    }

    /// Runs a command of the ledger; with a check that is due, only for a user in good standing.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; a refusal of the rules is an outcome.
    pub async fn ledger(
        &self,
        command: credits::Command,
        check: StandingCheck,
    ) -> Result<Result<credits::Outcome, Barred>, Rejected> {
        let key = command.user_id.clone();
        match self.submit(&key, Operation::Ledger(command, check)).await? {
            Outcome::Ledger(outcome) => Ok(Ok(*outcome)),
            Outcome::Barred(barred) => Ok(Err(barred)),
            other => Err(mixed_up(&other)),
        }
    }

    /// Records usage; with a check that is due, only for a user in good standing.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; a refusal of the rules is an outcome.
    pub async fn usage(
        &self,
        record: usage::NewRecord,
        check: StandingCheck,
    ) -> Result<Result<usage::Outcome, Barred>, Rejected> {
        let key = record.user_id.clone();
        match self.submit(&key, Operation::Usage(record, check)).await? {
            Outcome::Usage(outcome) => Ok(Ok(outcome)),
            Outcome::Barred(barred) => Ok(Err(barred)),
            other => Err(mixed_up(&other)),
        }
    }

    /// Adds a message to a session of `owner`.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; an unknown or foreign session is an `Ok(Err(_))`.
    pub async fn message(
        &self,
        message: sessions::NewMessage,
    ) -> Result<Result<sessions::Message, sessions::SessionRefusal>, Rejected> {
        let key = message.session_id.to_string();
        match self.committer.submit(&key, Operation::Message(message)).await? {
            Outcome::Message(result) => Ok(result),
            other => Err(mixed_up(&other)),
        }
    }

    /// Takes no more operations and returns when the last one is answered.
    pub async fn flush(&self) {
        self.committer.flush().await;
    }

    async fn submit(&self, user_id: &UserId, operation: Operation) -> Result<Outcome, Rejected> {
        self.committer.submit(user_id.as_str(), operation).await
    }
}

fn mixed_up(outcome: &Outcome) -> Rejected {
    tracing::error!(
        ?outcome,
        "an operation was answered with the outcome of another kind"
    );
    Rejected::Failed
}

/// Runs a batch of mixed operations in one transaction, one set-oriented step a domain.
struct Together {
    clock: Arc<dyn Clock>,
    defaults: credits::Defaults,
}

/// What the first statements of a batch bring: locks, and who may pass.
struct Opening {
    standings: Standings,
    locked: Option<credits::Locked>,
}

/// The operations of a batch that may be done, by domain.
#[derive(Default)]
struct Admitted<'a> {
    commands: Vec<Cow<'a, credits::Command>>,
    records: Vec<usage::NewRecord>,
    messages: Vec<sessions::NewMessage>,
    /// What becomes of each operation, in their order.
    places: Vec<Result<Place, Barred>>,
}

/// Where the outcome of an operation will be found: as the next one of its domain.
enum Place {
    Ledger,
    Usage,
    Message,
}

impl Work for Together {
    type Item = Operation;
    type Outcome = Outcome;
    type Opening = Opening;

    async fn open(&self, conn: &PgConnection, items: &[Operation]) -> Result<Opening, DbError> {
        let asked = items.iter().filter_map(|item| match item {
            Operation::Ledger(command, check) => Some((&command.user_id, *check)),
            Operation::Usage(record, check) => Some((&record.user_id, *check)),
            Operation::Message(_) => None,
        });
        let commands = || {
            items.iter().filter_map(|item| match item {
                Operation::Ledger(command, _) => Some(command),
                _ => None,
            })
        };
        let lock = async {
            match commands().next() {
                Some(_) => credits::lock(conn, &*self.clock, commands()).await.map(Some),
                None => Ok(None),
            }
        };
        let (standings, locked) = try_join!(Standings::load(conn, asked), lock)?;
        Ok(Opening { standings, locked })
    }

    async fn run(&self, tx: &mut Tx, items: &[Operation], opening: Opening) -> Result<Vec<Outcome>, DbError> {
        let mut admitted = Admitted::default();
        for item in items {
            admitted.add(item, &opening.standings);
        }
        let commands: Vec<&credits::Command> = admitted.commands.iter().map(AsRef::as_ref).collect();
        let applied = match opening.locked {
            Some(locked) => {
                let decided = credits::decide(tx, self.defaults, locked, &commands).await?;
                let events = events::of_entries(decided.entries(), decided.low());
                // Both know all they need: they are sent together.
                let (executed, ()) = try_join!(decided.save(tx), webhooks::enqueue(tx, &events))?;
                executed.outcomes
            }
            None => Vec::new(),
        };
        let mut recorded = usage::record(tx, &*self.clock, &admitted.records)
            .await?
            .into_iter();
        let mut added = sessions::add_messages(tx, &*self.clock, &admitted.messages)
            .await?
            .into_iter();
        let mut applied = applied.into_iter();
        let outcomes: Vec<Outcome> = admitted
            .places
            .into_iter()
            .filter_map(|place| match place {
                Ok(Place::Ledger) => applied.next().map(Box::new).map(Outcome::Ledger),
                Ok(Place::Usage) => recorded.next().map(Outcome::Usage),
                Ok(Place::Message) => added.next().map(Outcome::Message),
                Err(barred) => Some(Outcome::Barred(barred)),
            })
            .collect();
        DbError::expect_rows("operations", items.len(), outcomes.len())?;
        Ok(outcomes)
    }

    fn weight(operation: &Operation) -> usize {
        let texts: usize = match operation {
            Operation::Ledger(command, _) => {
                let description = command.description.as_ref().map_or(0, String::len);
                description + command.metadata.as_json().len()
            }
            Operation::Usage(record, _) => [
                &record.billing_metadata,
                &record.request_data,
                &record.response_data,
            ]
            .into_iter()
            .map(|json| json.as_json().len())
            .sum(),
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
                Operation::Usage(..) => {}
            }
        }
        let users = credits::held_up(tx, &users).await?;
        let sessions = sessions::held_up(tx, &sessions).await?;
        let is_held_up = |item: &Operation| match item {
            Operation::Ledger(command, _) => users.contains(&command.user_id),
            Operation::Message(message) => sessions.contains(&message.session_id),
            Operation::Usage(..) => false,
        };
        Ok(items.iter().map(is_held_up).collect())
    }
}

impl<'a> Admitted<'a> {
    fn add(&mut self, item: &'a Operation, standings: &Standings) {
        let place = match item {
            Operation::Ledger(command, check) => standings.admit(&command.user_id, *check).map(|status| {
                self.commands.push(as_role(command, status));
                Place::Ledger
            }),
            Operation::Usage(record, check) => standings.admit(&record.user_id, *check).map(|_| {
                self.records.push(record.clone());
                Place::Usage
            }),
            Operation::Message(message) => {
                self.messages.push(message.clone());
                Ok(Place::Message)
            }
        };
        self.places.push(place);
    }
}

/// An administrator acts as one for himself too; whether the caller is one is not known before his status was read.
fn as_role(command: &credits::Command, status: Option<identity::UserStatus>) -> Cow<'_, credits::Command> {
    let is_admin = status.is_some_and(|status| status.role == identity::Role::Admin);
    if is_admin && command.actor == Actor::User {
        Cow::Owned(credits::Command {
            actor: Actor::Admin,
            ..command.clone()
        })
    } else {
        Cow::Borrowed(command)
    }
}

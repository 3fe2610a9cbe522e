//! What changes money, usage or messages: operations that wait together are done in one commit.
//!
//! Guarantees that the outcome of each operation is that of running it alone, in the order of arrival per user, and that
//! it is durable when it is answered. Touches credits, usage, sessions and webhooks, in this order.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::events;
use kernel::{Clock, UserId};
use pg::{BatchLimits, Committer, DbError, Pool, Rejected, Tx, Work};

/// One change that a caller waits for.
#[derive(Debug)]
pub enum Operation {
    /// A command of the ledger.
    Ledger(credits::Command),
    /// A usage record; nothing is charged.
    Usage(usage::NewRecord),
    /// A message of a session.
    Message(sessions::NewMessage),
}

/// What became of an [`Operation`] of the same kind.
#[derive(Debug)]
pub enum Outcome {
    /// Of a command of the ledger.
    Ledger(Box<credits::Outcome>),
    /// Of a usage record.
    Usage(usage::Record),
    /// Of a message.
    Message(Result<sessions::Message, sessions::SessionRefusal>),
}

/// The way in for writes. Cheap to clone, usable from any runtime.
#[derive(Debug, Clone)]
pub struct Writes {
    committer: Committer<Together>,
}

/// A batch of 256 keeps the longest commit at a few milliseconds; two lanes let one batch gather and compute while the
/// other waits for the disk.
const LIMITS: BatchLimits = BatchLimits {
    name: "writes",
    lanes: 2,
    batch_items_max: 256,
    queue_items_max: 4_096,
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

    /// Runs a command of the ledger.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; a refusal of the rules is an outcome.
    pub async fn ledger(&self, command: credits::Command) -> Result<credits::Outcome, Rejected> {
        let key = command.user_id.clone();
        match self.submit(&key, Operation::Ledger(command)).await? {
            Outcome::Ledger(outcome) => Ok(*outcome),
            other => Err(mixed_up(&other)),
        }
    }

    /// Records usage.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be recorded.
    pub async fn usage(&self, record: usage::NewRecord) -> Result<usage::Record, Rejected> {
        let key = record.user_id.clone();
        match self.submit(&key, Operation::Usage(record)).await? {
            Outcome::Usage(record) => Ok(record),
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

impl Work for Together {
    type Item = Operation;
    type Outcome = Outcome;

    async fn run(&self, tx: &mut Tx, items: &[Operation]) -> Result<Vec<Outcome>, DbError> {
        let mut commands = Vec::new();
        let mut records = Vec::new();
        let mut messages = Vec::new();
        for item in items {
            match item {
                Operation::Ledger(command) => commands.push(command.clone()),
                Operation::Usage(record) => records.push(record.clone()),
                Operation::Message(message) => messages.push(message.clone()),
            }
        }
        let executed = credits::execute(tx, &*self.clock, self.defaults, &commands).await?;
        let mut recorded = usage::record(tx, &*self.clock, &records).await?.into_iter();
        let mut added = sessions::add_messages(tx, &*self.clock, &messages)
            .await?
            .into_iter();
        webhooks::enqueue(tx, &events::of_ledger(&executed)).await?;
        let mut applied = executed.outcomes.into_iter();
        let outcomes: Vec<Outcome> = items
            .iter()
            .filter_map(|item| match item {
                Operation::Ledger(_) => applied.next().map(Box::new).map(Outcome::Ledger),
                Operation::Usage(_) => recorded.next().map(Outcome::Usage),
                Operation::Message(_) => added.next().map(Outcome::Message),
            })
            .collect();
        DbError::expect_rows("operations", items.len(), outcomes.len())?;
        Ok(outcomes)
    }

    async fn held_up(&self, tx: &mut Tx, items: &[Operation]) -> Result<Vec<bool>, DbError> {
        let (mut users, mut sessions) = (BTreeSet::new(), BTreeSet::new());
        for item in items {
            match item {
                Operation::Ledger(command) => drop(users.insert(command.user_id.clone())),
                Operation::Message(message) => drop(sessions.insert(message.session_id)),
                Operation::Usage(_) => {}
            }
        }
        let users = credits::held_up(tx, &users).await?;
        let sessions = sessions::held_up(tx, &sessions).await?;
        let is_held_up = |item: &Operation| match item {
            Operation::Ledger(command) => users.contains(&command.user_id),
            Operation::Message(message) => sessions.contains(&message.session_id),
            Operation::Usage(_) => false,
        };
        Ok(items.iter().map(is_held_up).collect())
    }
}

//! What changes money, usage or messages: operations that wait together are done in one commit.
//!
//! Guarantees that the outcome of each operation is that of running it alone, in the order of arrival per user, and that
//! it is durable when it is answered, with the answer under its idempotency key. Reads identity; touches credits, sessions,
//! webhooks, idempotency and usage, in this order.

mod decisions;
mod together;

use std::{sync::Arc, time::Duration};

use idempotency::KeyedRequest;
use kernel::{Clock, IdempotencyKey, UserId};
use pg::{BatchLimits, Committer, Pool, QueueHealth, Rejected};
use usage::Prices;

use self::together::Together;
use crate::{
    ledger::LedgerOutcome,
    metering::{Meterage, Metered},
    standing::{Barred, StandingCheck},
};

/// One change that a caller waits for.
#[derive(Debug)]
pub enum Operation {
    /// A command of the ledger with its key, for a user whose standing may still have to be looked at.
    Ledger(credits::Command, Option<IdempotencyKey>, StandingCheck),
    /// A usage record and its charge, likewise.
    Usage(Box<Metered>, StandingCheck),
    /// A message of a session.
    Message(sessions::NewMessage),
}

/// What became of an [`Operation`] of the same kind.
#[derive(Debug)]
pub enum Outcome {
    /// Of a command of the ledger.
    Ledger(Box<LedgerOutcome>),
    /// Of a usage record.
    Usage(Box<Meterage>),
    /// Of a message.
    Message(Box<Result<sessions::Message, sessions::SessionRefusal>>),
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
/// rows costs little more than one for three; its two workers let one batch decide while the other writes and waits for the
/// disk. Messages may have a megabyte each: in bytes a batch is bounded by what the copies of it may take.
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

impl Operation {
    /// The request with its key, if it has one.
    fn keyed(&self) -> Option<KeyedRequest<'_>> {
        match self {
            Self::Ledger(command, key, _) => {
                let (user_id, caller) = (&command.user_id, command.caller);
                key.as_ref().map(|key| KeyedRequest { user_id, key, caller })
            }
            Self::Usage(metered, _) => metered.keyed(),
            Self::Message(_) => None,
        }
    }
}

impl Writes {
    /// Starts the lanes on the present tokio runtime. `defaults` hold for accounts that say nothing of their own.
    #[must_use]
    pub fn start(pool: Pool, clock: Arc<dyn Clock>, defaults: credits::Defaults) -> Self {
        Self::within(LIMITS, pool, clock, defaults)
    }

    /// Another way in for the same, with a queue of its own: what comes in bulk holds up nobody who waits in [`Writes::start`].
    #[must_use]
    pub fn start_bulk(pool: Pool, clock: Arc<dyn Clock>, defaults: credits::Defaults) -> Self {
        let limits = BatchLimits { name: "bulk", ..LIMITS };
        Self::within(limits, pool, clock, defaults)
    }

    fn within(limits: BatchLimits, pool: Pool, clock: Arc<dyn Clock>, defaults: credits::Defaults) -> Self {
        Self {
            committer: Committer::start(pool, Together { clock, defaults, prices: Prices::new() }, limits),
        }
    }

    /// Runs a command of the ledger, under a key at most once; with a check that is due, only for a user in good standing.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; a refusal of the rules is an outcome.
    pub async fn ledger(
        &self,
        command: credits::Command,
        key: Option<IdempotencyKey>,
        check: StandingCheck,
    ) -> Result<Result<LedgerOutcome, Barred>, Rejected> {
        let user_id = command.user_id.clone();
        match self.submit(&user_id, Operation::Ledger(command, key, check)).await? {
            Outcome::Ledger(outcome) => Ok(Ok(*outcome)),
            Outcome::Barred(barred) => Ok(Err(barred)),
            other => Err(mixed_up(&other)),
        }
    }

    /// Records usage and deducts its charge, if one is to be deducted; with a check that is due, only for a user in good
    /// standing.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; a refusal of the rules is an outcome.
    pub async fn usage(
        &self,
        metered: Metered,
        check: StandingCheck,
    ) -> Result<Result<Meterage, Barred>, Rejected> {
        let key = metered.input.user_id.clone();
        let operation = Operation::Usage(Box::new(metered), check);
        match self.submit(&key, operation).await? {
            Outcome::Usage(outcome) => Ok(Ok(*outcome)),
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
            Outcome::Message(result) => Ok(*result),
            other => Err(mixed_up(&other)),
        }
    }

    /// How the queue fares.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        self.committer.health()
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
    tracing::error!(?outcome, "an operation was answered with the outcome of another kind");
    Rejected::Failed
}

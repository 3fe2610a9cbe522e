//! What changes money, usage or messages: operations that wait together are done in one commit.
//!
//! Guarantees that the outcome of each operation is that of running it alone, in the order of arrival per user, and that
//! it is durable when it is answered, with the answer under its idempotency key. Reads identity; touches credits, sessions,
//! webhooks, idempotency and usage, in this order.
//!
//! Each kind of operation is one file. It implements [`Operation`], or [`KeyedOperation`] if its requests may have an idempotency
//! key, and adds the method of [`Writes`] by which it is asked for.

pub(crate) mod correction;
pub(crate) mod ledger;
pub(crate) mod message;
pub(crate) mod metering;

use std::{fmt, sync::Arc, time::Duration};

use idempotency::{KeyConflict, KeyStatus, KeyedRequest, NewAnswer, Replay, StoredAnswer};
use identity::UserStatus;
use kernel::{Clock, UserId};
use pg::{BatchLimits, Committer, DbError, Pool, QueueHealth, Rejected};
use time::OffsetDateTime;
use usage::{Prices, Record};
use uuid::Uuid;

use crate::{
    answers::Wanted,
    standing::{Barred, StandingCheck},
    unit_of_work::{Domains, Saved, UnitOfWork, Waiting},
};

/// The outcome of an operation that may have an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<T, E> {
    /// What was done, or why not.
    pub result: Result<T, E>,
    /// Time of the decision. A repeat has that of the first answer.
    pub at: OffsetDateTime,
    /// Whether this is the answer to a repeat under the same key.
    pub replay: Replay,
}

/// One change that a caller waits for, in three steps: what it needs, what it decides, what it answers.
pub(crate) trait Operation: fmt::Debug + Send + Sync + 'static {
    /// The answer to the caller.
    type Outcome: Clone + Send;
    /// What is known of the answer before the unit of work is saved.
    type Decided: Send;

    /// What must be locked and read before it can be decided.
    fn needs(&self) -> Needs<'_>;

    /// Decides it in memory, after the operations before it. `status` is that of the caller, if it was asked for.
    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<Self::Decided, DbError>;

    /// The answer, after everything is saved; the commit follows.
    fn answer(&self, decided: Self::Decided, saved: &mut Saved<'_>) -> Result<Self::Outcome, DbError>;
}

/// What an operation needs from the domains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// What it changes. Operations on the same subject keep their order.
    pub(crate) subject: Subject<'a>,
    /// A check of the caller, who acts for themselves.
    pub(crate) caller: Option<(&'a UserId, StandingCheck)>,
    /// The idempotency key of the request.
    pub(crate) key: Option<KeyedRequest<'a>>,
    /// Commands that name everything which the ledger has to lock and read.
    pub(crate) ledger: &'a [credits::Command],
    /// Most usage records that it adds.
    pub(crate) records: usize,
    /// Events of the user that must be looked up.
    pub(crate) events: &'a [String],
    /// A record of the user that must still be there.
    pub(crate) original: Option<&'a Record>,
    /// Length of its free texts, in bytes.
    pub(crate) bytes: usize,
}

/// What an operation changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// What belongs to a user.
    User(&'a UserId),
    /// A session.
    Session(Uuid),
}

impl<'a> Needs<'a> {
    /// An operation that needs nothing else.
    pub(crate) fn new(subject: Subject<'a>) -> Self {
        Self {
            subject,
            caller: None,
            key: None,
            ledger: &[],
            records: 0,
            events: &[],
            original: None,
            bytes: 0,
        }
    }
}

/// An operation whose request may have an idempotency key: under one it is done once (HTTP contract 1.11).
pub(crate) trait KeyedOperation: fmt::Debug + Send + Sync + 'static {
    /// What was done.
    type Success: fmt::Debug + Clone + Send;
    /// Why it is not done.
    type Refusal: fmt::Debug + Clone + Send + From<KeyConflict>;
    /// As [`Operation::Decided`], of a request that is decided now or of the repeat of an earlier one.
    type Decided: Send;

    /// As [`Operation::needs`].
    fn needs(&self) -> Needs<'_>;

    /// As [`Operation::decide`], with the answer that is stored under the key: none for a refusal that is not remembered.
    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<(Self::Decided, Option<NewAnswer>), DbError>;

    /// Reads the stored answer to the first request, and notes which rows its repeat shows.
    fn repeat(&self, stored: &StoredAnswer, wanted: &mut Wanted) -> Result<Self::Decided, DbError>;

    /// As [`Operation::answer`], with the time of the decision.
    fn answer(
        &self,
        decided: Self::Decided,
        saved: &mut Saved<'_>,
    ) -> Result<Timed<Self::Success, Self::Refusal>, DbError>;

    /// What a repeat shows of the answer to its first request in the same unit of work.
    fn shown_again(&self, first: Self::Success) -> Self::Success {
        first
    }
}

/// A result, and the time of the decision.
pub(crate) type Timed<T, E> = (Result<T, E>, OffsetDateTime);

/// What the key of an operation decides.
pub(crate) enum ByKey<D> {
    /// Nothing: it has none, or a new one.
    New(D),
    /// It is the repeat of a request that is stored.
    Repeat(D),
    /// It is the repeat of the operation at this place of the unit of work.
    SameAs(usize),
    /// Its key was used for another request.
    Conflict(KeyConflict, OffsetDateTime),
}

impl<O: KeyedOperation> Operation for O {
    type Outcome = Outcome<O::Success, O::Refusal>;
    type Decided = ByKey<O::Decided>;

    fn needs(&self) -> Needs<'_> {
        KeyedOperation::needs(self)
    }

    fn decide<'a>(
        &'a self,
        status: Option<UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<Self::Decided, DbError> {
        let needs = KeyedOperation::needs(self);
        let Some(request) = needs.key else {
            return Ok(ByKey::New(KeyedOperation::decide(self, status, unit)?.0));
        };
        Ok(match unit.keys.status(request) {
            KeyStatus::InBatch(place) => ByKey::SameAs(place),
            KeyStatus::Conflict(conflict) => ByKey::Conflict(conflict, unit.at(&needs)?),
            KeyStatus::Answered(stored) => ByKey::Repeat(self.repeat(stored, &mut unit.wanted)?),
            KeyStatus::New => {
                let (decided, answer) = KeyedOperation::decide(self, status, unit)?;
                if let Some(answer) = answer {
                    unit.keys.add(request, unit.place, answer);
                }
                ByKey::New(decided)
            }
        })
    }

    fn answer(&self, decided: Self::Decided, saved: &mut Saved<'_>) -> Result<Self::Outcome, DbError> {
        let (decided, replay) = match decided {
            ByKey::New(decided) => (decided, Replay::First),
            ByKey::Repeat(decided) => (decided, Replay::ByKey),
            ByKey::SameAs(place) => {
                let Outcome { result, at, .. } = saved.answer_at::<Self>(place)?;
                let result = result.map(|first| self.shown_again(first));
                return Ok(Outcome { result, at, replay: Replay::ByKey });
            }
            ByKey::Conflict(conflict, at) => {
                return Ok(Outcome { result: Err(conflict.into()), at, replay: Replay::First });
            }
        };
        let (result, at) = KeyedOperation::answer(self, decided, saved)?;
        Ok(Outcome { result, at, replay })
    }
}

/// The way in for writes. Cheap to clone, usable from any runtime.
#[derive(Debug, Clone)]
pub struct Writes {
    committer: Committer<Domains>,
}

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
        let domains = Domains { clock, defaults, prices: Prices::new() };
        Self { committer: Committer::start(pool, domains, limits) }
    }

    /// The state of the queue.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        self.committer.health()
    }

    /// Takes no more operations and returns when the last one is answered.
    pub async fn flush(&self) {
        self.committer.flush().await;
    }

    /// Runs an operation.
    async fn submit<O: Operation>(&self, operation: O) -> Result<Result<O::Outcome, Barred>, Rejected> {
        let waiting = Arc::new(Waiting::new(operation));
        let key = waiting.lane();
        self.committer.submit(&key, waiting.item()).await?;
        waiting.answered()
    }

    /// Runs an operation that asks for no check of its caller.
    async fn submit_unchecked<O: Operation>(&self, operation: O) -> Result<O::Outcome, Rejected> {
        self.submit(operation).await?.map_err(|barred| {
            tracing::error!(?barred, "a caller was rejected whom nobody asked about");
            Rejected::Failed
        })
    }
}

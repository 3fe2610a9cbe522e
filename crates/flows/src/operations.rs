//! Changes of money, usage and messages: operations that wait together are done in one commit.
//!
//! Guarantees that the outcome of each operation is that of running it alone, in the order of arrival per user, and that
//! it is durable when it is answered, with the answer under its idempotency key. Reads identity; touches credits, sessions,
//! webhooks, idempotency and usage, in this order.
//!
//! Each kind of operation is one file. It implements `Operation`, or `KeyedOperation` if its requests may have an idempotency
//! key, and adds the method of [`Writes`] by which it is asked for.

pub(crate) mod correction;
pub(crate) mod ledger;
pub(crate) mod message;
pub(crate) mod metering;

use std::{sync::Arc, time::Duration};

use kernel::Clock;
use pg::{BatchLimits, Committer, Pool, QueueHealth, Rejected};
use usage::Prices;
use webhooks::Receivers;

use crate::{
    batch::{Domains, Waiting},
    caller::CallerRejected,
    operation::Operation,
};

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

    /// Another way in for the same, with a queue of its own: what comes in bulk blocks nobody who waits in [`Writes::start`].
    #[must_use]
    pub fn start_bulk(pool: Pool, clock: Arc<dyn Clock>, defaults: credits::Defaults) -> Self {
        let limits = BatchLimits { name: "bulk", ..LIMITS };
        Self::within(limits, pool, clock, defaults)
    }

    fn within(limits: BatchLimits, pool: Pool, clock: Arc<dyn Clock>, defaults: credits::Defaults) -> Self {
        let domains = Domains { clock, defaults, prices: Prices::new(), receivers: Receivers::default() };
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
    async fn submit<O: Operation>(
        &self,
        operation: O,
    ) -> Result<Result<O::Outcome, CallerRejected>, Rejected> {
        let waiting = Arc::new(Waiting::new(operation));
        let key = waiting.lane();
        self.committer.submit(&key, waiting.item()).await?;
        waiting.answered()
    }

    /// Runs an operation that asks for no check of its caller.
    async fn submit_unchecked<O: Operation>(&self, operation: O) -> Result<O::Outcome, Rejected> {
        self.submit(operation).await?.map_err(|rejected| {
            tracing::error!(?rejected, "a caller was rejected whom nobody asked about");
            Rejected::Failed
        })
    }
}

//! Deletes the events of the audit log that are older than they have to be kept (HTTP contract 3.6, 14). Touches identity, one
//! commit a round.

use std::sync::Arc;

use kernel::Clock;
use pg::{DbError, Pool, Tx};

use crate::jobs::{Job, Next};

/// Pause between two looks. Events are kept for months, so an hour more or less is nothing.
const EVERY: std::time::Duration = std::time::Duration::from_secs(60 * 60);
/// Most events of one round: a commit of some milliseconds. Anything deleted is followed by the next round at once.
const ROWS_MAX: i64 = 1_000;

/// The job that deletes what is older than `keep_for`.
#[must_use]
pub fn job(pool: &Pool, clock: &Arc<dyn Clock>, keep_for: time::Duration) -> Job {
    Job::new(
        "prune_audit_events",
        EVERY,
        (pool.clone(), Arc::clone(clock), keep_for),
        |(pool, clock, keep_for)| {
            Box::pin(async {
                let pruned = run(pool, &**clock, *keep_for).await?;
                Ok(if pruned == 0 { Next::Later } else { Next::AtOnce })
            })
        },
    )
}

/// One round; returns the number of events it deleted.
///
/// # Errors
/// [`DbError`]; then the round did nothing, unless the connection broke in the commit.
pub async fn run(pool: &Pool, clock: &dyn Clock, keep_for: time::Duration) -> Result<i64, DbError> {
    Tx::run(pool, async |tx| identity::audit::prune(tx.conn(), clock, keep_for, ROWS_MAX).await).await
}

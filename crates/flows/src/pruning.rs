//! Forgets the first answers of old idempotency keys, so that the table holds little beyond the keys themselves.
//!
//! Housekeeping only: that a request took effect is known for good, whether this runs or not (HTTP contract 1.11). Touches
//! idempotency, one commit a round.

use std::sync::Arc;

use idempotency::Pruned;
use kernel::Clock;
use pg::{DbError, Pool, Tx};

use crate::jobs::{Job, Next};

/// Pause between two looks. Answers are kept for days, so an hour more or less is nothing.
const EVERY: std::time::Duration = std::time::Duration::from_secs(60 * 60);
/// Most answers of one round: a commit of some milliseconds. Anything pruned is followed by the next
/// round at once.
const ROWS_MAX: i64 = 1_000;

/// The job that prunes what is older than `keep_for`. Each process passes over the rows that another one is pruning.
#[must_use]
pub fn job(pool: &Pool, clock: &Arc<dyn Clock>, keep_for: time::Duration) -> Job {
    Job::new(
        "prune_idempotency_keys",
        EVERY,
        (pool.clone(), Arc::clone(clock), keep_for),
        |(pool, clock, keep_for)| {
            Box::pin(async {
                let pruned = run(pool, &**clock, *keep_for).await?;
                Ok(if pruned == Pruned::default() { Next::Later } else { Next::AtOnce })
            })
        },
    )
}

/// One round; answers what it removed. Counted in `idempotency_pruned_total`.
///
/// # Errors
/// [`DbError`]; then the round did nothing, unless the connection broke in the commit.
pub async fn run(pool: &Pool, clock: &dyn Clock, keep_for: time::Duration) -> Result<Pruned, DbError> {
    let pruned =
        Tx::run(pool, async |tx| idempotency::prune(tx.conn(), clock, keep_for, ROWS_MAX).await).await?;
    for (kind, rows) in [("refusal", pruned.refusals), ("success", pruned.successes)] {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        metrics::counter!("idempotency_pruned_total", "kind" => kind).increment(rows);
    }
    Ok(pruned)
}

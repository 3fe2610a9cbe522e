//! Forgets the first answers of old idempotency keys, so that the table holds little beyond the keys themselves.
//!
//! Housekeeping only: that a request took effect is known for good, whether this runs or not (HTTP contract 1.11). Touches
//! idempotency, one commit a round.

use std::sync::Arc;

use idempotency::Pruned;
use kernel::Clock;
use pg::{DbError, Pool, Tx, pool::chain};
use tokio::task::JoinHandle;

/// Pause between two looks. Answers are kept for days, so an hour more or less is nothing.
const EVERY: std::time::Duration = std::time::Duration::from_secs(60 * 60);
/// Most answers of one round: a commit of some milliseconds. Anything pruned is followed by the next
/// round at once.
const ROWS_MAX: i64 = 1_000;

/// Prunes what is older than `keep_for` until the task is aborted, on the present tokio runtime. Any number of processes
/// may do so at the same time: each passes over the rows that another one is pruning.
pub fn start(pool: Pool, clock: Arc<dyn Clock>, keep_for: time::Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                match run(&pool, &*clock, keep_for).await {
                    Ok(Pruned { refusals: 0, successes: 0 }) => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "idempotency keys could not be pruned; it is tried again");
                        break;
                    }
                }
            }
        }
    })
}

/// One round; answers what it removed. Counted in `idempotency_pruned_total`.
///
/// # Errors
/// [`DbError`]; then the round did nothing, unless the connection broke in the commit.
pub async fn run(pool: &Pool, clock: &dyn Clock, keep_for: time::Duration) -> Result<Pruned, DbError> {
    let mut tx = Tx::begin(pool).await?;
    let pruned = idempotency::prune(tx.conn(), clock, keep_for, ROWS_MAX).await?;
    tx.commit().await?;
    for (kind, rows) in [("refusal", pruned.refusals), ("success", pruned.successes)] {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        metrics::counter!("idempotency_pruned_total", "kind" => kind).increment(rows);
    }
    Ok(pruned)
}

//! Makes visible what is due: holds that ended, grants that expired or became effective.
//!
//! Housekeeping only: every answer of the ledger counts what is due as gone, whether this runs or not. It lets entries and
//! events appear soon after their instant also where nobody asks. Touches credits and webhooks, one commit a round.

use std::{sync::Arc, time::Duration};

use credits::Defaults;
use kernel::Clock;
use pg::{DbError, Pool, Tx, pool::chain};
use tokio::task::JoinHandle;

use crate::events;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Most accounts of one round; a full round is followed by the next one at once.
const ACCOUNTS_MAX: i64 = 256;

/// Sweeps until the task is aborted, on the present tokio runtime. Any number of processes may do so at the same time.
pub fn start(pool: Pool, clock: Arc<dyn Clock>, defaults: Defaults) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                match run(&pool, &*clock, defaults).await {
                    Ok(swept) if i64::try_from(swept).is_ok_and(|swept| swept >= ACCOUNTS_MAX) => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "what is due could not be swept; it is tried again");
                        break;
                    }
                }
            }
        }
    })
}

/// One round; answers how many accounts had something due.
///
/// # Errors
/// [`DbError`]; then the round did nothing.
pub async fn run(pool: &Pool, clock: &dyn Clock, defaults: Defaults) -> Result<usize, DbError> {
    let mut tx = Tx::begin(pool).await?;
    let swept = credits::sweep(&mut tx, clock, defaults, ACCOUNTS_MAX).await?;
    webhooks::enqueue(&tx, &events::of_entries(&swept.entries, &swept.low)).await?;
    tx.commit().await?;
    Ok(swept.accounts)
}

//! Makes the months of usage ahead, and adds up what transactions left to be summed across users.
//!
//! Housekeeping only: what is recorded and what is answered is the same whether this runs or not. Touches usage, one
//! commit a step.

use std::{sync::Arc, time::Duration};

use kernel::Clock;
use pg::{DbError, Pool, Tx};

use crate::jobs::{Job, Next};

/// Pause between two looks for sums to add up: what is left meanwhile makes reads across users longer.
const FOLD_EVERY: Duration = Duration::from_secs(1);
/// Most sums, and most notes, of one commit: some milliseconds, some tens where every user is one of a million; a full one is
/// followed by the next at once.
const DELTAS_MAX: i64 = 2_000;
/// Pause between two looks at the months. A month is made long before it is needed, so this only has to happen some time.
const MONTHS_EVERY: Duration = Duration::from_secs(60 * 60);
/// Months that are made ahead.
const MONTHS_AHEAD: u16 = 3;

/// The jobs: months, and sums.
#[must_use]
pub fn jobs(pool: &Pool, clock: &Arc<dyn Clock>) -> [Job; 2] {
    let months = (pool.clone(), Arc::clone(clock));
    [
        Job::new("create_usage_months", MONTHS_EVERY, months, |(pool, clock)| {
            Box::pin(async { create_months(pool, &**clock).await.map(|_| Next::Later) })
        }),
        Job::new("add_up_usage", FOLD_EVERY, pool.clone(), |pool| {
            Box::pin(async { fold_deltas(pool).await.map(|_| Next::Later) })
        }),
    ]
}

/// Makes what months are missing. Rows that had to be moved are told, and counted in `usage_rows_moved_total`.
///
/// # Errors
/// [`DbError`]; what was made before it stays.
pub async fn create_months(pool: &Pool, clock: &dyn Clock) -> Result<usage::Months, DbError> {
    let months = usage::create_months(pool, clock, MONTHS_AHEAD).await?;
    if months.moved > 0 {
        metrics::counter!("usage_rows_moved_total").increment(months.moved);
        tracing::warn!(
            rows = months.moved,
            "rows of usage had come before their month was made, and were moved"
        );
    }
    Ok(months)
}

/// Adds up everything that transactions left: sums, and who came; answers how many of both there were.
///
/// # Errors
/// [`DbError`], of the sums if both fail; what was added before it stays, and one does not keep the other from being added.
pub async fn fold_deltas(pool: &Pool) -> Result<i64, DbError> {
    let sums = fold_all(pool, Left::Sums).await;
    let came = fold_all(pool, Left::Presence).await;
    Ok(sums?.saturating_add(came?))
}

/// Traces of transactions.
#[derive(Debug, Clone, Copy)]
enum Left {
    Sums,
    Presence,
}

async fn fold_all(pool: &Pool, left: Left) -> Result<i64, DbError> {
    let mut all = 0_i64;
    loop {
        let folded = Tx::run(pool, async |tx| match left {
            Left::Sums => usage::fold_deltas(tx.conn(), DELTAS_MAX).await,
            Left::Presence => usage::fold_presence(tx.conn(), DELTAS_MAX).await,
        })
        .await?;
        all = all.saturating_add(folded);
        if folded < DELTAS_MAX {
            return Ok(all);
        }
    }
}

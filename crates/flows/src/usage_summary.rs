//! Activity across users: their usage, and their number.
//!
//! Guarantees that all figures are of one snapshot. Reads identity and usage.

use pg::{DbError, Pool, Tx};
use usage::{SummaryQuery, UsageRefusal};

/// A summary of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSummary {
    /// The usage.
    pub usage: usage::Summary,
    /// Users made on each day of it, in the same order.
    pub new_users: Vec<i64>,
}

/// Reads a summary (HTTP contract 4.7).
///
/// # Errors
/// [`DbError`]; refusal: [`UsageRefusal::TooManyPoints`] for a window of very many days.
pub async fn read(pool: &Pool, query: &SummaryQuery) -> Result<Result<UsageSummary, UsageRefusal>, DbError> {
    let mut tx = Tx::snapshot(pool).await?;
    let read = read_in(&mut tx, query).await;
    // Nothing was written; the connection is given back, also after a refusal.
    tx.rollback().await;
    read
}

async fn read_in(tx: &mut Tx, query: &SummaryQuery) -> Result<Result<UsageSummary, UsageRefusal>, DbError> {
    usage::hold_months(tx).await?;
    let usage = match usage::summary(tx.conn(), query).await? {
        Ok(usage) => usage,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let starts: Vec<_> = usage.days.iter().map(|day| day.starts).collect();
    let new_users = identity::users::created_between(tx.conn(), &starts, query.end).await?;
    Ok(Ok(UsageSummary { usage, new_users }))
}

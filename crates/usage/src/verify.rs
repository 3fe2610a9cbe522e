//! The audit of usage while it works: a range of time at a time, each in a snapshot of its own.
//!
//! First the roll-ups of users and the sums across users against the records, then the longer spans against their quarters.
//! Records lie in the order of time, so a range reads its own blocks only, and the busiest user is spread over many ranges.
//!
//! No transaction is long and no lock is held, so it may run whenever somebody wants to know. Months whose records were
//! dropped have nothing to compare the roll-ups of users with, and are skipped there.

use std::fmt;

use pg::{DbError, Pool, Tx};
use time::OffsetDateTime;

use crate::store::{self, verify::Of};

pub use store::verify::Violation;

/// Most records of one range, unless one hour has more: a snapshot of at most a second or two.
pub const RECORDS_A_CHUNK: i64 = 200_000;
/// Most violations that a [`Report`] keeps; the others are counted.
pub const VIOLATIONS_MAX: usize = 1_000;

/// A walk through all time, range by range.
///
/// ```no_run
/// # async fn example(pool: &pg::Pool) -> Result<(), pg::DbError> {
/// let mut verification = usage::verify::Verification::default();
/// while verification.advance(pool).await? {
///     println!("{} records so far", verification.report().records);
/// }
/// assert!(verification.report().is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Verification {
    /// The next comparison and its start.
    next: Option<(Of, Option<OffsetDateTime>)>,
    report: Report,
}

impl Default for Verification {
    fn default() -> Self {
        Self { next: Some((Of::Hours, None)), report: Report::default() }
    }
}

/// Findings of a [`Verification`] so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that were checked.
    pub records: u64,
    /// Number of violations found. Each rule reports at most 20 of a range, so there may be more.
    pub found: u64,
    /// The first of them: of each range those of users by user and quarter, then those across users; at most
    /// [`VIOLATIONS_MAX`].
    pub violations: Vec<Violation>,
}

impl Verification {
    /// Checks the next range and answers whether there are more. After a failure it may be called again, with another pool
    /// to the same database too, and goes on where it was. The number of statements does not depend on what is stored.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be read; that is not a violation.
    pub async fn advance(&mut self, pool: &Pool) -> Result<bool, DbError> {
        self.step(pool, RECORDS_A_CHUNK).await
    }

    /// [`Verification::advance`] by ranges of about `records_max` records.
    ///
    /// # Errors
    /// As [`Verification::advance`].
    pub async fn step(&mut self, pool: &Pool, records_max: i64) -> Result<bool, DbError> {
        let Some((of, from)) = self.next else {
            return Ok(false);
        };
        let mut tx = Tx::begin(pool).await?;
        pg::audit::take_snapshot(&mut tx).await?;
        // Otherwise rows that are moved into a new month meanwhile would be missed by the statements behind.
        store::partitions::hold(tx.conn()).await?;
        let range = store::verify::range(tx.conn(), of, from, records_max.max(1)).await?;
        let records = match of {
            Of::Hours => store::verify::records_in(tx.conn(), &range).await?,
            Of::Days => 0,
        };
        let found = store::verify::check(tx.conn(), &range).await?;
        tx.commit().await?;
        self.report.add(records.unsigned_abs(), found);
        self.next = match (of, range.until) {
            (of, Some(until)) => Some((of, Some(until))),
            (Of::Hours, None) => Some((Of::Days, None)),
            (Of::Days, None) => None,
        };
        Ok(self.next.is_some())
    }

    /// The findings so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl Report {
    /// Returns true if no rule is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found == 0
    }

    fn add(&mut self, records: u64, violations: Vec<Violation>) {
        self.records = self.records.saturating_add(records);
        let found = u64::try_from(violations.len()).unwrap_or(u64::MAX);
        self.found = self.found.saturating_add(found);
        let room = VIOLATIONS_MAX.saturating_sub(self.violations.len());
        self.violations.extend(violations.into_iter().take(room));
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user_id {
            Some(user) => write!(f, "account {user}, ")?,
            None => f.write_str("all users, ")?,
        }
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// Returns the approximate number of records, to show the progress of a [`Verification`].
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn records(pool: &Pool) -> Result<u64, DbError> {
    Ok(pool.read(async |conn| store::verify::records(conn).await).await?.unsigned_abs())
}

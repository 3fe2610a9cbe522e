//! The audit of the ledger while it works: a range of accounts at a time, each in a snapshot of its own.
//!
//! No transaction is long and no lock is held, so it may run whenever somebody wants to know. [`Verification`] goes through
//! all accounts; [`chunk`] is one step of it.

use std::fmt;

use kernel::UserId;
use pg::{DbError, Pool, Tx};

use crate::store;

/// Most accounts of one chunk: a snapshot of at most a second or two.
pub const ACCOUNTS_A_CHUNK: i64 = 1_000;
/// Most violations that a [`Report`] keeps; the others are counted.
pub const VIOLATIONS_MAX: usize = 1_000;

/// A walk through all accounts, chunk by chunk.
///
/// ```no_run
/// # async fn example(pool: &pg::Pool) -> Result<(), pg::DbError> {
/// let mut verification = credits::verify::Verification::default();
/// while verification.advance(pool).await? {
///     println!("{} accounts so far", verification.report().accounts);
/// }
/// assert!(verification.report().is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Verification {
    after: Option<UserId>,
    report: Report,
}

/// Findings of a [`Verification`] so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Accounts that were checked.
    pub accounts: u64,
    /// Entries that were checked.
    pub entries: u64,
    /// Number of violations found. Each rule reports at most 20 of a chunk, so there may be more.
    pub found: u64,
    /// The first of them, by account and entry; at most [`VIOLATIONS_MAX`].
    pub violations: Vec<Violation>,
}

impl Verification {
    /// Checks the next chunk and answers whether there are more. After a failure it may be called again, with another
    /// pool to the same database too, and goes on where it was.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be read; that is not a violation.
    pub async fn advance(&mut self, pool: &Pool) -> Result<bool, DbError> {
        let chunk = chunk(pool, self.after.as_ref(), ACCOUNTS_A_CHUNK).await?;
        let report = &mut self.report;
        report.accounts = report.accounts.saturating_add(chunk.accounts);
        report.entries = report.entries.saturating_add(chunk.entries);
        let found = u64::try_from(chunk.violations.len()).unwrap_or(u64::MAX);
        report.found = report.found.saturating_add(found);
        let room = VIOLATIONS_MAX.saturating_sub(report.violations.len());
        report.violations.extend(chunk.violations.into_iter().take(room));
        self.after = chunk.last_user;
        Ok(self.after.is_some())
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
}

/// Checked rows and violations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Accounts that were checked.
    pub accounts: u64,
    /// Entries that were checked.
    pub entries: u64,
    /// The account to go on behind; `None` when all accounts are checked.
    pub last_user: Option<UserId>,
    /// Violations by account and entry, at most 20 a rule.
    pub violations: Vec<Violation>,
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule, for example `credits L2: each entry continues the one before`.
    pub rule: &'static str,
    /// Owner of the account.
    pub user_id: String,
    /// The entry, if it is about one.
    pub seq: Option<i64>,
    /// Description of the violation, with amounts in credits.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}, ", self.user_id)?;
        if let Some(seq) = self.seq {
            write!(f, "entry {seq}, ")?;
        }
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// Returns the number of accounts, to show the progress of a [`Verification`].
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn accounts(pool: &Pool) -> Result<u64, DbError> {
    Ok(pool.read(async |conn| store::verify::accounts(conn).await).await?.unsigned_abs())
}

/// Checks the next `limit` accounts behind `after`, with a number of statements that does not depend on them. Accounts with
/// very many entries come in smaller chunks.
///
/// # Errors
/// [`DbError`] when the database cannot be read; that is not a violation.
pub async fn chunk(pool: &Pool, after: Option<&UserId>, limit: i64) -> Result<Chunk, DbError> {
    let mut tx = Tx::begin(pool).await?;
    pg::audit::take_snapshot(&mut tx).await?;
    let range = store::verify::range(tx.conn(), after, limit.max(1)).await?;
    let found = store::verify::check(tx.conn(), &range).await?;
    tx.commit().await?;
    let violation = |found: store::verify::Found| Violation {
        rule: found.rule,
        user_id: found.subject,
        seq: found.seq,
        detail: found.detail,
    };
    let mut violations: Vec<Violation> = found.into_iter().map(violation).collect();
    // What is wrong with an entry says more than what follows for its account.
    violations.sort_by(|a, b| {
        let place = |of: &Violation| (of.seq.is_none(), of.seq);
        a.user_id.cmp(&b.user_id).then_with(|| place(a).cmp(&place(b)))
    });
    Ok(Chunk {
        accounts: range.accounts.unsigned_abs(),
        entries: range.entries.unsigned_abs(),
        violations,
        last_user: range.last,
    })
}

/// The last of the `count` accounts behind user `after`, for whoever walks along them; nothing if there are fewer.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn last_user(
    conn: &mut pg::PgConnection,
    after: &str,
    count: i64,
) -> Result<Option<String>, DbError> {
    store::verify::last_user(conn, after, count).await
}

//! The audit of the ledger while it works: a range of accounts at a time, each in a snapshot of its own.
//!
//! No transaction is long and no lock is held, so it may run whenever somebody wants to know. Begin with
//! `chunk(pool, None, ACCOUNTS_A_CHUNK)`, go on behind `last_user` until that is `None`.

use kernel::UserId;
use pg::{DbError, Pool, Tx};

use crate::store;

/// Accounts of one chunk: a snapshot of some hundred milliseconds.
pub const ACCOUNTS_A_CHUNK: i64 = 1_000;

/// What was checked, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Accounts that were checked.
    pub accounts: u64,
    /// Entries that were checked.
    pub entries: u64,
    /// The account to go on behind; `None` when all accounts are checked.
    pub last_user: Option<UserId>,
    /// What breaks a rule: at most 20 a rule.
    pub violations: Vec<Violation>,
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule, for example `credits L2: each entry continues the one before`.
    pub rule: &'static str,
    /// Whose account.
    pub user_id: String,
    /// Which entry, if it is about one.
    pub seq: Option<i64>,
    /// What is wrong, with the figures in micro-credits.
    pub detail: String,
}

/// Checks the next `limit` accounts behind `after`, with a number of statements that does not depend on them.
///
/// # Errors
/// [`DbError`] when the database cannot be read; that is not a violation.
pub async fn chunk(pool: &Pool, after: Option<&UserId>, limit: i64) -> Result<Chunk, DbError> {
    let mut tx = Tx::begin(pool).await?;
    store::verify::take_snapshot(tx.conn()).await?;
    let range = store::verify::range(tx.conn(), after, limit.max(1)).await?;
    let found = store::verify::check(tx.conn(), &range).await?;
    tx.commit().await?;
    let violations = found.into_iter().map(|found| Violation {
        rule: found.rule,
        user_id: found.subject,
        seq: found.seq,
        detail: found.detail,
    });
    Ok(Chunk {
        accounts: range.accounts.unsigned_abs(),
        entries: range.entries.unsigned_abs(),
        violations: violations.collect(),
        last_user: range.last,
    })
}

//! Charges of usage against the entries of the ledger, some users at a time.

use pg::{DbError, Pool, Tx, audit::Drift};

use crate::audits::CHARGED_OF_USERS;

/// Users of one range: their records are read once, so that a range takes about as long as one of the other rules.
const USERS_A_CHUNK: i64 = 100;

/// A walk through all users.
#[derive(Debug, Clone, Default)]
pub(super) struct Charges {
    /// The last user of the ranges before; empty before the first one.
    after: String,
    /// Number of violations found.
    pub(super) found: u64,
    /// All of them: each range tells 20 at most.
    pub(super) violations: Vec<Drift>,
}

impl Charges {
    /// Checks the next range, in a snapshot of both schemas, and answers whether there are more.
    pub(super) async fn advance(&mut self, pool: &Pool) -> Result<bool, DbError> {
        let mut tx = Tx::begin(pool).await?;
        pg::audit::take_snapshot(&mut tx).await?;
        usage::hold_months(&mut tx).await?;
        let until = credits::verify::last_user(tx.conn(), &self.after, USERS_A_CHUNK).await?;
        let found =
            pg::audit::run_between(tx.conn(), CHARGED_OF_USERS, &self.after, until.as_deref()).await?;
        tx.commit().await?;
        self.found = self.found.saturating_add(u64::try_from(found.len()).unwrap_or(u64::MAX));
        self.violations.extend(found);
        let more = until.is_some();
        self.after = until.unwrap_or_default();
        Ok(more)
    }
}

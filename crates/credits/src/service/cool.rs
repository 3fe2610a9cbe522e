//! The way back to versions that do not know heads of accounts (ADR 0021).

use pg::{DbError, Pool, Tx};

use crate::store::{self, verify::END};

/// Accounts of one transaction: they are locked for some milliseconds.
const ACCOUNTS_A_RANGE: i64 = 200;

/// Writes the heads of all accounts back into the rows of their grants, and returns the number of accounts that had one. No
/// figure changes: `current_grants` reads as before.
///
/// It walks along the accounts in short transactions, one a range, so it may run beside the service, be interrupted and repeated.
/// The next charge of an account makes a head again. After each range `on_range` gets the number so far.
///
/// # Errors
/// [`DbError`] of one range; those before it stay done.
pub async fn cool(pool: &Pool, mut on_range: impl FnMut(u64)) -> Result<u64, DbError> {
    let (mut after, mut cooled) = (String::new(), 0_u64);
    loop {
        let (last, count) = Tx::run(pool, async |tx| {
            let last = store::verify::last_user(tx.conn(), &after, ACCOUNTS_A_RANGE).await?;
            let users = store::cool::lock_heads(tx.conn(), &after, last.as_deref().unwrap_or(END)).await?;
            store::cool::write_back(tx.conn(), &users).await?;
            Ok((last, users.len()))
        })
        .await?;
        cooled = cooled.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        on_range(cooled);
        match last {
            Some(last) => after = last,
            None => return Ok(cooled),
        }
    }
}

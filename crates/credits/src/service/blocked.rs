//! Telling who cannot be served now, without waiting for him.

use std::collections::BTreeSet;

use kernel::UserId;
use pg::{DbError, Tx};

use crate::store;

/// Those of `users` whose accounts another transaction has locked at this moment: a command of theirs would wait for it.
///
/// Never waits. It locks the other accounts, so a caller who does not go on with them rolls back.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn blocked(tx: &mut Tx, users: &BTreeSet<UserId>) -> Result<BTreeSet<UserId>, DbError> {
    if users.is_empty() {
        return Ok(BTreeSet::new());
    }
    store::blocked::find(tx.conn(), users).await
}

//! Lock, read, apply in order, save.

use std::borrow::Cow;

use kernel::Clock;
use pg::{DbError, Tx};

use super::deciding::{Deciding, lock, prepare};
use crate::model::{Command, Defaults, Executed};

/// Applies the commands in their order, with the same outcome as one by one. The caller commits.
///
/// The accounts are locked in the order of their ids, so that batches of any processes run side by side without
/// deadlock, as long as a transaction calls this once. The number of statements does not depend on the number of commands.
/// The instant is the database's clock, read after the locks are held (or the pinned instant of `clock`), never earlier
/// than the account's own time.
///
/// Refusals are values: what was due before them is saved, and they do not disturb the other commands.
///
/// `defaults` say which falls of a balance are told of accounts that have no threshold of their own.
///
/// # Errors
/// [`DbError`] when the batch as a whole failed: nothing of it may be committed. [`DbError::Inconsistent`] means damaged
/// data or a bug.
pub async fn execute(
    tx: &mut Tx,
    clock: &dyn Clock,
    defaults: Defaults,
    commands: &[Command],
) -> Result<Executed, DbError> {
    if commands.is_empty() {
        return Ok(Executed::default());
    }
    let locked = lock(tx.conn(), clock, commands).await?;
    let mut deciding: Deciding<'_> = prepare(tx.conn(), defaults, locked).await?;
    for command in commands {
        deciding.apply(Cow::Borrowed(command))?;
    }
    deciding.finish().save(tx).await
}

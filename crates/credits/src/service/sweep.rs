//! Housekeeping: booking what is due before anybody asks.

use kernel::{Actor, Clock, FreeForm};
use pg::{DbError, Tx};
use uuid::Uuid;

use crate::{
    model::{Action, Command, Defaults, Entry, LowCrossing},
    service::execute,
    store,
};

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Accounts whose due items were booked.
    pub accounts: usize,
    /// Accounts that somebody else had locked: whoever it is books what is due.
    pub passed_over: usize,
    /// Every new entry, as in [`Executed`](crate::Executed).
    pub entries: Vec<Entry>,
    /// As in [`Executed`](crate::Executed).
    pub low: Vec<LowCrossing>,
}

/// Books what is due: at most `limit` holds, grants that end and grants that begin. The caller commits, and comes again
/// while accounts were found.
///
/// Answers do not depend on it: any later command or read would do or count the same. It never waits for an account.
///
/// # Errors
/// [`DbError`] when nothing of it may be committed.
pub async fn sweep(tx: &mut Tx, clock: &dyn Clock, defaults: Defaults, limit: i64) -> Result<Swept, DbError> {
    let found = store::sweep::find_due(tx.conn(), clock.pinned(), limit).await?;
    if found.is_empty() {
        return Ok(Swept::default());
    }
    let locked = store::accounts::lock_unlocked(tx.conn(), &found).await?;
    let commands: Vec<Command> = locked
        .iter()
        .map(|user| Command {
            user_id: user.clone(),
            actor: Actor::System,
            // Due items bring transaction ids of their own.
            transaction_id: Uuid::nil(),
            description: None,
            metadata: FreeForm::empty(),
            idempotency: None,
            action: Action::ApplyDue,
        })
        .collect();
    let executed = execute(tx, clock, defaults, &commands).await?;
    Ok(Swept {
        accounts: locked.len(),
        passed_over: found.len().saturating_sub(locked.len()),
        entries: executed.entries,
        low: executed.low,
    })
}

//! Housekeeping: booking what is due before anybody asks.

use std::collections::BTreeSet;

use kernel::{Actor, CallerClass, Clock, FreeForm, UserId};
use pg::{DbError, PgConnection, Tx};
use uuid::Uuid;

use crate::{
    model::{Action, Command, Defaults, Entry, LowCrossing},
    service::execute,
    store,
};

/// Results of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Accounts that were looked at.
    pub accounts: usize,
    /// Accounts that somebody else had locked: whoever it is books what is due.
    pub passed_over: usize,
    /// Those of the accounts where nothing was to be booked: somebody else has done it since they were found, or their
    /// figures hide what is due.
    pub idle: BTreeSet<UserId>,
    /// Every new entry, as in [`Executed`](crate::Executed).
    pub entries: Vec<Entry>,
    /// As in [`Executed`](crate::Executed).
    pub low: Vec<LowCrossing>,
}

/// Finds what is due, and books it: at most `limit` holds, grants that end and grants that begin. The caller commits, and
/// comes again while accounts were found.
///
/// Answers do not depend on it: any later command or read would do or count the same. It never waits for an account.
///
/// # Errors
/// [`DbError`] when nothing of it may be committed; one damaged account is enough for that. Who must go on takes
/// [`find_due`] and [`book_due`] apart.
pub async fn sweep(tx: &mut Tx, clock: &dyn Clock, defaults: Defaults, limit: i64) -> Result<Swept, DbError> {
    let found = find_due(tx.conn(), clock, &BTreeSet::new(), limit).await?;
    book_due(tx, clock, defaults, &found).await
}

/// Accounts where something is due, but for those of `except`: the owners of at most `limit` holds, `limit` grants that end
/// and `limit` grants that begin, of each those that wait longest.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn find_due(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    except: &BTreeSet<UserId>,
    limit: i64,
) -> Result<BTreeSet<UserId>, DbError> {
    store::sweep::find_due(conn, clock.pinned(), except, limit).await
}

/// Books what is due at those of `users` that nobody has locked. The caller commits.
///
/// # Errors
/// [`DbError`] when nothing of it may be committed.
pub async fn book_due(
    tx: &mut Tx,
    clock: &dyn Clock,
    defaults: Defaults,
    users: &BTreeSet<UserId>,
) -> Result<Swept, DbError> {
    if users.is_empty() {
        return Ok(Swept::default());
    }
    let locked = store::accounts::lock_unlocked(tx.conn(), users).await?;
    let commands: Vec<Command> = locked
        .iter()
        .map(|user| Command {
            user_id: user.clone(),
            actor: Actor::System,
            caller: CallerClass::Service,
            // Due items bring transaction ids of their own.
            nonce: Uuid::nil(),
            description: None,
            metadata: FreeForm::empty(),
            action: Action::ApplyDue,
        })
        .collect();
    let executed = execute(tx, clock, defaults, &commands).await?;
    let (accounts, mut idle) = (locked.len(), locked);
    for entry in &executed.entries {
        idle.remove(&entry.user_id);
    }
    Ok(Swept {
        accounts,
        passed_over: users.len().saturating_sub(accounts),
        idle,
        entries: executed.entries,
        low: executed.low,
    })
}

//! All SQL of the ledger: set-oriented, of constant text, a constant number of statements for any number of commands.

pub mod accounts;
pub mod audits;
pub mod balances;
pub mod columns;
pub mod entries;
pub mod entry_grants;
pub mod grants;
pub mod references;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::try_join;
use kernel::UserId;
use pg::{DbError, Tx};
use time::OffsetDateTime;

pub use entries::Ids;

use crate::{
    core::{self, AccountState, INITIAL_REFERENCE},
    model::{Action, Command},
};

/// What a batch needs from the database.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Whose accounts, in lock order.
    users: BTreeSet<UserId>,
    /// Accounts to be opened if they are missing.
    opened: BTreeSet<UserId>,
    /// References that commands name.
    references: BTreeSet<(UserId, String)>,
}

/// The locked accounts of a batch, and its instant.
#[derive(Debug)]
pub struct Batch {
    /// When the batch happens; each account raises it to its own time.
    pub now: OffsetDateTime,
    /// The accounts that exist.
    pub accounts: BTreeMap<UserId, AccountState>,
}

impl Wanted {
    /// What these commands need.
    pub fn of(commands: &[Command]) -> Self {
        let mut wanted = Self::default();
        for command in commands
            .iter()
            .filter(|command| core::check(&command.action).is_ok())
        {
            let user = || command.user_id.clone();
            wanted.users.insert(user());
            let reference = match &command.action {
                Action::Open { .. } => {
                    wanted.opened.insert(user());
                    Some(INITIAL_REFERENCE)
                }
                Action::Grant(new) => new.reference_id.as_deref(),
                Action::Recharge { reference_id, .. } => reference_id.as_deref(),
                Action::Consume { .. } | Action::ApplyDue => None,
            };
            if let Some(reference) = reference {
                wanted.references.insert((user(), reference.to_owned()));
            }
        }
        wanted
    }
}

/// Makes missing accounts that are to be opened, locks the accounts, then reads what the batch needs.
///
/// The reading statements start after the lock is held: a statement that waits for a lock answers the new row together
/// with old rows of other tables, and evaluates its clock before the wait.
pub async fn load(tx: &mut Tx, pinned: Option<OffsetDateTime>, wanted: &Wanted) -> Result<Batch, DbError> {
    let conn = tx.conn();
    let fresh = accounts::insert_missing(conn, pinned, &wanted.opened).await?;
    let locked = accounts::lock_for_update(conn, &wanted.users).await?;
    let conn = &*conn;
    let (now, grants, known) = try_join!(
        accounts::now(conn, pinned),
        grants::load_live(conn, &wanted.users),
        references::load(conn, &wanted.references),
    )?;
    let mut accounts = accounts::assemble(locked, grants, &fresh)?;
    for reference in known {
        if let Some(state) = accounts.get_mut(&reference.user_id) {
            state.know(reference.reference_id, reference.known);
        }
    }
    Ok(Batch { now, accounts })
}

/// Writes what changed, one statement a table, and answers the ids of the new entries.
pub async fn save(tx: &mut Tx, batch: &Batch) -> Result<Ids, DbError> {
    let states: Vec<&AccountState> = batch.accounts.values().collect();
    let conn = &*tx.conn();
    let ((), (), (), (), ids) = try_join!(
        accounts::update(conn, &states),
        grants::insert(conn, &states),
        grants::update(conn, &states),
        entry_grants::insert(conn, &states),
        entries::insert(conn, &states),
    )?;
    Ok(ids)
}

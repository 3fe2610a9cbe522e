//! The ledger on a database: load, apply in order, save.

use std::collections::BTreeMap;

use kernel::{Clock, FreeForm, Page, Slice, UserId};
use pg::{DbError, PgConnection, Tx};

use crate::{
    core::{self, AccountState, Effect, Fault, Stop, Written},
    error::Refusal,
    model::{Applied, Balance, Command, Entry, TransactionFilter},
    store::{self, Batch, Ids, Wanted},
};

/// Applies the commands in their order, with the same outcome as one by one. The caller commits.
///
/// The accounts are locked in the order of their ids, so that batches of any processes run side by side without
/// deadlock, as long as a transaction calls this once. The number of statements does not depend on the number of commands.
/// The instant is the database's clock, read after the locks are held (or the pinned instant of `clock`), never earlier
/// than the account's own time.
///
/// Refusals are values: what was due before them is saved, and they do not disturb the other commands.
///
/// # Errors
/// [`DbError`] when the batch as a whole failed: nothing of it may be committed. [`DbError::Inconsistent`] means damaged
/// data or a bug.
pub async fn execute(
    tx: &mut Tx,
    clock: &dyn Clock,
    commands: &[Command],
) -> Result<Vec<Result<Applied, Refusal>>, DbError> {
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let mut batch = store::load(tx, clock.pinned(), &Wanted::of(commands)).await?;
    let mut effects = Vec::with_capacity(commands.len());
    for command in commands {
        effects.push(decide(&mut batch, command)?);
    }
    let ids = store::save(tx, &batch).await?;
    commands
        .iter()
        .zip(effects)
        .map(|(command, effect)| match effect {
            Ok(effect) => answer(&batch, &ids, &command.user_id, effect).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        })
        .collect()
}

/// The balances of `users`, in the order asked; `None` where there is no account. Writes nothing.
///
/// What is due counts as gone or come. One statement, unless something is due.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn balances(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    users: &[UserId],
) -> Result<Vec<Option<Balance>>, DbError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let glances = store::balances::read(conn, clock.pinned(), users).await?;
    let due: Vec<UserId> = glances
        .iter()
        .filter(|(_, glance)| glance.is_due())
        .map(|(user, _)| user.clone())
        .collect();
    let mut found: BTreeMap<UserId, Balance> = BTreeMap::new();
    for (user, glance) in &glances {
        found.insert(user.clone(), glance.balance);
    }
    if !due.is_empty() {
        for (user, state) in store::accounts::peek(conn, &due).await? {
            let now = glances
                .get(&user)
                .map_or(state.account.as_of, |glance| glance.now);
            let balance = core::view(&state, now.max(state.account.as_of)).map_err(inconsistent)?;
            found.insert(user, balance);
        }
    }
    Ok(users.iter().map(|user| found.get(user).copied()).collect())
}

/// The transactions of `user`, newest first; holds and releases are not listed. Empty without an account.
///
/// The place of an entry is its `seq`. A date filter costs a number of probes that grows with the logarithm of the history.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn transactions(
    conn: &mut PgConnection,
    user: &UserId,
    filter: &TransactionFilter,
    page: &Page<i64>,
) -> Result<Slice<Entry, i64>, DbError> {
    let window = store::entries::window(conn, user, filter).await?;
    let entries = store::entries::list(conn, user, filter.kind, window, page).await?;
    Ok(page.cut(entries, |entry| entry.seq))
}

/// Applies one command to its account in the batch.
fn decide(batch: &mut Batch, command: &Command) -> Result<Result<Effect, Refusal>, DbError> {
    let now = batch.now;
    let Some(state) = batch.accounts.get_mut(&command.user_id) else {
        let missing = || {
            Err(Refusal::UserNotFound {
                user_id: command.user_id.clone(),
            })
        };
        return Ok(core::check(&command.action).and_then(|()| missing()));
    };
    match core::apply(state, command, now) {
        Ok(effect) => Ok(Ok(effect)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Broken(fault)) => Err(DbError::Inconsistent(format!(
            "account {}: {fault}",
            command.user_id
        ))),
    }
}

/// The effect with its entry as it is stored.
fn answer(batch: &Batch, ids: &Ids, user_id: &UserId, effect: Effect) -> Result<Applied, DbError> {
    let entry = match effect.entry {
        Written::Nothing => None,
        Written::Before(entry) => Some(*entry),
        Written::Now(seq) => {
            let state = batch.accounts.get(user_id);
            let made = state.and_then(|state| stored_entry(state, ids, seq));
            Some(made.ok_or_else(|| DbError::Inconsistent(format!("entry {seq} of {user_id} is not there")))?)
        }
    };
    Ok(Applied {
        entry,
        balance: effect.balance,
        replayed: effect.replayed,
    })
}

fn stored_entry(state: &AccountState, ids: &Ids, seq: i64) -> Option<Entry> {
    let entry = state.journal().iter().find(|entry| entry.seq == seq)?;
    let given = ids.get(&(state.user_id.clone(), seq))?;
    let metadata = given
        .metadata
        .clone()
        .map_or_else(FreeForm::empty, FreeForm::stored);
    Some(entry.stored(&state.user_id, given.id, metadata))
}

fn inconsistent(fault: Fault) -> DbError {
    DbError::Inconsistent(fault.to_string())
}

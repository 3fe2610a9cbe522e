//! Reading without a lock. What is due counts as gone or come; nothing is written.

use std::collections::BTreeMap;

use kernel::{Clock, Credits, Found, Page, Slice, UserId};
use pg::{DbError, PgConnection};

use crate::{
    core::{self, Grant},
    model::{
        AccountView, Balance, Entry, GrantFilter, GrantPlace, GrantStatus, GrantView, HoldFilter, HoldView,
        TransactionFilter, TransactionName,
    },
    service::inconsistent,
    store,
};

/// The balances of `users`, in the order asked; `None` where there is no account.
///
/// One statement, unless something is due.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn balances(
    conn: &PgConnection,
    clock: &dyn Clock,
    users: &[UserId],
) -> Result<Vec<Option<Balance>>, DbError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let glances = store::balances::read(conn, clock.pinned(), users).await?;
    let due: Vec<UserId> =
        glances.iter().filter(|(_, glance)| glance.is_due()).map(|(user, _)| user.clone()).collect();
    let mut found: BTreeMap<UserId, Balance> = BTreeMap::new();
    for (user, glance) in &glances {
        found.insert(user.clone(), glance.balance);
    }
    if !due.is_empty() {
        for (user, peeked) in store::peek::peek(conn, clock.pinned(), &due).await? {
            let balance = core::view(&peeked.state, peeked.now).map_err(inconsistent)?;
            found.insert(user, balance);
        }
    }
    Ok(users.iter().map(|user| found.get(user).copied()).collect())
}

/// Returns whether an item of `user` is due and not booked yet. One statement.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn is_due(conn: &PgConnection, clock: &dyn Clock, user: &UserId) -> Result<bool, DbError> {
    let glances = store::balances::read(conn, clock.pinned(), std::slice::from_ref(user)).await?;
    Ok(glances.iter().any(|(_, glance)| glance.is_due()))
}

/// The account of `user` with its open grants; `None` without an account. Two statements.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn account(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    user: &UserId,
) -> Result<Option<AccountView>, DbError> {
    let peeked = store::peek::peek(conn, clock.pinned(), std::slice::from_ref(user)).await?;
    let Some(peeked) = peeked.into_values().next() else {
        return Ok(None);
    };
    let state = core::settled(&peeked.state, peeked.now).map_err(inconsistent)?;
    let open: Vec<&Grant> =
        state.grants().iter().filter(|grant| grant.status(peeked.now) == GrantStatus::Open).collect();
    let ids = open.iter().map(|grant| grant.id).collect();
    let mut notes = store::grants::notes(conn, user, ids).await?;
    let grants = open
        .iter()
        .map(|grant| grant.shown(&notes.remove(&grant.id).unwrap_or_default(), peeked.now))
        .collect();
    let updated_at = state.journal().last().map_or(peeked.updated_at, |entry| entry.created_at);
    Ok(Some(AccountView { user_id: user.clone(), balance: state.account.balance(), grants, updated_at }))
}

/// The grants of `user` in burn order. Empty without an account. One statement, unless something is due.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn grants(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    user: &UserId,
    filter: GrantFilter,
    page: &Page<GrantPlace>,
) -> Result<Slice<GrantView, GrantPlace>, DbError> {
    let found = store::listings::grants(conn, clock.pinned(), user, filter, page).await?;
    let Some(now) = found.now else {
        return Ok(page.cut(Vec::new(), GrantPlace::from_grant));
    };
    let peeked = if found.is_due {
        let peeked = store::peek::peek(conn, clock.pinned(), std::slice::from_ref(user)).await?;
        peeked.into_values().next()
    } else {
        None
    };
    let settled =
        peeked.as_ref().map(|peeked| core::settled(&peeked.state, now).map_err(inconsistent)).transpose()?;
    let show = |stored: Grant| {
        let notes = stored.notes.as_deref().cloned().unwrap_or_default();
        let present = settled.as_ref().and_then(|state| state.grant(stored.id));
        present.unwrap_or(&stored).shown(&notes, now)
    };
    let views = Found { items: found.grants.into_iter().map(show).collect(), rows: found.rows };
    Ok(page.cut_found(views, GrantPlace::from_grant))
}

/// The holds of `user`, newest first. Empty without an account. One statement.
///
/// The place of a hold is its `entry_seq`.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn holds(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    user: &UserId,
    filter: HoldFilter,
    page: &Page<i64>,
) -> Result<Slice<HoldView, i64>, DbError> {
    let found = store::listings::holds(conn, clock.pinned(), user, filter, page).await?;
    let views = Found { items: found.items.iter().map(|hold| hold.shown()).collect(), rows: found.rows };
    Ok(page.cut_found(views, |hold: &HoldView| hold.entry_seq))
}

/// The transactions of `user`, newest first; holds and releases are not listed. Empty without an account.
///
/// A page ends early rather than hold more than [`kernel::page::PAGE_BYTES_MAX`], as those of [`grants`] and [`holds`] do.
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
    let mut entries = match (filter.hold_id, &filter.reference_id) {
        (Some(hold_id), _) => store::entries::list_of_hold(conn, user, hold_id, window, page).await?,
        (None, Some(reference)) => {
            store::entries::list_of_reference(conn, user, reference, window, page).await?
        }
        (None, None) => {
            let found = store::entries::list(conn, user, filter.kind, window, page).await?;
            return Ok(page.cut_found(found, |entry| entry.seq));
        }
    };
    // A hold is charged once and a reference is booked once: there is at most one entry, which all filters must let pass.
    entries.retain(|entry| {
        let kind = filter.kind.is_none() || entry.kind.transaction_kind() == filter.kind;
        kind && (filter.reference_id.is_none() || entry.reference_id == filter.reference_id)
    });
    Ok(page.cut(entries, |entry| entry.seq))
}

/// The transaction of `user` that a request names; holds and releases are none.
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn find_transaction(
    conn: &mut PgConnection,
    user: &UserId,
    name: TransactionName,
) -> Result<Option<Entry>, DbError> {
    match name {
        TransactionName::Id(id) => store::entries::find_of_id(conn, user, id).await,
        TransactionName::Transaction(id) => store::entries::find_of_transaction(conn, user, id).await,
    }
}

/// Sets the balance that the owner wants to hear of when it is reached; `None` is that of [`Defaults`](crate::Defaults).
/// False without an account.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn set_low_balance_at(
    conn: &mut PgConnection,
    user: &UserId,
    threshold: Option<Credits>,
) -> Result<bool, DbError> {
    store::accounts::set_low_balance_at(conn, user, threshold).await
}

/// Amounts that an entry took from grants, in the order of their ids.
///
/// # Errors
/// [`DbError`].
pub async fn taken_from(
    conn: &mut PgConnection,
    user_id: &UserId,
    seq: i64,
) -> Result<Vec<(i64, Credits)>, DbError> {
    store::entry_grants::taken(conn, user_id, seq).await
}

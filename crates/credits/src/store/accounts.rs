//! Table `credits.accounts`: made, locked, read. Figures are updated in [`super::book`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Credits, UserId};
use pg::{DbError, columns::Read};
use time::OffsetDateTime;

use crate::{
    core::{Account, AccountState, AccountStatus, Grant, Head, Hold},
    store::{
        columns::{Shared, texts},
        grants::GrantRow,
    },
};

/// Owner of an account, and the account.
#[derive(Debug)]
pub struct AccountRow {
    /// Owner.
    pub user_id: UserId,
    /// The account.
    pub account: Account,
    /// The balance that the owner wants to hear of.
    pub low_balance_at: Option<Credits>,
}

pg::read_columns! {
    Account: { posted, held, lifetime_granted, entry_seq, grant_seq, next_due_at, as_of } also { head_grant_id, head_remaining }
    made |row| { head: head(pg::columns::get(row, "head_grant_id")?, pg::columns::get(row, "head_remaining")?) }
}

fn head(grant_id: Option<i64>, remaining: Option<Credits>) -> Option<Head> {
    Some(Head { grant_id: grant_id?, remaining: remaining? })
}
pg::read_columns! { AccountRow: { user_id, low_balance_at } with { account: Account } }

/// An account that is locked, with what only commands need of it.
#[derive(Debug)]
pub struct LockedRow {
    /// The account.
    pub row: AccountRow,
    /// It has budgets.
    pub budgeted: bool,
}
pg::read_columns! { LockedRow: { budgeted } with { row: AccountRow } }

/// A user.
pub struct UserRow {
    /// Their id.
    pub user_id: UserId,
}
pg::read_columns! { UserRow: { user_id } }

/// Makes the accounts that are missing, and answers whose they are.
///
/// Waits for another transaction that makes the same account. Such a row cannot be seen, hence not be locked, before its
/// transaction ends, so making rows in order and then locking rows in order cannot deadlock.
pub async fn insert_missing(
    mut conn: Shared<'_>,
    pinned: Option<OffsetDateTime>,
    users: &BTreeSet<UserId>,
) -> Result<BTreeSet<UserId>, DbError> {
    if users.is_empty() {
        return Ok(BTreeSet::new());
    }
    let made: Vec<UserRow> = pg::sql(
        "INSERT INTO credits.accounts (user_id, as_of, created_at) \
         SELECT wanted.user_id, clock.now, clock.now FROM unnest($1) AS wanted (user_id), \
         (SELECT coalesce($2, clock_timestamp()) AS now) AS clock ORDER BY wanted.user_id COLLATE \"C\" \
         ON CONFLICT (user_id) DO NOTHING RETURNING user_id",
    )
    .bind::<Array<Text>, _>(texts(users))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .load(&mut conn)
    .await?;
    Ok(made.into_iter().map(|row| row.user_id).collect())
}

/// Locks the accounts in the order of their ids. Reads nothing else: what belongs to them is read afterwards.
pub async fn lock_for_update(
    mut conn: Shared<'_>,
    users: &BTreeSet<UserId>,
) -> Result<Vec<LockedRow>, DbError> {
    Ok(pg::sql(&LOCK).bind::<Array<Text>, _>(texts(users)).load(&mut conn).await?)
}

/// Locks those of the accounts that nobody else has locked, and answers whose they are.
pub async fn lock_unlocked(
    conn: &mut AsyncPgConnection,
    users: &BTreeSet<UserId>,
) -> Result<BTreeSet<UserId>, DbError> {
    let locked: Vec<UserRow> = pg::sql(
        "SELECT user_id FROM credits.accounts WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE SKIP LOCKED",
    )
    .bind::<Array<Text>, _>(texts(users))
    .load(conn)
    .await?;
    Ok(locked.into_iter().map(|row| row.user_id).collect())
}

/// Sets the threshold of an account; false if there is no such account.
pub async fn set_low_balance_at(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    threshold: Option<Credits>,
) -> Result<bool, DbError> {
    let updated = pg::sql("UPDATE credits.accounts SET low_balance_at = $2 WHERE user_id = $1")
        .bind::<Text, _>(user.as_str())
        .bind::<Nullable<BigInt>, _>(threshold.map(Credits::micro))
        .execute(conn)
        .await?;
    Ok(updated > 0)
}

/// Locks an account, and forgets the threshold of its owner; false if there is no such account.
pub async fn lock_to_close(conn: &mut AsyncPgConnection, user: &UserId) -> Result<bool, DbError> {
    set_low_balance_at(conn, user, None).await
}

/// Puts accounts, their live grants and their open holds together. Those of `fresh` are not open yet.
pub fn assemble(
    accounts: Vec<AccountRow>,
    grants: Vec<GrantRow>,
    mut holds_of: BTreeMap<UserId, Vec<Hold>>,
    fresh: &BTreeSet<UserId>,
) -> Result<BTreeMap<UserId, AccountState>, DbError> {
    let mut grants_of: BTreeMap<UserId, Vec<Grant>> = BTreeMap::new();
    for GrantRow { user_id, grant } in grants {
        grants_of.entry(user_id).or_default().push(grant);
    }
    let mut states = BTreeMap::new();
    for AccountRow { user_id: user, account, .. } in accounts {
        let status = if fresh.contains(&user) { AccountStatus::Fresh } else { AccountStatus::Open };
        let grants = grants_of.remove(&user).unwrap_or_default();
        let holds = holds_of.remove(&user).unwrap_or_default();
        let state = AccountState::load(user.clone(), status, account, grants, holds)
            .map_err(|fault| DbError::Inconsistent(fault.to_string()))?;
        states.insert(user, state);
    }
    Ok(states)
}

pub(super) static LOCK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM credits.accounts WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE",
        LockedRow::list("accounts")
    )
});

//! Table `credits.accounts`: made, locked, read. Figures are updated in [`super::book`].

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    core::{Account, AccountState, Grant, Hold, Standing},
    store::{
        columns::{Shared, texts, user_id},
        grants::GrantRow,
    },
};

/// A row of `credits.accounts`.
#[derive(Debug, QueryableByName)]
pub struct AccountRow {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    posted: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
    #[diesel(sql_type = BigInt)]
    lifetime_granted: i64,
    #[diesel(sql_type = BigInt)]
    entry_seq: i64,
    #[diesel(sql_type = BigInt)]
    grant_seq: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    next_due_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Timestamptz)]
    as_of: OffsetDateTime,
    #[diesel(sql_type = Nullable<BigInt>)]
    low_balance_at: Option<i64>,
}

/// A row of `credits.accounts` that is locked, with what only commands need of it.
#[derive(Debug, QueryableByName)]
pub struct LockedRow {
    #[diesel(embed)]
    account: AccountRow,
    #[diesel(sql_type = Bool)]
    budgeted: bool,
}

#[derive(QueryableByName)]
struct UserRow {
    #[diesel(sql_type = Text)]
    user_id: String,
}

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
    made.iter().map(|row| user_id(&row.user_id)).collect()
}

/// Locks the accounts in the order of their ids. Reads nothing else: what belongs to them is read afterwards.
pub async fn lock_for_update(
    mut conn: Shared<'_>,
    users: &BTreeSet<UserId>,
) -> Result<Vec<LockedRow>, DbError> {
    Ok(pg::sql(
        "SELECT user_id, posted, held, lifetime_granted, entry_seq, grant_seq, next_due_at, as_of, low_balance_at, budgeted \
         FROM credits.accounts WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE",
    )
    .bind::<Array<Text>, _>(texts(users))
    .load(&mut conn)
    .await?)
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
    locked.iter().map(|row| user_id(&row.user_id)).collect()
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

/// Puts accounts, their live grants and their open holds together. Those of `fresh` are not open yet.
pub fn assemble(
    accounts: Vec<AccountRow>,
    grants: Vec<GrantRow>,
    mut holds_of: BTreeMap<UserId, Vec<Hold>>,
    fresh: &BTreeSet<UserId>,
) -> Result<BTreeMap<UserId, AccountState>, DbError> {
    let mut grants_of: BTreeMap<UserId, Vec<Grant>> = BTreeMap::new();
    for row in grants {
        let (user, grant) = row.into_grant()?;
        grants_of.entry(user).or_default().push(grant);
    }
    let mut states = BTreeMap::new();
    for row in accounts {
        let (user, account) = row.into_account()?;
        let standing = if fresh.contains(&user) { Standing::Fresh } else { Standing::Open };
        let grants = grants_of.remove(&user).unwrap_or_default();
        let holds = holds_of.remove(&user).unwrap_or_default();
        let state = AccountState::load(user.clone(), standing, account, grants, holds)
            .map_err(|fault| DbError::Inconsistent(fault.to_string()))?;
        states.insert(user, state);
    }
    Ok(states)
}

impl LockedRow {
    /// The account.
    pub fn account(&self) -> &AccountRow {
        &self.account
    }

    /// The account, without the rest.
    pub fn into_account(self) -> AccountRow {
        self.account
    }

    /// Whether the account has budgets.
    pub fn is_budgeted(&self) -> bool {
        self.budgeted
    }
}

impl AccountRow {
    /// Whose.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Time of the account.
    pub fn as_of(&self) -> OffsetDateTime {
        self.as_of
    }

    /// Whether open holds set something aside.
    pub fn is_holding(&self) -> bool {
        self.held > 0
    }

    /// Whose, and the balance that the owner wants to hear of; `None` if he does not.
    pub fn threshold(&self) -> Result<Option<(UserId, Credits)>, DbError> {
        let threshold = self.low_balance_at.map(Credits::from_micro);
        threshold.map(|threshold| Ok((user_id(&self.user_id)?, threshold))).transpose()
    }

    fn into_account(self) -> Result<(UserId, Account), DbError> {
        let account = Account {
            posted: Credits::from_micro(self.posted),
            held: Credits::from_micro(self.held),
            lifetime_granted: Credits::from_micro(self.lifetime_granted),
            entry_seq: self.entry_seq,
            grant_seq: self.grant_seq,
            next_due_at: self.next_due_at,
            as_of: self.as_of,
        };
        Ok((user_id(&self.user_id)?, account))
    }
}

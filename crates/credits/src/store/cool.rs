//! Heads of accounts, written back into the rows of their grants.

use std::collections::BTreeSet;

use diesel::sql_types::{Array, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;

use crate::store::{accounts::UserRow, columns::texts};

/// Locks those accounts behind `after`, up to `up_to`, that have a head, in the order of their ids, and answers whose they are.
pub async fn lock_heads(
    conn: &mut AsyncPgConnection,
    after: &str,
    up_to: &str,
) -> Result<BTreeSet<UserId>, DbError> {
    let locked: Vec<UserRow> = pg::sql(
        "SELECT user_id FROM credits.accounts WHERE user_id > $1 AND user_id <= $2 AND head_grant_id IS NOT NULL \
         ORDER BY user_id FOR UPDATE",
    )
    .bind::<Text, _>(after)
    .bind::<Text, _>(up_to)
    .load(conn)
    .await?;
    Ok(locked.into_iter().map(|row| row.user_id).collect())
}

/// Writes the heads of accounts that are locked back, and empties them. Apart from the lock, because a statement that waited for
/// one does not see grants that were made during the wait.
pub async fn write_back(conn: &mut AsyncPgConnection, users: &BTreeSet<UserId>) -> Result<(), DbError> {
    for (name, sql) in [
        (
            "write heads into credits.grants",
            "UPDATE credits.grants AS g SET stored_remaining = a.head_remaining FROM credits.accounts AS a \
             WHERE a.user_id = ANY($1) AND g.user_id = a.user_id AND g.id = a.head_grant_id",
        ),
        (
            "empty heads of credits.accounts",
            "UPDATE credits.accounts SET head_grant_id = NULL, head_remaining = NULL WHERE user_id = ANY($1)",
        ),
    ] {
        let written = pg::sql(sql).bind::<Array<Text>, _>(texts(users)).execute(conn).await?;
        DbError::expect_rows(name, users.len(), written)?;
    }
    Ok(())
}

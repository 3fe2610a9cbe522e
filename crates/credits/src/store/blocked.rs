//! Accounts that another transaction has locked.

use std::collections::BTreeSet;

use diesel::sql_types::{Array, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;

use crate::store::{accounts::UserRow, columns::texts};

/// Those of the accounts that another transaction has locked. Locks the others, and waits for none.
pub async fn find(
    conn: &mut AsyncPgConnection,
    users: &BTreeSet<UserId>,
) -> Result<BTreeSet<UserId>, DbError> {
    let rows: Vec<UserRow> = pg::sql(
        "WITH free AS MATERIALIZED ( \
           SELECT user_id FROM credits.accounts WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE SKIP LOCKED) \
         SELECT a.user_id FROM credits.accounts a \
         WHERE a.user_id = ANY($1) AND NOT EXISTS (SELECT FROM free f WHERE f.user_id = a.user_id)",
    )
    .bind::<Array<Text>, _>(texts(users))
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.user_id).collect())
}

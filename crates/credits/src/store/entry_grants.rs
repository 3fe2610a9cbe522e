//! View `credits.entry_grants`, read: the grants that entries name, and the table `credits.entry_lines`. [`super::book`] adds both.

use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Credits, UserId};
use pg::DbError;

/// Amounts that an entry took from grants, in the order of their ids.
pub async fn taken(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    seq: i64,
) -> Result<Vec<(i64, Credits)>, DbError> {
    let rows: Vec<TakenRow> = pg::sql(
        "SELECT grant_id, -delta AS amount FROM credits.entry_grants \
         WHERE user_id = $1 AND seq = $2 AND delta < 0 ORDER BY grant_id",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<BigInt, _>(seq)
    .load(conn)
    .await?;
    let taken = |row: TakenRow| (row.grant_id, Credits::from_micro(row.amount));
    Ok(rows.into_iter().map(taken).collect())
}

struct TakenRow {
    grant_id: i64,
    amount: i64,
}
pg::read_columns! { TakenRow: { grant_id, amount } }

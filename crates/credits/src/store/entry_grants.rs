//! Table `credits.entry_grants`: appended to.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Credits, UserId};
use pg::DbError;

use crate::{
    core::AccountState,
    store::columns::{Shared, texts},
};

/// What an entry took from which grants, in the order of their ids.
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

#[derive(QueryableByName)]
struct TakenRow {
    #[diesel(sql_type = BigInt)]
    grant_id: i64,
    #[diesel(sql_type = BigInt)]
    amount: i64,
}

/// Appends the lines of the entries made since loading.
pub async fn insert(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<(), DbError> {
    let (mut users, mut seqs, mut grants) = (Vec::new(), Vec::new(), Vec::new());
    let (mut deltas, mut held_deltas) = (Vec::new(), Vec::new());
    for state in states {
        for entry in state.journal() {
            for line in &entry.lines {
                users.push(&state.user_id);
                seqs.push(entry.seq);
                grants.push(line.grant_id);
                deltas.push(line.delta.micro());
                held_deltas.push(line.held_delta.micro());
            }
        }
    }
    if seqs.is_empty() {
        return Ok(());
    }
    let expected = seqs.len();
    let inserted = pg::sql(
        "INSERT INTO credits.entry_grants (user_id, seq, grant_id, delta, held_delta) \
         SELECT * FROM unnest($1, $2, $3, $4, $5)",
    )
    .bind::<Array<Text>, _>(texts(users))
    .bind::<Array<BigInt>, _>(seqs)
    .bind::<Array<BigInt>, _>(grants)
    .bind::<Array<BigInt>, _>(deltas)
    .bind::<Array<BigInt>, _>(held_deltas)
    .execute(&mut conn)
    .await?;
    DbError::expect_rows("insert credits.entry_grants", expected, inserted)
}

//! Table `credits.global_references`: references that are unique among all users.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    core::AccountState,
    store::columns::{Shared, texts, user_id},
};

/// References in use, by whom.
pub type Owners = BTreeMap<String, UserId>;

#[derive(QueryableByName)]
struct OwnerRow {
    #[diesel(sql_type = Text)]
    reference_id: String,
    #[diesel(sql_type = Text)]
    user_id: String,
}

/// Those of `wanted` that are in use. Asks nothing if nothing is wanted.
pub async fn load(mut conn: Shared<'_>, wanted: &BTreeSet<String>) -> Result<Owners, DbError> {
    if wanted.is_empty() {
        return Ok(Owners::new());
    }
    let rows: Vec<OwnerRow> =
        pg::sql("SELECT reference_id, user_id FROM credits.global_references WHERE reference_id = ANY($1)")
            .bind::<Array<Text>, _>(wanted.iter().map(String::as_str).collect::<Vec<_>>())
            .load(&mut conn)
            .await?;
    rows.into_iter()
        .map(|row| Ok((row.reference_id, user_id(&row.user_id)?)))
        .collect()
}

/// Inserts the references that accounts use since loading. The accounts of other users are not locked, so another
/// transaction may have inserted one of them since: then all of this one is done again ([`DbError::Contention`]), and
/// finds it. Rows are written in the order of their references, so that transactions wait in one direction only.
pub async fn insert(
    mut conn: Shared<'_>,
    states: &[&AccountState],
    now: OffsetDateTime,
) -> Result<(), DbError> {
    let new: BTreeMap<&str, &UserId> = states
        .iter()
        .flat_map(|state| state.new_claims().map(|reference| (reference, &state.user_id)))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let inserted = pg::sql(
        "INSERT INTO credits.global_references (reference_id, user_id, created_at) \
         SELECT reference_id, user_id, $3 FROM unnest($1::text[], $2::text[]) AS n (reference_id, user_id) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Text>, _>(new.keys().copied().collect::<Vec<_>>())
    .bind::<Array<Text>, _>(texts(new.values().copied()))
    .bind::<Timestamptz, _>(now)
    .execute(&mut conn)
    .await?;
    if inserted == new.len() {
        Ok(())
    } else {
        Err(DbError::overtaken())
    }
}

//! References of payments and gifts that are in use, with the entries that booked them.

use std::collections::BTreeSet;

use diesel::{
    QueryableByName,
    sql_types::{Array, Text},
};
use diesel_async::RunQueryDsl;
use kernel::UserId;
use pg::DbError;

use crate::{
    core::Known,
    store::{
        columns::{Shared, texts},
        entries::{MaybeEntryRow, entry_columns},
        grants::{NotedGrantRow, grant_columns, note_columns},
    },
};

/// A reference that is in use.
#[derive(Debug)]
pub struct Reference {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub reference_id: String,
    /// By what.
    pub known: Known,
}

#[derive(QueryableByName)]
struct ReferenceRow {
    #[diesel(embed)]
    grant: NotedGrantRow,
    #[diesel(embed)]
    entry: MaybeEntryRow,
}

/// Those of `wanted` that are in use. Asks nothing if nothing is wanted.
pub async fn load(
    mut conn: Shared<'_>,
    wanted: &BTreeSet<(UserId, String)>,
) -> Result<Vec<Reference>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<ReferenceRow> = pg::sql(concat!(
        "SELECT ",
        grant_columns!(),
        ", ",
        note_columns!(),
        ", ",
        entry_columns!(),
        " FROM unnest($1::text[], $2::text[]) AS w (user_id, reference_id) \
         JOIN credits.grants g ON g.user_id = w.user_id AND g.reference_id = w.reference_id \
         LEFT JOIN credits.entries e ON e.user_id = g.user_id AND e.seq = g.booked_seq"
    ))
    .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
    .bind::<Array<Text>, _>(wanted.iter().map(|(_, reference)| reference.as_str()).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    rows.into_iter().map(ReferenceRow::into_reference).collect()
}

impl ReferenceRow {
    fn into_reference(self) -> Result<Reference, DbError> {
        let entry = self.entry.0.map(|row| row.into_entry().map(Box::new));
        let entry = entry.transpose()?;
        let (user_id, grant) = self.grant.into_grant()?;
        let reference_id = grant.reference_id.clone().unwrap_or_default();
        Ok(Reference { user_id, reference_id, known: Known { grant, entry } })
    }
}

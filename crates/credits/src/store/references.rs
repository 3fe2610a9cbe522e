//! References of payments and gifts that are in use, with the entries that booked them.

use std::{collections::BTreeSet, sync::LazyLock};

use diesel::{
    QueryableByName,
    sql_types::{Array, Text},
};
use diesel_async::RunQueryDsl;
use kernel::UserId;
use pg::{DbError, columns::Read};

use crate::{
    core::Known,
    model::Entry,
    store::{
        columns::{Shared, texts},
        grants::{GrantRow, NotedGrantRow},
    },
};

/// A reference that is in use.
#[derive(Debug)]
pub struct Reference {
    /// The user.
    pub user_id: UserId,
    /// Id of the reference.
    pub reference_id: String,
    /// Grant and entry of the reference.
    pub known: Known,
}

#[derive(QueryableByName)]
struct ReferenceRow {
    #[diesel(embed)]
    grant: NotedGrantRow,
    #[diesel(embed)]
    entry: Option<Entry>,
}

/// Those of `wanted` that are in use. Asks nothing if nothing is wanted.
pub async fn load(
    mut conn: Shared<'_>,
    wanted: &BTreeSet<(UserId, String)>,
) -> Result<Vec<Reference>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<ReferenceRow> = pg::sql(&LOAD)
        .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
        .bind::<Array<Text>, _>(wanted.iter().map(|(_, reference)| reference.as_str()).collect::<Vec<_>>())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(ReferenceRow::into_reference).collect())
}

pub(super) static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT {}, {}
FROM unnest($1::text[], $2::text[]) AS w (user_id, reference_id)
JOIN credits.current_grants g ON g.user_id = w.user_id AND g.reference_id = w.reference_id
LEFT JOIN credits.entries e ON e.user_id = g.user_id AND e.seq = g.booked_seq",
        NotedGrantRow::list("g"),
        Entry::list("e")
    )
});

impl ReferenceRow {
    fn into_reference(self) -> Reference {
        let GrantRow { user_id, grant } = self.grant.into_row();
        let reference_id = grant.reference_id.clone().unwrap_or_default();
        Reference { user_id, reference_id, known: Known { grant, entry: self.entry.map(Box::new) } }
    }
}

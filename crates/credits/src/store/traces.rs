//! Reads of earlier transactions: an entry by its sequence number, or all rows of a transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use kernel::{Credits, UserId};
use pg::{DbError, columns::Read};
use uuid::Uuid;

use crate::{
    core::{Grant, Hold},
    model::Entry,
    store::{
        columns::{Shared, texts},
        grants::NotedGrantRow,
        transactions::{self, places},
    },
};

/// The rows of a transaction.
#[derive(Debug)]
pub struct Trace {
    /// Its first entry.
    pub entry: Option<Entry>,
    /// Posted and held credit behind its last entry.
    pub left: Option<(Credits, Credits)>,
    /// The hold it made or resolved, as it is now.
    pub hold: Option<Hold>,
    /// The grant it made, as it is now.
    pub grant: Option<Grant>,
}

#[derive(QueryableByName)]
struct TraceRow {
    #[diesel(embed)]
    of: Traced,
    #[diesel(embed)]
    entry: Option<Entry>,
    #[diesel(embed)]
    hold: Option<Hold>,
    #[diesel(embed)]
    grant: Option<NotedGrantRow>,
}

/// A transaction, and the figures behind its last entry.
struct Traced {
    user_id: UserId,
    transaction_id: Uuid,
    posted: Option<Credits>,
    held: Option<Credits>,
}
pg::read_columns! {
    Traced, "trace_": { user_id, transaction_id, posted = "l.balance_after", held = "l.held_after" }
}

/// The entries at these places of journals. Asks nothing if nothing is wanted.
pub async fn entries_at(
    mut conn: Shared<'_>,
    wanted: &BTreeSet<(UserId, i64)>,
) -> Result<Vec<Entry>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Entry> = pg::sql(pg::once!(format!(
        "SELECT {} FROM unnest($1::text[], $2::bigint[]) AS w (user_id, seq)
         JOIN credits.entries e ON e.user_id = w.user_id AND e.seq = w.seq",
        Entry::list("e")
    )))
    .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
    .bind::<Array<BigInt>, _>(wanted.iter().map(|(_, seq)| *seq).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    Ok(rows)
}

/// The rows of these transactions. No statement if none are wanted.
pub async fn find(
    mut conn: Shared<'_>,
    wanted: &BTreeSet<(UserId, Uuid)>,
) -> Result<BTreeMap<(UserId, Uuid), Trace>, DbError> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<TraceRow> = pg::sql(&FIND)
        .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
        .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(_, id)| *id).collect::<Vec<_>>())
        .bind::<Array<Nullable<BigInt>>, _>(places(wanted.iter().map(|(_, id)| *id)))
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(TraceRow::into_trace).collect())
}

pub(super) static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT {}, {}, {}, {}
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS w (user_id, transaction_id, place)
LEFT JOIN LATERAL (
    SELECT min(t.seq) AS first, max(t.seq) AS last FROM ({}) AS t
) AS span ON true
LEFT JOIN credits.entries e ON e.user_id = w.user_id AND e.seq = span.first
LEFT JOIN credits.entries l ON l.user_id = w.user_id AND l.seq = span.last
LEFT JOIN credits.holds h ON h.user_id = w.user_id AND h.id = e.hold_id
LEFT JOIN LATERAL (
    SELECT m.* FROM credits.current_grants m
    WHERE m.user_id = w.user_id AND m.transaction_id = w.transaction_id AND m.kind <> 'refund' LIMIT 1
) AS g ON true",
        Traced::list("w"),
        Entry::list("e"),
        Hold::list("h"),
        NotedGrantRow::list("g"),
        transactions::ENTRIES
    )
});

impl TraceRow {
    fn into_trace(self) -> ((UserId, Uuid), Trace) {
        let trace = Trace {
            entry: self.entry,
            left: self.of.posted.zip(self.of.held),
            hold: self.hold,
            grant: self.grant.map(|grant| grant.into_row().grant),
        };
        ((self.of.user_id, self.of.transaction_id), trace)
    }
}

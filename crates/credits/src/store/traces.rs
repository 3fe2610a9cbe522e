//! Reads of earlier transactions: an entry by its sequence number, or all rows of a transaction.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use kernel::{Credits, UserId};
use pg::DbError;
use uuid::Uuid;

use crate::{
    core::{Grant, Hold},
    model::Entry,
    store::{
        columns::{Shared, texts, user_id},
        entries::{EntryRow, MaybeEntryRow, entry_columns},
        grants::{MaybeNotedGrantRow, grant_columns, note_columns},
        holds::{MaybeHoldRow, hold_columns},
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
    #[diesel(sql_type = Text)]
    trace_user_id: String,
    #[diesel(sql_type = SqlUuid)]
    trace_transaction_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    trace_posted: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    trace_held: Option<i64>,
    #[diesel(embed)]
    entry: MaybeEntryRow,
    #[diesel(embed)]
    hold: MaybeHoldRow,
    #[diesel(embed)]
    grant: MaybeNotedGrantRow,
}

/// The entries at these places of journals. Asks nothing if nothing is wanted.
pub async fn entries_at(
    mut conn: Shared<'_>,
    wanted: &BTreeSet<(UserId, i64)>,
) -> Result<Vec<Entry>, DbError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<EntryRow> = pg::sql(concat!(
        "SELECT ",
        entry_columns!(),
        " FROM unnest($1::text[], $2::bigint[]) AS w (user_id, seq) \
         JOIN credits.entries e ON e.user_id = w.user_id AND e.seq = w.seq"
    ))
    .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
    .bind::<Array<BigInt>, _>(wanted.iter().map(|(_, seq)| *seq).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    rows.into_iter().map(EntryRow::into_entry).collect()
}

/// What the books say about these transactions. Asks nothing if nothing is wanted.
pub async fn find(
    mut conn: Shared<'_>,
    wanted: &BTreeSet<(UserId, Uuid)>,
) -> Result<BTreeMap<(UserId, Uuid), Trace>, DbError> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<TraceRow> = pg::sql(concat!(
        "SELECT w.user_id AS trace_user_id, w.transaction_id AS trace_transaction_id, \
         l.balance_after AS trace_posted, l.held_after AS trace_held, ",
        entry_columns!(),
        ", ",
        hold_columns!(),
        ", h.description AS hold_description, h.metadata::text AS hold_metadata, ",
        grant_columns!(),
        ", ",
        note_columns!(),
        " FROM unnest($1::text[], $2::uuid[]) AS w (user_id, transaction_id) \
         LEFT JOIN LATERAL (SELECT min(t.seq) AS first, max(t.seq) AS last FROM credits.entries t \
           WHERE t.user_id = w.user_id AND t.transaction_id = w.transaction_id) AS span ON true \
         LEFT JOIN credits.entries e ON e.user_id = w.user_id AND e.seq = span.first \
         LEFT JOIN credits.entries l ON l.user_id = w.user_id AND l.seq = span.last \
         LEFT JOIN credits.holds h ON h.user_id = w.user_id AND h.id = e.hold_id \
         LEFT JOIN LATERAL (SELECT m.* FROM credits.grants m WHERE m.user_id = w.user_id \
           AND m.transaction_id = w.transaction_id AND m.kind <> 'refund' LIMIT 1) AS g ON true"
    ))
    .bind::<Array<Text>, _>(texts(wanted.iter().map(|(user, _)| user)))
    .bind::<Array<SqlUuid>, _>(wanted.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    rows.into_iter().map(TraceRow::into_trace).collect()
}

impl TraceRow {
    fn into_trace(self) -> Result<((UserId, Uuid), Trace), DbError> {
        let entry = self.entry.0.map(super::entries::EntryRow::into_entry).transpose()?;
        let hold = self.hold.0.map(super::holds::HoldRow::into_hold).transpose()?;
        let grant = self.grant.0.map(super::grants::NotedGrantRow::into_grant).transpose()?;
        let left = self.trace_posted.zip(self.trace_held);
        let trace = Trace {
            entry,
            left: left.map(|(posted, held)| (Credits::from_micro(posted), Credits::from_micro(held))),
            hold: hold.map(|(_, hold)| hold),
            grant: grant.map(|(_, grant)| grant),
        };
        Ok(((user_id(&self.trace_user_id)?, self.trace_transaction_id), trace))
    }
}

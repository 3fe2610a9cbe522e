//! Table `credits.grants`: live grants read, new ones inserted. Touched ones are updated in [`super::book`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{
    DbError,
    columns::{Json, Placeholders, Read, Written},
};
use time::OffsetDateTime;

use crate::{
    core::{AccountState, Grant, Notes},
    store::columns::{Shared, texts},
};

/// Owner of a grant, and the grant without its notes.
#[derive(Debug)]
pub struct GrantRow {
    /// Owner.
    pub user_id: UserId,
    /// The grant.
    pub grant: Grant,
}

pg::read_columns! {
    Grant, "grant_": {
        id, kind, paid, priority, amount, remaining, held, effective_at, expires_at, booked_seq, reference_id, created_at
    } made { notes: None }
}
pg::read_columns! { GrantRow, "grant_": { user_id } with { grant: Grant } }

/// A grant with what is shown of it.
pub struct NotedGrantRow {
    row: GrantRow,
    notes: Notes,
}

pg::read_columns! { Notes, "grant_": { transaction_id, description, metadata } }
pg::read_columns! { NotedGrantRow: {} with { row: GrantRow, notes: Notes } }

/// The live grants of a batch.
#[derive(Debug)]
pub struct Live {
    /// When they were read.
    pub now: OffsetDateTime,
    /// True if the transaction had locked a row by then.
    pub read: ReadWhen,
    /// The grants.
    pub grants: Vec<GrantRow>,
}

/// Time of a read: a transaction that had locked or written a row before has an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadWhen {
    /// The transaction had locked or written a row.
    Locked,
    /// The transaction had not.
    Unlocked,
}

/// The instant of reading, with a grant if there is any.
#[derive(QueryableByName)]
struct LiveRow {
    #[diesel(sql_type = Timestamptz)]
    now: OffsetDateTime,
    #[diesel(sql_type = Bool)]
    locked: bool,
    #[diesel(embed)]
    grant: Option<GrantRow>,
}

/// Stored metadata of new grants: as `jsonb` keeps them, `None` for the empty object.
pub type StoredMetadata = BTreeMap<(UserId, i64), Option<String>>;

struct MetadataRow {
    user_id: UserId,
    id: i64,
    metadata: Option<String>,
}
pg::read_columns! { MetadataRow: { user_id, id, metadata } }

struct NotesOfRow {
    grant_id: i64,
    notes: Notes,
}
pg::read_columns! { NotesOfRow: { grant_id = "{}.id" } with { notes: Notes } }

pg::written_columns! {
    NewGrant = (user, grant): (&'a UserId, &'a Grant) {
        user_id: Text = user.as_str(),
        id: BigInt = grant.id,
        kind: Text = grant.kind.as_str(),
        paid: Bool = grant.paid,
        priority: SmallInt = i16::from(grant.priority),
        amount: BigInt = grant.amount.micro(),
        stored_remaining: BigInt = grant.remaining.micro(),
        held: BigInt = grant.held.micro(),
        effective_at: Timestamptz = grant.effective_at,
        expires_at: Nullable<Timestamptz> = grant.expires_at,
        booked_seq: Nullable<BigInt> = grant.booked_seq,
        reference_id: Nullable<Text> = grant.reference_id.as_deref(),
        created_at: Timestamptz = grant.created_at,
        transaction_id: Nullable<SqlUuid> = grant.notes.as_ref().and_then(|notes| notes.transaction_id),
        description: Nullable<Text> = grant.notes.as_ref().and_then(|notes| notes.description.as_deref()),
        metadata: Nullable<Jsonb> = grant.notes.as_ref().and_then(|notes| Json::unless_empty(&notes.metadata)),
    }
}

/// Live grants of the users, scheduled ones included, in no order, and the instant of reading. Called behind the statement
/// that locks the accounts, so that no account sees time run backwards for having waited.
pub async fn load_live(
    mut conn: Shared<'_>,
    pinned: Option<OffsetDateTime>,
    users: &BTreeSet<UserId>,
) -> Result<Live, DbError> {
    let rows: Vec<LiveRow> = pg::sql(&LOAD_LIVE)
        .bind::<Array<Text>, _>(texts(users))
        .bind::<Nullable<Timestamptz>, _>(pinned)
        .load(&mut conn)
        .await?;
    let first = rows.as_slice().first();
    let (now, locked) = first
        .map(|row| (row.now, row.locked))
        .ok_or_else(|| DbError::Inconsistent("the instant of a batch is not there".to_owned()))?;
    Ok(Live {
        now,
        read: if locked { ReadWhen::Locked } else { ReadWhen::Unlocked },
        grants: rows.into_iter().filter_map(|row| row.grant).collect(),
    })
}

/// Notes of these grants of a user.
pub async fn notes(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    ids: Vec<i64>,
) -> Result<BTreeMap<i64, Notes>, DbError> {
    let rows: Vec<NotesOfRow> = pg::sql(pg::once!(format!(
        "SELECT {} FROM credits.grants g WHERE g.user_id = $1 AND g.id = ANY($2)",
        NotesOfRow::list("g")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<Array<BigInt>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.grant_id, row.notes)).collect())
}

/// Inserts the grants made since loading.
pub async fn insert(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<StoredMetadata, DbError> {
    let new: Vec<(&UserId, &Grant)> =
        states.iter().flat_map(|state| state.new_grants().map(|grant| (&state.user_id, grant))).collect();
    if new.is_empty() {
        return Ok(StoredMetadata::new());
    }
    let inserted: Vec<MetadataRow> =
        pg::sql(&INSERT).bind_rows::<NewGrant>(new.iter().copied()).load(&mut conn).await?;
    DbError::expect_rows("insert credits.grants", new.len(), inserted.len())?;
    Ok(inserted.into_iter().map(|row| ((row.user_id, row.id), row.metadata)).collect())
}

pub(super) static LOAD_LIVE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT n.now, n.locked, {}
FROM (SELECT coalesce($2, clock_timestamp()) AS now, pg_current_xact_id_if_assigned() IS NOT NULL AS locked) AS n
LEFT JOIN credits.current_grants g ON g.user_id = ANY($1) AND g.live",
        GrantRow::list("g")
    )
});

pub(super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let grants = Placeholders::default().insert("credits.grants", NewGrant::COLUMNS);
    format!("{grants} RETURNING user_id, id, metadata::text AS metadata")
});

impl NotedGrantRow {
    /// The grant with its notes.
    pub fn into_row(self) -> GrantRow {
        let notes = Some(Box::new(self.notes));
        GrantRow { grant: Grant { notes, ..self.row.grant }, ..self.row }
    }
}

//! Table `credits.grants`: live grants read, new ones inserted. Touched ones are updated in [`super::book`].

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName, deserialize,
    pg::Pg,
    row::NamedRow,
    sql_types::{Array, BigInt, Bool, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{AccountState, Grant, Notes},
    store::columns::{Shared, metadata, parsed, stored_metadata, texts, user_id},
};

/// A row of `credits.grants`, read as [`grant_columns`].
#[derive(Debug, QueryableByName)]
pub struct GrantRow {
    #[diesel(sql_type = Text)]
    grant_user_id: String,
    #[diesel(sql_type = BigInt)]
    grant_id: i64,
    #[diesel(sql_type = Text)]
    grant_kind: String,
    #[diesel(sql_type = Bool)]
    grant_paid: bool,
    #[diesel(sql_type = SmallInt)]
    grant_priority: i16,
    #[diesel(sql_type = BigInt)]
    grant_amount: i64,
    #[diesel(sql_type = BigInt)]
    grant_remaining: i64,
    #[diesel(sql_type = BigInt)]
    grant_held: i64,
    #[diesel(sql_type = Timestamptz)]
    grant_effective_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    grant_expires_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<BigInt>)]
    grant_booked_seq: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    grant_reference_id: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    grant_created_at: OffsetDateTime,
}

/// The row of an outer join, which may have found no grant.
#[derive(Debug)]
pub struct MaybeGrantRow(pub Option<GrantRow>);

/// A grant with what is shown of it, read as [`grant_columns`] and [`note_columns`].
#[derive(Debug, QueryableByName)]
pub struct NotedGrantRow {
    #[diesel(embed)]
    grant: GrantRow,
    #[diesel(embed)]
    notes: NotesRow,
}

/// The row of an outer join, which may have found no grant.
#[derive(Debug)]
pub struct MaybeNotedGrantRow(pub Option<NotedGrantRow>);

/// What is shown of a grant, read as [`note_columns`].
#[derive(Debug, QueryableByName)]
pub struct NotesRow {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    grant_transaction_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    grant_description: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    grant_metadata: Option<String>,
}

/// The live grants of a batch.
#[derive(Debug)]
pub struct Live {
    /// When they were read.
    pub now: OffsetDateTime,
    /// Whether the transaction had locked a row by then.
    pub read: Read,
    /// The grants.
    pub grants: Vec<GrantRow>,
}

/// Whether something was read by a transaction that had locked or written a row before. Only such a one has an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// It had.
    Locked,
    /// It had not.
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
    grant: MaybeGrantRow,
}

/// What the database made of the metadata of new grants: as `jsonb` keeps them, `None` for the empty object.
pub type Kept = BTreeMap<(UserId, i64), Option<String>>;

#[derive(QueryableByName)]
struct KeptRow {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    metadata: Option<String>,
}

#[derive(QueryableByName)]
struct NotesOfRow {
    #[diesel(sql_type = BigInt)]
    grant_id: i64,
    #[diesel(embed)]
    notes: NotesRow,
}

/// The columns of a [`GrantRow`], from a table named `g`.
macro_rules! grant_columns {
    () => {
        "g.user_id AS grant_user_id, g.id AS grant_id, g.kind AS grant_kind, g.paid AS grant_paid, \
         g.priority AS grant_priority, g.amount AS grant_amount, g.remaining AS grant_remaining, g.held AS grant_held, \
         g.effective_at AS grant_effective_at, g.expires_at AS grant_expires_at, g.booked_seq AS grant_booked_seq, \
         g.reference_id AS grant_reference_id, g.created_at AS grant_created_at"
    };
}
pub(crate) use grant_columns;

/// The further columns of a [`NotedGrantRow`], from a table named `g`.
macro_rules! note_columns {
    () => {
        "g.transaction_id AS grant_transaction_id, g.description AS grant_description, \
         g.metadata::text AS grant_metadata"
    };
}
pub(crate) use note_columns;

/// Live grants of the users, scheduled ones included, in no order, and the instant of reading. Called behind the statement
/// that locks the accounts, so that no account sees time run backwards for having waited.
pub async fn load_live(
    mut conn: Shared<'_>,
    pinned: Option<OffsetDateTime>,
    users: &BTreeSet<UserId>,
) -> Result<Live, DbError> {
    let rows: Vec<LiveRow> = pg::sql(concat!(
        "SELECT n.now, n.locked, ",
        grant_columns!(),
        " FROM (SELECT coalesce($2, clock_timestamp()) AS now, pg_current_xact_id_if_assigned() IS NOT NULL AS locked) AS n \
         LEFT JOIN credits.grants g ON g.user_id = ANY($1) AND g.live"
    ))
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
        read: if locked { Read::Locked } else { Read::Unlocked },
        grants: rows.into_iter().filter_map(|row| row.grant.0).collect(),
    })
}

/// What is shown of these grants of a user.
pub async fn notes(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    ids: Vec<i64>,
) -> Result<BTreeMap<i64, Notes>, DbError> {
    let rows: Vec<NotesOfRow> = pg::sql(concat!(
        "SELECT g.id AS grant_id, ",
        note_columns!(),
        " FROM credits.grants g WHERE g.user_id = $1 AND g.id = ANY($2)"
    ))
    .bind::<Text, _>(user.as_str())
    .bind::<Array<BigInt>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.grant_id, row.notes.into_notes())).collect())
}

/// Inserts the grants made since loading.
pub async fn insert(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<Kept, DbError> {
    let new: Vec<(&UserId, &Grant)> =
        states.iter().flat_map(|state| state.new_grants().map(|grant| (&state.user_id, grant))).collect();
    if new.is_empty() {
        return Ok(Kept::new());
    }
    let grants = || new.iter().map(|(_, grant)| *grant);
    let notes = || grants().map(|grant| grant.notes.as_deref());
    let inserted: Vec<KeptRow> = pg::sql(
        "INSERT INTO credits.grants (user_id, id, kind, paid, priority, amount, remaining, held, effective_at, \
         expires_at, booked_seq, reference_id, created_at, transaction_id, description, metadata) \
         SELECT n.user_id, n.id, n.kind, n.paid, n.priority, n.amount, n.remaining, n.held, n.effective_at, \
         n.expires_at, n.booked_seq, n.reference_id, n.created_at, n.transaction_id, n.description, n.metadata::jsonb \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         AS n (user_id, id, kind, paid, priority, amount, remaining, held, effective_at, expires_at, booked_seq, \
         reference_id, created_at, transaction_id, description, metadata) \
         RETURNING user_id, id, metadata::text AS metadata",
    )
    .bind::<Array<Text>, _>(texts(new.iter().map(|(user, _)| *user)))
    .bind::<Array<BigInt>, _>(grants().map(|grant| grant.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(grants().map(|grant| grant.kind.as_str()).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(grants().map(|grant| grant.paid).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(grants().map(|grant| i16::from(grant.priority)).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(grants().map(|grant| grant.amount.micro()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(grants().map(|grant| grant.remaining.micro()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(grants().map(|grant| grant.held.micro()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(grants().map(|grant| grant.effective_at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(grants().map(|grant| grant.expires_at).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(grants().map(|grant| grant.booked_seq).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(grants().map(|grant| grant.reference_id.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(grants().map(|grant| grant.created_at).collect::<Vec<_>>())
    .bind::<Array<Nullable<SqlUuid>>, _>(notes().map(|notes| notes?.transaction_id).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(notes().map(|notes| notes?.description.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(notes().map(|notes| metadata(&notes?.metadata)).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    DbError::expect_rows("insert credits.grants", new.len(), inserted.len())?;
    inserted.into_iter().map(|row| Ok(((user_id(&row.user_id)?, row.id), row.metadata))).collect()
}

impl GrantRow {
    /// Whose grant, and the grant.
    pub fn into_grant(self) -> Result<(UserId, Grant), DbError> {
        let priority = u8::try_from(self.grant_priority)
            .map_err(|_| DbError::Inconsistent(format!("priority {} of a grant", self.grant_priority)))?;
        let grant = Grant {
            id: self.grant_id,
            kind: parsed(&self.grant_kind)?,
            paid: self.grant_paid,
            priority,
            amount: Credits::from_micro(self.grant_amount),
            remaining: Credits::from_micro(self.grant_remaining),
            held: Credits::from_micro(self.grant_held),
            effective_at: self.grant_effective_at,
            expires_at: self.grant_expires_at,
            booked_seq: self.grant_booked_seq,
            reference_id: self.grant_reference_id,
            created_at: self.grant_created_at,
            notes: None,
        };
        Ok((user_id(&self.grant_user_id)?, grant))
    }
}

impl NotedGrantRow {
    /// Whose grant, and the grant with its notes.
    pub fn into_grant(self) -> Result<(UserId, Grant), DbError> {
        let (user, mut grant) = self.grant.into_grant()?;
        grant.notes = Some(Box::new(self.notes.into_notes()));
        Ok((user, grant))
    }
}

impl NotesRow {
    fn into_notes(self) -> Notes {
        Notes {
            transaction_id: self.grant_transaction_id,
            description: self.grant_description,
            metadata: stored_metadata(self.grant_metadata),
        }
    }
}

impl QueryableByName<Pg> for MaybeGrantRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        match NamedRow::get::<Nullable<BigInt>, Option<i64>>(row, "grant_id")? {
            Some(_) => GrantRow::build(row).map(|grant| Self(Some(grant))),
            None => Ok(Self(None)),
        }
    }
}

impl QueryableByName<Pg> for MaybeNotedGrantRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        match NamedRow::get::<Nullable<BigInt>, Option<i64>>(row, "grant_id")? {
            Some(_) => NotedGrantRow::build(row).map(|grant| Self(Some(grant))),
            None => Ok(Self(None)),
        }
    }
}

//! Table `credits.grants`: live grants read, new ones inserted, touched ones updated.

use std::collections::BTreeSet;

use diesel::{
    QueryableByName, deserialize,
    pg::Pg,
    row::NamedRow,
    sql_types::{Array, BigInt, Bool, Nullable, SmallInt, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use kernel::{Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;

use crate::{
    core::{AccountState, Grant},
    store::columns::{Shared, parsed, texts, user_id},
};

/// A row of `credits.grants`, read as [`grant_columns`].
#[derive(Debug, QueryableByName)]
pub struct GrantRow {
    #[diesel(sql_type = Text)]
    grant_user_id: String,
    #[diesel(sql_type = BigInt)]
    grant_id: i64,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Bool)]
    paid: bool,
    #[diesel(sql_type = SmallInt)]
    priority: i16,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = BigInt)]
    remaining: i64,
    #[diesel(sql_type = BigInt)]
    grant_held: i64,
    #[diesel(sql_type = Timestamptz)]
    effective_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    expires_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Nullable<BigInt>)]
    booked_seq: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    grant_reference_id: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    grant_created_at: OffsetDateTime,
}

/// The row of an outer join, which may have found no grant.
#[derive(Debug)]
pub struct MaybeGrantRow(pub Option<GrantRow>);

/// The columns of a [`GrantRow`], from a table named `g`.
macro_rules! grant_columns {
    () => {
        "g.user_id AS grant_user_id, g.id AS grant_id, g.kind, g.paid, g.priority, g.amount, g.remaining, \
         g.held AS grant_held, g.effective_at, g.expires_at, g.booked_seq, g.reference_id AS grant_reference_id, \
         g.created_at AS grant_created_at"
    };
}
pub(crate) use grant_columns;

/// Live grants of the users, scheduled ones included, in no order.
pub async fn load_live(mut conn: Shared<'_>, users: &BTreeSet<UserId>) -> Result<Vec<GrantRow>, DbError> {
    Ok(pg::sql(concat!(
        "SELECT ",
        grant_columns!(),
        " FROM credits.grants g WHERE g.user_id = ANY($1) AND g.live"
    ))
    .bind::<Array<Text>, _>(texts(users))
    .load(&mut conn)
    .await?)
}

/// Inserts the grants made since loading.
pub async fn insert(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<(), DbError> {
    let new: Vec<(&UserId, &Grant)> = states
        .iter()
        .flat_map(|state| state.new_grants().map(|grant| (&state.user_id, grant)))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let grants = || new.iter().map(|(_, grant)| *grant);
    let inserted = pg::sql(
        "INSERT INTO credits.grants (user_id, id, kind, paid, priority, amount, remaining, held, effective_at, \
         expires_at, booked_seq, reference_id, created_at) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
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
    .execute(&mut conn)
    .await?;
    DbError::expect_rows("insert credits.grants", new.len(), inserted)
}

/// Saves the stored grants that entries made since loading have touched.
pub async fn update(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<(), DbError> {
    let changed: Vec<(&UserId, &Grant)> = states
        .iter()
        .flat_map(|state| {
            state
                .changed_grants()
                .into_iter()
                .map(|grant| (&state.user_id, grant))
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let grants = || changed.iter().map(|(_, grant)| *grant);
    let updated = pg::sql(
        "UPDATE credits.grants AS g SET remaining = n.remaining, held = n.held, booked_seq = n.booked_seq \
         FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) \
         AS n (user_id, id, remaining, held, booked_seq) \
         WHERE g.user_id = n.user_id AND g.id = n.id",
    )
    .bind::<Array<Text>, _>(texts(changed.iter().map(|(user, _)| *user)))
    .bind::<Array<BigInt>, _>(grants().map(|grant| grant.id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(grants().map(|grant| grant.remaining.micro()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(grants().map(|grant| grant.held.micro()).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(grants().map(|grant| grant.booked_seq).collect::<Vec<_>>())
    .execute(&mut conn)
    .await?;
    DbError::expect_rows("update credits.grants", changed.len(), updated)
}

impl GrantRow {
    /// Whose grant, and the grant.
    pub fn into_grant(self) -> Result<(UserId, Grant), DbError> {
        let priority = u8::try_from(self.priority)
            .map_err(|_| DbError::Inconsistent(format!("priority {} of a grant", self.priority)))?;
        let grant = Grant {
            id: self.grant_id,
            kind: parsed(&self.kind)?,
            paid: self.paid,
            priority,
            amount: Credits::from_micro(self.amount),
            remaining: Credits::from_micro(self.remaining),
            held: Credits::from_micro(self.grant_held),
            effective_at: self.effective_at,
            expires_at: self.expires_at,
            booked_seq: self.booked_seq,
            reference_id: self.grant_reference_id,
            created_at: self.grant_created_at,
        };
        Ok((user_id(&self.grant_user_id)?, grant))
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

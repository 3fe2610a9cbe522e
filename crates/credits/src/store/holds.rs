//! Table `credits.holds`: open and named ones read, new ones inserted, resolved ones updated.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{
    QueryableByName, deserialize,
    pg::Pg,
    row::NamedRow,
    sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use kernel::{CallerClass, Credits, UserId};
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    core::{AccountState, Hold, burn::Portion},
    store::columns::{Shared, metadata, parsed, stored_metadata, texts, user_id},
};

/// A row of `credits.holds`, read as [`hold_columns`], `hold_description` and `hold_metadata`.
#[derive(Debug, QueryableByName)]
pub struct HoldRow {
    #[diesel(sql_type = Text)]
    hold_user_id: String,
    #[diesel(sql_type = SqlUuid)]
    hold_row_id: Uuid,
    #[diesel(sql_type = BigInt)]
    hold_requested: i64,
    #[diesel(sql_type = BigInt)]
    hold_amount: i64,
    #[diesel(sql_type = Text)]
    hold_state: String,
    #[diesel(sql_type = BigInt)]
    hold_captured: i64,
    #[diesel(sql_type = BigInt)]
    hold_released: i64,
    #[diesel(sql_type = BigInt)]
    hold_uncollected: i64,
    #[diesel(sql_type = BigInt)]
    hold_entry_seq: i64,
    #[diesel(sql_type = Timestamptz)]
    hold_expires_at: OffsetDateTime,
    #[diesel(sql_type = Timestamptz)]
    hold_created_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    hold_resolved_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Text)]
    hold_made_by: String,
    #[diesel(sql_type = Nullable<Text>)]
    hold_description: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    hold_metadata: Option<String>,
}

/// The row of an outer join, which may have found no hold.
#[derive(Debug)]
pub struct MaybeHoldRow(pub Option<HoldRow>);

/// What an open hold sets aside of one grant.
#[derive(Debug, QueryableByName)]
pub struct LineRow {
    #[diesel(sql_type = Text)]
    line_user_id: String,
    #[diesel(sql_type = SqlUuid)]
    line_hold_id: Uuid,
    #[diesel(sql_type = BigInt)]
    line_grant_id: i64,
    #[diesel(sql_type = BigInt)]
    line_amount: i64,
}

/// What the database made of the metadata of new holds: as `jsonb` keeps them, `None` for the empty object.
pub type Kept = BTreeMap<(UserId, Uuid), Option<String>>;

#[derive(QueryableByName)]
struct KeptRow {
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Nullable<Text>)]
    metadata: Option<String>,
}

/// Who made a hold of a table named `h`. Holds of versions that did not store it were made by whoever wrote their entry.
macro_rules! made_by {
    () => {
        "coalesce(h.made_by, (SELECT CASE maker.actor WHEN 'user' THEN 'user' ELSE 'service' END \
           FROM credits.entries maker WHERE maker.user_id = h.user_id AND maker.seq = h.entry_seq), 'service') \
         AS hold_made_by"
    };
}
pub(crate) use made_by;

/// The columns of a [`HoldRow`] but the last two, from a table named `h`.
macro_rules! hold_columns {
    () => {
        concat!("h.user_id AS hold_user_id, h.id AS hold_row_id, h.requested AS hold_requested, h.amount AS hold_amount, \
         h.state AS hold_state, h.captured AS hold_captured, h.released AS hold_released, \
         h.uncollected AS hold_uncollected, h.entry_seq AS hold_entry_seq, h.expires_at AS hold_expires_at, \
         h.created_at AS hold_created_at, h.resolved_at AS hold_resolved_at, ", $crate::store::holds::made_by!())
    };
}
pub(crate) use hold_columns;

/// Open holds of the users in `holding`, and `named` ones whatever became of them. Only named ones come with what the
/// caller attached, which may be much. Asks nothing if nothing is wanted.
pub async fn load(
    mut conn: Shared<'_>,
    holding: &[&str],
    named: &BTreeSet<(UserId, Uuid)>,
) -> Result<Vec<HoldRow>, DbError> {
    if holding.is_empty() && named.is_empty() {
        return Ok(Vec::new());
    }
    Ok(pg::sql(concat!(
        "SELECT ",
        hold_columns!(),
        ", CASE WHEN h.named THEN h.description END AS hold_description, \
         CASE WHEN h.named THEN h.metadata::text END AS hold_metadata \
         FROM (SELECT o.*, (o.user_id, o.id) IN (SELECT * FROM unnest($2::text[], $3::uuid[])) AS named \
           FROM credits.holds o WHERE o.user_id = ANY($1) AND o.state = 'open') AS h \
         UNION ALL SELECT ",
        hold_columns!(),
        ", h.description, h.metadata::text FROM unnest($2::text[], $3::uuid[]) AS w (user_id, id) \
         JOIN credits.holds h ON h.user_id = w.user_id AND h.id = w.id WHERE h.state <> 'open'"
    ))
    .bind::<Array<Text>, _>(holding)
    .bind::<Array<Text>, _>(texts(named.iter().map(|(user, _)| user)))
    .bind::<Array<SqlUuid>, _>(named.iter().map(|(_, id)| *id).collect::<Vec<_>>())
    .load(&mut conn)
    .await?)
}

/// What open holds of the users in `holding` set aside of which grants.
pub async fn load_lines(mut conn: Shared<'_>, holding: &[&str]) -> Result<Vec<LineRow>, DbError> {
    if holding.is_empty() {
        return Ok(Vec::new());
    }
    Ok(pg::sql(
        "SELECT h.user_id AS line_user_id, h.id AS line_hold_id, l.grant_id AS line_grant_id, \
         l.held_delta AS line_amount FROM credits.holds h \
         JOIN credits.entry_grants l ON l.user_id = h.user_id AND l.seq = h.entry_seq \
         WHERE h.user_id = ANY($1) AND h.state = 'open'",
    )
    .bind::<Array<Text>, _>(holding)
    .load(&mut conn)
    .await?)
}

/// Puts holds and their lines together. A hold may come more than once.
pub fn assemble(holds: Vec<HoldRow>, lines: Vec<LineRow>) -> Result<BTreeMap<UserId, Vec<Hold>>, DbError> {
    let mut portions: BTreeMap<(String, Uuid), Vec<Portion>> = BTreeMap::new();
    for line in lines {
        let portion = Portion { grant_id: line.line_grant_id, amount: Credits::from_micro(line.line_amount) };
        let hold = (line.line_user_id, line.line_hold_id);
        portions.entry(hold).or_default().push(portion);
    }
    let mut holds_of: BTreeMap<UserId, Vec<Hold>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in holds {
        let name = (row.hold_user_id.clone(), row.hold_row_id);
        if seen.insert(name.clone()) {
            let (user, mut hold) = row.into_hold()?;
            hold.allocation = portions.remove(&name).unwrap_or_default();
            holds_of.entry(user).or_default().push(hold);
        }
    }
    Ok(holds_of)
}

/// Inserts the holds made since loading, whatever became of them since.
pub async fn insert(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<Kept, DbError> {
    let new: Vec<(&UserId, &Hold)> =
        states.iter().flat_map(|state| state.new_holds().map(|hold| (&state.user_id, hold))).collect();
    if new.is_empty() {
        return Ok(Kept::new());
    }
    let holds = || new.iter().map(|(_, hold)| *hold);
    let amounts = |get: fn(&Hold) -> Credits| -> Vec<i64> { holds().map(|hold| get(hold).micro()).collect() };
    let inserted: Vec<KeptRow> = pg::sql(
        "INSERT INTO credits.holds (user_id, id, requested, amount, state, captured, released, uncollected, capped, made_by, \
         ended_by, entry_seq, description, metadata, expires_at, created_at, resolved_at) \
         SELECT n.user_id, n.id, n.requested, n.amount, n.state, n.captured, n.released, n.uncollected, n.capped, \
         n.made_by, n.ended_by, n.entry_seq, n.description, n.metadata::jsonb, n.expires_at, n.created_at, n.resolved_at \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         AS n (user_id, id, requested, amount, state, captured, released, uncollected, capped, made_by, ended_by, \
         entry_seq, description, metadata, expires_at, created_at, resolved_at) RETURNING user_id, id, metadata::text AS metadata",
    )
    .bind::<Array<Text>, _>(texts(new.iter().map(|(user, _)| *user)))
    .bind::<Array<SqlUuid>, _>(holds().map(|hold| hold.id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.requested))
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.amount))
    .bind::<Array<Text>, _>(holds().map(|hold| hold.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.captured))
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.released))
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.uncollected))
    .bind::<Array<Bool>, _>(holds().map(|hold| hold.capped).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(holds().map(|hold| hold.made_by.as_str()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(holds().map(ended_by).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(holds().map(|hold| hold.entry_seq).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(holds().map(|hold| hold.description.as_deref()).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(holds().map(|hold| metadata(&hold.metadata)).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(holds().map(|hold| hold.expires_at).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(holds().map(|hold| hold.created_at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(holds().map(|hold| hold.resolved_at).collect::<Vec<_>>())
    .load(&mut conn)
    .await?;
    DbError::expect_rows("insert credits.holds", new.len(), inserted.len())?;
    inserted.into_iter().map(|row| Ok(((user_id(&row.user_id)?, row.id), row.metadata))).collect()
}

/// Saves the stored holds that were resolved since loading.
pub async fn update(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<(), DbError> {
    let changed: Vec<(&UserId, &Hold)> = states
        .iter()
        .flat_map(|state| {
            let holds = state.changed_holds().into_iter();
            holds.map(|hold| (&state.user_id, hold))
        })
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let holds = || changed.iter().map(|(_, hold)| *hold);
    let amounts = |get: fn(&Hold) -> Credits| -> Vec<i64> { holds().map(|hold| get(hold).micro()).collect() };
    let updated = pg::sql(
        "UPDATE credits.holds AS h SET state = n.state, captured = n.captured, released = n.released, \
         uncollected = n.uncollected, capped = n.capped, ended_by = n.ended_by, resolved_at = n.resolved_at \
         FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[], \
         $8::text[], $9::timestamptz[]) AS n (user_id, id, state, captured, released, uncollected, capped, ended_by, \
         resolved_at) \
         WHERE h.user_id = n.user_id AND h.id = n.id AND h.state = 'open'",
    )
    .bind::<Array<Text>, _>(texts(changed.iter().map(|(user, _)| *user)))
    .bind::<Array<SqlUuid>, _>(holds().map(|hold| hold.id).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(holds().map(|hold| hold.status.as_str()).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.captured))
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.released))
    .bind::<Array<BigInt>, _>(amounts(|hold| hold.uncollected))
    .bind::<Array<Bool>, _>(holds().map(|hold| hold.capped).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(holds().map(ended_by).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(holds().map(|hold| hold.resolved_at).collect::<Vec<_>>())
    .execute(&mut conn)
    .await?;
    DbError::expect_rows("update credits.holds", changed.len(), updated)
}

fn ended_by(hold: &Hold) -> Option<&'static str> {
    hold.ended_by.map(CallerClass::as_str)
}

impl HoldRow {
    /// Whose hold, and the hold without its allocation.
    pub fn into_hold(self) -> Result<(UserId, Hold), DbError> {
        let hold = Hold {
            id: self.hold_row_id,
            made_by: parsed(&self.hold_made_by)?,
            ended_by: None,
            requested: Credits::from_micro(self.hold_requested),
            amount: Credits::from_micro(self.hold_amount),
            status: parsed(&self.hold_state)?,
            captured: Credits::from_micro(self.hold_captured),
            released: Credits::from_micro(self.hold_released),
            uncollected: Credits::from_micro(self.hold_uncollected),
            capped: false,
            entry_seq: self.hold_entry_seq,
            expires_at: self.hold_expires_at,
            created_at: self.hold_created_at,
            resolved_at: self.hold_resolved_at,
            allocation: Vec::new(),
            description: self.hold_description,
            metadata: stored_metadata(self.hold_metadata),
        };
        Ok((user_id(&self.hold_user_id)?, hold))
    }

    /// A line of this hold.
    pub fn line(&self, grant_id: i64, amount: i64) -> LineRow {
        LineRow {
            line_user_id: self.hold_user_id.clone(),
            line_hold_id: self.hold_row_id,
            line_grant_id: grant_id,
            line_amount: amount,
        }
    }
}

impl QueryableByName<Pg> for MaybeHoldRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        match NamedRow::get::<Nullable<SqlUuid>, Option<Uuid>>(row, "hold_row_id")? {
            Some(_) => HoldRow::build(row).map(|hold| Self(Some(hold))),
            None => Ok(Self(None)),
        }
    }
}

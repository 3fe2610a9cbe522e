//! Table `credits.holds`: open and named ones read, new ones inserted, resolved ones updated.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use kernel::{CallerClass, UserId};
use pg::{
    DbError,
    columns::{Json, Placeholders, Read, Written},
};
use uuid::Uuid;

use crate::{
    core::{AccountState, Hold, burn::Portion},
    store::columns::{Shared, texts},
};

/// Owner of a hold, and the hold without its allocation.
#[derive(Debug)]
pub struct HoldRow {
    /// Owner.
    pub user_id: UserId,
    /// The hold.
    pub hold: Hold,
}

// Holds of versions that did not store who made them were made by whoever wrote their entry.
pg::read_columns! {
    Hold, "hold_row_": {
        id, requested, amount, status = "{}.state", captured, released, uncollected, entry_seq, expires_at, created_at, resolved_at,
        made_by = "coalesce({}.made_by, (SELECT CASE maker.actor WHEN 'user' THEN 'user' ELSE 'service' END
           FROM credits.entries maker WHERE maker.user_id = {}.user_id AND maker.seq = {}.entry_seq), 'service')",
        description, metadata
    } made { ended_by: None, capped: false, allocation: Vec::new() }
}
pg::read_columns! { HoldRow, "hold_row_": { user_id } with { hold: Hold } }

/// Part of a grant that an open hold reserves.
#[derive(Debug)]
pub struct LineRow {
    /// Owner of the hold.
    pub user_id: UserId,
    /// The hold.
    pub hold_id: Uuid,
    /// The part of a grant.
    pub portion: Portion,
}

pg::read_columns! { Portion, "line_": { grant_id, amount } }
pg::read_columns! { LineRow, "line_": { user_id, hold_id } with { portion: Portion } }

/// Stored metadata of new holds: as `jsonb` keeps them, `None` for the empty object.
pub type StoredMetadata = BTreeMap<(UserId, Uuid), Option<String>>;

struct MetadataRow {
    user_id: UserId,
    id: Uuid,
    metadata: Option<String>,
}
pg::read_columns! { MetadataRow: { user_id, id, metadata } }

pg::written_columns! {
    NewHold = (user, hold): (&'a UserId, &'a Hold) {
        user_id: Text = user.as_str(),
        id: SqlUuid = hold.id,
        requested: BigInt = hold.requested.micro(),
        amount: BigInt = hold.amount.micro(),
        state: Text = hold.status.as_str(),
        captured: BigInt = hold.captured.micro(),
        released: BigInt = hold.released.micro(),
        uncollected: BigInt = hold.uncollected.micro(),
        capped: Bool = hold.capped,
        made_by: Text = hold.made_by.as_str(),
        ended_by: Nullable<Text> = hold.ended_by.map(CallerClass::as_str),
        entry_seq: BigInt = hold.entry_seq,
        description: Nullable<Text> = hold.description.as_deref(),
        metadata: Nullable<Jsonb> = Json::unless_empty(&hold.metadata),
        expires_at: Timestamptz = hold.expires_at,
        created_at: Timestamptz = hold.created_at,
        resolved_at: Nullable<Timestamptz> = hold.resolved_at,
    }
}

pg::written_columns! {
    ResolvedHold = (user, hold): (&'a UserId, &'a Hold) {
        user_id: Text = user.as_str(),
        id: SqlUuid = hold.id,
        state: Text = hold.status.as_str(),
        captured: BigInt = hold.captured.micro(),
        released: BigInt = hold.released.micro(),
        uncollected: BigInt = hold.uncollected.micro(),
        capped: Bool = hold.capped,
        ended_by: Nullable<Text> = hold.ended_by.map(CallerClass::as_str),
        resolved_at: Nullable<Timestamptz> = hold.resolved_at,
    }
}

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
    Ok(pg::sql(&LOAD)
        .bind::<Array<Text>, _>(holding)
        .bind::<Array<Text>, _>(texts(named.iter().map(|(user, _)| user)))
        .bind::<Array<SqlUuid>, _>(named.iter().map(|(_, id)| *id).collect::<Vec<_>>())
        .load(&mut conn)
        .await?)
}

/// Parts of grants that open holds of the users in `holding` reserve.
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
pub fn assemble(holds: Vec<HoldRow>, lines: Vec<LineRow>) -> BTreeMap<UserId, Vec<Hold>> {
    let mut portions: BTreeMap<(UserId, Uuid), Vec<Portion>> = BTreeMap::new();
    for line in lines {
        portions.entry((line.user_id, line.hold_id)).or_default().push(line.portion);
    }
    let mut holds_of: BTreeMap<UserId, Vec<Hold>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for HoldRow { user_id, mut hold } in holds {
        let name = (user_id, hold.id);
        if !seen.contains(&name) {
            hold.allocation = portions.remove(&name).unwrap_or_default();
            holds_of.entry(name.0.clone()).or_default().push(hold);
            seen.insert(name);
        }
    }
    holds_of
}

/// Inserts the holds made since loading, whatever became of them since.
pub async fn insert(mut conn: Shared<'_>, states: &[&AccountState]) -> Result<StoredMetadata, DbError> {
    let new: Vec<(&UserId, &Hold)> =
        states.iter().flat_map(|state| state.new_holds().map(|hold| (&state.user_id, hold))).collect();
    if new.is_empty() {
        return Ok(StoredMetadata::new());
    }
    let inserted: Vec<MetadataRow> =
        pg::sql(&INSERT).bind_rows::<NewHold>(new.iter().copied()).load(&mut conn).await?;
    DbError::expect_rows("insert credits.holds", new.len(), inserted.len())?;
    Ok(inserted.into_iter().map(|row| ((row.user_id, row.id), row.metadata)).collect())
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
    let updated =
        pg::sql(&UPDATE).bind_rows::<ResolvedHold>(changed.iter().copied()).execute(&mut conn).await?;
    DbError::expect_rows("update credits.holds", changed.len(), updated)
}

pub(super) static LOAD: LazyLock<String> = LazyLock::new(|| {
    let attached = [
        ("description", "CASE WHEN h.named THEN h.description END"),
        ("metadata", "CASE WHEN h.named THEN h.metadata END"),
    ];
    format!(
        "
SELECT {}
FROM (
    SELECT o.*, (o.user_id, o.id) IN (SELECT * FROM unnest($2::text[], $3::uuid[])) AS named
    FROM credits.holds o WHERE o.user_id = ANY($1) AND o.state = 'open'
) AS h
UNION ALL
SELECT {}
FROM unnest($2::text[], $3::uuid[]) AS w (user_id, id)
JOIN credits.holds h ON h.user_id = w.user_id AND h.id = w.id WHERE h.state <> 'open'",
        HoldRow::list_but("h", &attached),
        HoldRow::list("h")
    )
});

pub(super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let holds = Placeholders::default().insert("credits.holds", NewHold::COLUMNS);
    format!("{holds} RETURNING user_id, id, metadata::text AS metadata")
});

pub(super) static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let holds = Placeholders::default().update("credits.holds", 2, ResolvedHold::COLUMNS);
    format!("{holds} AND old.state = 'open'")
});

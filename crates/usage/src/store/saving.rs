//! Writing what a transaction records: `usage.dedupe`, `usage.records`, `usage.rollups_15m`, `usage.rollup_deltas` and
//! `usage.presence_deltas`.

use std::{num::TryFromIntError, sync::LazyLock};

use diesel::{
    result::Error as DieselError,
    sql_types::{BigInt, Binary, Nullable, Text, Timestamptz},
};
use diesel_async::RunQueryDsl;
use kernel::{CallerClass, UserId};
use pg::{
    DbError,
    columns::{self, Column, Placeholders, Written},
};
use time::OffsetDateTime;

use super::{
    Shared,
    rollups::ADDED_UP,
    rows::{RecordColumns, SIZE_BYTES},
};
use crate::{
    Record,
    core::rollup::{Added, Key, Sums},
};

/// An event id that is to stand for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim<'a> {
    pub(crate) user_id: &'a UserId,
    pub(crate) event_id: &'a str,
    /// The class of the caller; `None` for corrections.
    pub(crate) caller: Option<CallerClass>,
    pub(crate) payload: &'a [u8; 32],
    pub(crate) record_id: i64,
    pub(crate) occurred_at: OffsetDateTime,
}

/// Rows of a transaction.
#[derive(Debug)]
pub(crate) struct Saving<'a> {
    pub(crate) now: OffsetDateTime,
    pub(crate) records: &'a [Record],
    /// In the order of their keys, so that batches of any processes wait for one another in one direction only.
    pub(crate) claims: &'a [Claim<'a>],
    /// Additions to the sums of users.
    pub(crate) by_user: &'a Sums<'a>,
    /// The same across users. It is appended, to be folded later: no transaction waits for a row that all users share.
    pub(crate) across: &'a Sums<'a>,
}

pg::written_columns! {
    /// A claim, in `usage.dedupe` and `usage.dedupe_shared`.
    NewClaim = claim: &'a Claim<'a> {
        user_id: Text = claim.user_id.as_str(),
        event_id: Text = claim.event_id,
        payload: Binary = claim.payload.as_slice(),
        record_id: BigInt = claim.record_id,
        occurred_at: Timestamptz = claim.occurred_at,
        caller: Nullable<Text> = claim.caller.map(CallerClass::as_str),
    }
}

pg::written_columns! {
    /// The owner of sums.
    SumOwner = key: &'a Key<'a> { user_id: Text = key.user_id }
}

pg::written_columns! {
    /// Figures and the sums that they are added to, without their owner.
    NewSum = (key, added): (&'a Key<'a>, Added<i64>) {
        bucket: Timestamptz = key.bucket,
        event_type: Text = key.event_type,
        model: Text = key.model,
        provider: Text = key.provider,
        tool: Text = key.tool,
        part: BigInt = key.part,
        records: BigInt = added.records,
        tokens_used: BigInt = added.tokens_used,
        prompt_tokens: BigInt = added.prompt_tokens,
        completion_tokens: BigInt = added.completion_tokens,
        credits_charged: BigInt = added.credits_charged,
        credits_deducted: BigInt = added.credits_deducted,
        cost_usd: BigInt = added.cost_usd,
    }
}

/// Writes it; [`DbError::Contention`] when another transaction claimed one of the events since they were looked up.
///
/// A claim that another transaction has under way waits for its end.
pub(crate) async fn save(mut conn: Shared<'_>, saving: &Saving<'_>) -> Result<(), DbError> {
    let Saving { now, records, claims, by_user, across } = *saving;
    let (of_users, of_all) = (fitted(by_user)?, fitted(across)?);
    let saved: SavedRow = pg::sql(&SAVE)
        .bind_rows::<NewClaim>(claims.iter())
        .bind::<Timestamptz, _>(now)
        .bind_rows::<RecordColumns>(records.iter())
        .bind_rows::<SumOwner>(by_user.keys())
        .bind_rows::<NewSum>(of_users.iter().copied())
        .bind_rows::<NewSum>(of_all.iter().copied())
        .get_result(&mut conn)
        .await
        .map_err(of_claims)?;
    expect("claim event ids", claims.len(), saved.claims)?;
    expect("insert usage records", records.len(), saved.records)?;
    expect("add to roll-ups", by_user.len(), saved.sums)?;
    expect("append deltas of roll-ups", across.len(), saved.deltas)
}

/// Writes claims of event ids that another caller used before, as [`save`] does. To be called before it, so that transactions
/// wait for one another in one direction only.
pub(crate) async fn share(mut conn: Shared<'_>, claims: &[Claim<'_>]) -> Result<(), DbError> {
    if claims.is_empty() {
        return Ok(());
    }
    let sql = pg::sql(&SHARE).bind_rows::<NewClaim>(claims.iter());
    let claimed = sql.execute(&mut conn).await.map_err(of_claims)?;
    DbError::expect_rows("claim shared event ids", claims.len(), claimed)
}

/// An event id that others claimed first is contention, and no constraint that the rules of this crate forgot.
fn of_claims(error: DieselError) -> DbError {
    match DbError::from(error) {
        DbError::Constraint { constraint, source }
            if ["dedupe_pkey", "dedupe_shared_pkey"].contains(&constraint.as_str()) =>
        {
            DbError::Contention(source)
        }
        other => other,
    }
}

/// The parts touch different tables and are run in the order in which the last line asks for their counts, the same in every
/// process: claims before sums, rows in the order in which they are given. So transactions of any processes wait for one
/// another in one direction only.
///
/// A user with a new row of sums was active in this quarter of an hour; that is noted last, where no other transaction waits. The row itself says that it is
/// new: of partitioned tables a statement may not ask whether it inserted or updated.
pub(super) static SAVE: LazyLock<String> = LazyLock::new(|| {
    let mut given = Placeholders::default();
    let claims = insert("usage.dedupe", NewClaim::COLUMNS, &mut given);
    let (now, columns) = (given.one(), columns::names(RecordColumns::COLUMNS));
    let records = given.select(RecordColumns::COLUMNS);
    let sums =
        insert("usage.rollups_15m AS sums", &[SumOwner::COLUMNS, NewSum::COLUMNS].concat(), &mut given);
    let deltas = insert("usage.rollup_deltas", NewSum::COLUMNS, &mut given);
    format!(
        "
WITH claims AS (
    {claims} RETURNING 1
), records AS (
    INSERT INTO usage.records (recorded_at, sign, size_bytes, {columns})
    SELECT {now}, CASE WHEN correction_of IS NULL THEN 1 ELSE -1 END, {SIZE_BYTES}, {columns}
    FROM ({records}) AS new
    RETURNING 1
), sums AS (
    {sums}
    ON CONFLICT (user_id, bucket, event_type, model, provider, tool, part) DO UPDATE SET
        {ADDED_UP}, added_to = true
    RETURNING user_id, bucket, event_type, model, provider, tool, added_to
), came AS (
    INSERT INTO usage.presence_deltas (user_id, bucket, event_type, model, provider, tool)
    SELECT user_id, bucket, event_type, model, provider, tool FROM sums WHERE NOT added_to
), deltas AS (
    {deltas} RETURNING 1
)
SELECT (SELECT count(*) FROM claims) AS claims, (SELECT count(*) FROM records) AS records,
       (SELECT count(*) FROM sums) AS sums, (SELECT count(*) FROM deltas) AS deltas"
    )
});

static SHARE: LazyLock<String> =
    LazyLock::new(|| insert("usage.dedupe_shared", NewClaim::COLUMNS, &mut Placeholders::default()));

fn insert(table: &str, columns: &[Column], given: &mut Placeholders) -> String {
    format!("INSERT INTO {table} ({})\n    {}", columns::names(columns), given.select(columns))
}

struct SavedRow {
    claims: i64,
    records: i64,
    sums: i64,
    deltas: i64,
}
pg::read_columns! { SavedRow: { claims, records, sums, deltas } }

fn expect(what: &'static str, expected: usize, rows: i64) -> Result<(), DbError> {
    DbError::expect_rows(what, expected, usize::try_from(rows).unwrap_or(usize::MAX))
}

fn fitted<'a>(sums: &'a Sums<'a>) -> Result<Vec<(&'a Key<'a>, Added<i64>)>, DbError> {
    let fitted = sums.iter().map(|(key, added)| Ok((key, added.fitted()?)));
    fitted
        .collect::<Result<_, TryFromIntError>>()
        .map_err(|_| DbError::Inconsistent("one transaction adds more than 64 bits hold".to_owned()))
}

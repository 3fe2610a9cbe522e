//! Writing what a transaction records: `usage.dedupe`, `usage.records`, `usage.rollups_15m`, `usage.rollup_deltas` and
//! `usage.presence_deltas`.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Binary, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use kernel::{CallerClass, UserId};
use pg::DbError;
use time::OffsetDateTime;

use super::{Shared, json, rollups::added_up};
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

/// What a transaction records.
#[derive(Debug)]
pub(crate) struct Saving<'a> {
    pub(crate) now: OffsetDateTime,
    pub(crate) records: &'a [Record],
    /// In the order of their keys, so that batches of any processes wait for one another in one direction only.
    pub(crate) claims: &'a [Claim<'a>],
    /// What is added to the sums of users.
    pub(crate) by_user: &'a Sums<'a>,
    /// The same across users. It is appended, to be folded later: no transaction waits for a row that all users share.
    pub(crate) across: &'a Sums<'a>,
}

/// Binds what is added and to which sums, but for whose they are. A macro, because each bound value is part of the type.
macro_rules! with_sums {
    ($query:expr, $sums:expr) => {
        $query
            .bind::<Array<Timestamptz>, _>(keys($sums, |key| key.bucket))
            .bind::<Array<Text>, _>(keys($sums, |key| key.event_type))
            .bind::<Array<Text>, _>(keys($sums, |key| key.model))
            .bind::<Array<Text>, _>(keys($sums, |key| key.provider))
            .bind::<Array<Text>, _>(keys($sums, |key| key.tool))
            .bind::<Array<BigInt>, _>(keys($sums, |key| key.part))
            .bind::<Array<BigInt>, _>(figures($sums, |sum| sum.records)?)
            .bind::<Array<BigInt>, _>(figures($sums, |sum| sum.tokens_used)?)
            .bind::<Array<BigInt>, _>(figures($sums, |sum| sum.prompt_tokens)?)
            .bind::<Array<BigInt>, _>(figures($sums, |sum| sum.completion_tokens)?)
            .bind::<Array<BigInt>, _>(figures($sums, |sum| sum.credits_charged)?)
            .bind::<Array<BigInt>, _>(figures($sums, |sum| sum.cost_usd)?)
    };
}

/// Writes it, but for claims that others made before; answers how many there are of those.
///
/// A claim that another transaction has under way waits for its end; how it ended is known to statements that follow.
pub(crate) async fn save(mut conn: Shared<'_>, saving: &Saving<'_>) -> Result<usize, DbError> {
    let Saving { now, records, claims, by_user, across } = *saving;
    let query = pg::sql(SAVE)
        .bind::<Timestamptz, _>(now)
        .bind::<Array<BigInt>, _>(of(records, |one| one.id))
        .bind::<Array<Text>, _>(of(records, |one| one.user_id.as_str()))
        .bind::<Array<Timestamptz>, _>(of(records, |one| one.occurred_at))
        .bind::<Array<Nullable<BigInt>>, _>(of(records, |one| one.correction_of))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.event_id.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.session_id.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.trace_id.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.endpoint.as_deref()))
        .bind::<Array<Text>, _>(of(records, |one| one.event_type.as_str()))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.model_name.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.provider.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.tool_name.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.operation_name.as_deref()))
        .bind::<Array<BigInt>, _>(of(records, |one| one.tokens_used))
        .bind::<Array<BigInt>, _>(of(records, |one| one.prompt_tokens))
        .bind::<Array<BigInt>, _>(of(records, |one| one.completion_tokens))
        .bind::<Array<BigInt>, _>(of(records, |one| one.credits_charged.micro()))
        .bind::<Array<BigInt>, _>(of(records, |one| one.cost_usd.nano()))
        .bind::<Array<Text>, _>(of(records, |one| one.calculation_method.as_str()))
        .bind::<Array<BigInt>, _>(of(records, |one| one.credits_uncollected.micro()))
        .bind::<Array<Nullable<BigInt>>, _>(of(records, |one| one.charge.map(|charge| charge.seq)))
        .bind::<Array<Nullable<SqlUuid>>, _>(of(records, |one| {
            one.charge.map(|charge| charge.transaction_id)
        }))
        .bind::<Array<Nullable<BigInt>>, _>(of(records, |one| one.price_id))
        .bind::<Array<Nullable<Jsonb>>, _>(of(records, |one| {
            one.quantities.as_ref().map(json::of_quantities)
        }))
        .bind::<Array<Nullable<Jsonb>>, _>(of(records, |one| json::column(&one.billing_metadata)))
        .bind::<Array<Nullable<Jsonb>>, _>(of(records, |one| json::column(&one.request_data)))
        .bind::<Array<Nullable<Jsonb>>, _>(of(records, |one| json::column(&one.response_data)))
        .bind::<Array<Text>, _>(of(claims, |one| one.user_id.as_str()))
        .bind::<Array<Text>, _>(of(claims, |one| one.event_id))
        .bind::<Array<Binary>, _>(of(claims, |one| one.payload.as_slice()))
        .bind::<Array<BigInt>, _>(of(claims, |one| one.record_id))
        .bind::<Array<Timestamptz>, _>(of(claims, |one| one.occurred_at))
        .bind::<Array<Nullable<Text>>, _>(of(claims, |one| one.caller.map(CallerClass::as_str)))
        .bind::<Array<Nullable<Text>>, _>(of(records, |one| one.recorded_by.map(CallerClass::as_str)))
        .bind::<Array<Text>, _>(keys(by_user, |key| key.user_id));
    let query = with_sums!(with_sums!(query, by_user), across);
    let saved: SavedRow = query.get_result(&mut conn).await?;
    expect("insert usage records", records.len(), saved.records)?;
    expect("add to roll-ups", by_user.len(), saved.sums)?;
    expect("append deltas of roll-ups", across.len(), saved.deltas)?;
    Ok(claims.len().saturating_sub(count(saved.claims)))
}

/// Writes claims of event ids that another caller used before, but for those that others made since; answers how many there
/// are of those. To be called before [`save`], so that transactions wait for one another in one direction only.
pub(crate) async fn share(mut conn: Shared<'_>, claims: &[Claim<'_>]) -> Result<usize, DbError> {
    if claims.is_empty() {
        return Ok(0);
    }
    let claimed = pg::sql(
        "INSERT INTO usage.dedupe_shared (user_id, event_id, caller, payload, record_id, occurred_at) \
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, event_id, caller) DO NOTHING",
    )
    .bind::<Array<Text>, _>(of(claims, |one| one.user_id.as_str()))
    .bind::<Array<Text>, _>(of(claims, |one| one.event_id))
    .bind::<Array<Nullable<Text>>, _>(of(claims, |one| one.caller.map(CallerClass::as_str)))
    .bind::<Array<Binary>, _>(of(claims, |one| one.payload.as_slice()))
    .bind::<Array<BigInt>, _>(of(claims, |one| one.record_id))
    .bind::<Array<Timestamptz>, _>(of(claims, |one| one.occurred_at))
    .execute(&mut conn)
    .await?;
    Ok(claims.len().saturating_sub(claimed))
}

/// The parts touch different tables and are run in the order in which the last line asks for their counts, the same in every
/// process: claims before sums, rows in the order in which they are given. So transactions of any processes wait for one
/// another in one direction only.
///
/// Whoever has a new row of sums came to this quarter; that is noted last, where nobody waits. The row itself says that it is new: of partitioned tables a statement
/// may not ask whether it inserted or updated.
const SAVE: &str = concat!(
    "
WITH claims AS (
    INSERT INTO usage.dedupe (user_id, event_id, payload, record_id, occurred_at, caller)
    SELECT * FROM unnest($29, $30, $31, $32, $33, $34)
    ON CONFLICT (user_id, event_id) DO NOTHING RETURNING 1
), records AS (
    INSERT INTO usage.records
          (recorded_at, id, user_id, occurred_at, correction_of, sign, event_id, session_id, trace_id, endpoint, event_type,
           model_name, provider, tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged,
           cost_usd, calculation_method, credits_uncollected, charge_seq, charge_transaction, price_id, quantities,
           billing_metadata, request_data, response_data, recorded_by)
    SELECT $1, id, user_id, occurred_at, correction_of, CASE WHEN correction_of IS NULL THEN 1 ELSE -1 END, event_id,
           session_id, trace_id, endpoint, event_type, model_name, provider, tool_name, operation_name, tokens_used,
           prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method, credits_uncollected,
           charge_seq, charge_transaction, price_id, quantities, billing_metadata, request_data, response_data,
           recorded_by
    FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
                $25, $26, $27, $28, $35)
      AS given (id, user_id, occurred_at, correction_of, event_id, session_id, trace_id, endpoint, event_type, model_name,
                provider, tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged,
                cost_usd, calculation_method, credits_uncollected, charge_seq, charge_transaction, price_id, quantities,
                billing_metadata, request_data, response_data, recorded_by)
    RETURNING 1
), sums AS (
    INSERT INTO usage.rollups_15m AS sums
          (user_id, bucket, event_type, model, provider, tool, part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
    SELECT * FROM unnest($36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48)
    ON CONFLICT (user_id, bucket, event_type, model, provider, tool, part) DO UPDATE SET
        ",
    added_up!(),
    ", added_to = true
    RETURNING user_id, bucket, event_type, model, provider, tool, added_to
), came AS (
    INSERT INTO usage.presence_deltas (user_id, bucket, event_type, model, provider, tool)
    SELECT user_id, bucket, event_type, model, provider, tool FROM sums WHERE NOT added_to
), deltas AS (
    INSERT INTO usage.rollup_deltas
          (bucket, event_type, model, provider, tool, part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
    SELECT * FROM unnest($49, $50, $51, $52, $53, $54, $55, $56, $57, $58, $59, $60)
    RETURNING 1
)
SELECT (SELECT count(*) FROM claims) AS claims, (SELECT count(*) FROM records) AS records,
       (SELECT count(*) FROM sums) AS sums, (SELECT count(*) FROM deltas) AS deltas"
);

#[derive(QueryableByName)]
struct SavedRow {
    #[diesel(sql_type = BigInt)]
    claims: i64,
    #[diesel(sql_type = BigInt)]
    records: i64,
    #[diesel(sql_type = BigInt)]
    sums: i64,
    #[diesel(sql_type = BigInt)]
    deltas: i64,
}

fn expect(what: &'static str, expected: usize, rows: i64) -> Result<(), DbError> {
    DbError::expect_rows(what, expected, count(rows))
}

fn count(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

fn of<'a, R, T>(rows: &'a [R], value: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn keys<'a, T>(sums: &'a Sums<'a>, value: impl FnMut(&'a Key<'a>) -> T) -> Vec<T> {
    sums.keys().map(value).collect()
}

/// What one transaction adds fits into 64 bits as long as it records fewer than 9,223 of the largest events of one key.
fn figures(sums: &Sums<'_>, value: impl Fn(&Added) -> i128) -> Result<Vec<i64>, DbError> {
    sums.values()
        .map(|sum| {
            i64::try_from(value(sum))
                .map_err(|_| DbError::Inconsistent("one transaction adds more than 64 bits hold".to_owned()))
        })
        .collect()
}

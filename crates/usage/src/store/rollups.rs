//! Writing `usage.rollups_15m`, `usage.rollup_deltas`, `usage.rollups_all` and `usage.rollups_all_hours`.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;

use super::Shared;
use crate::core::rollup::{Added, Key, Sums};

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

/// Adds sums to the roll-ups of their users.
pub(crate) async fn add(mut conn: Shared<'_>, sums: &Sums<'_>) -> Result<(), DbError> {
    let query = pg::sql(ADD).bind::<Array<Text>, _>(keys(sums, |key| key.user_id));
    let changed = with_sums!(query, sums).execute(&mut conn).await?;
    DbError::expect_rows("add to roll-ups", sums.len(), changed)
}

/// Appends sums across users, to be folded later: no transaction waits for a row that all users share.
pub(crate) async fn append_deltas(mut conn: Shared<'_>, sums: &Sums<'_>) -> Result<(), DbError> {
    let added = with_sums!(pg::sql(APPEND), sums).execute(&mut conn).await?;
    DbError::expect_rows("append deltas of roll-ups", sums.len(), added)
}

/// Moves at most `rows_max` deltas into the sums across users; answers how many it moved.
pub(crate) async fn fold(conn: &mut AsyncPgConnection, rows_max: i64) -> Result<i64, DbError> {
    let folded: FoldedRow = pg::sql(FOLD).bind::<BigInt, _>(rows_max).get_result(conn).await?;
    Ok(folded.deltas)
}

const ADD: &str = "
INSERT INTO usage.rollups_15m AS sums
      (user_id, bucket, event_type, model, provider, tool, part,
       records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
SELECT user_id, bucket, event_type, model, provider, tool, part,
       records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd
FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) WITH ORDINALITY
  AS given (user_id, bucket, event_type, model, provider, tool, part,
            records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd, place)
ORDER BY place
ON CONFLICT (user_id, bucket, event_type, model, provider, tool, part) DO UPDATE SET
    records = sums.records + excluded.records,
    tokens_used = sums.tokens_used + excluded.tokens_used,
    prompt_tokens = sums.prompt_tokens + excluded.prompt_tokens,
    completion_tokens = sums.completion_tokens + excluded.completion_tokens,
    credits_charged = sums.credits_charged + excluded.credits_charged,
    cost_usd = sums.cost_usd + excluded.cost_usd";

const APPEND: &str = "
INSERT INTO usage.rollup_deltas
      (bucket, event_type, model, provider, tool, part,
       records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// One statement, hence one snapshot before and one after: a reader finds each delta either still there, or in the sums of
/// quarters and of every longer span. Workers pass over one another's deltas, and add in the order of the keys.
///
/// What lies in part 0 of a quarter may in the sum of a day be too much for 64 bits. A span whose newest sum is half full
/// (2^62) gets another one, below it. Several workers that do not see one another may still add to the full half what fits
/// into the other one.
const FOLD: &str = "
WITH taken AS MATERIALIZED (
    SELECT id FROM usage.rollup_deltas ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM usage.rollup_deltas AS delta USING taken WHERE delta.id = taken.id RETURNING delta.*
), added AS (
    INSERT INTO usage.rollups_all AS sums
          (bucket, event_type, model, provider, tool, part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
    SELECT bucket, event_type, model, provider, tool, part, sum(records), sum(tokens_used), sum(prompt_tokens),
           sum(completion_tokens), sum(credits_charged), sum(cost_usd)
    FROM gone GROUP BY bucket, event_type, model, provider, tool, part
    ORDER BY bucket, event_type, model, provider, tool, part
    ON CONFLICT (bucket, event_type, model, provider, tool, part) DO UPDATE SET
        records = sums.records + excluded.records,
        tokens_used = sums.tokens_used + excluded.tokens_used,
        prompt_tokens = sums.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = sums.completion_tokens + excluded.completion_tokens,
        credits_charged = sums.credits_charged + excluded.credits_charged,
        cost_usd = sums.cost_usd + excluded.cost_usd
), spans AS (
    SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS begins, event_type,
           model, provider, tool, part, sum(records) AS records, sum(tokens_used) AS tokens_used,
           sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
           sum(credits_charged) AS credits_charged, sum(cost_usd) AS cost_usd
    FROM gone CROSS JOIN unnest('{1,4,24}'::int[]) AS span (hours)
    GROUP BY span.hours, begins, event_type, model, provider, tool, part
), added_to_spans AS (
    INSERT INTO usage.rollups_all_hours AS sums
          (hours, bucket, event_type, model, provider, tool, part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd)
    SELECT hours, begins, event_type, model, provider, tool, coalesce(newest.part, spans.part) AS into_part,
           records, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd
    FROM spans LEFT JOIN LATERAL (
        SELECT CASE WHEN greatest(abs(kept.tokens_used), abs(kept.prompt_tokens), abs(kept.completion_tokens),
                                  abs(kept.credits_charged), abs(kept.cost_usd)) < 4611686018427387904
                    THEN kept.part ELSE kept.part - 1 END AS part
        FROM usage.rollups_all_hours AS kept
        WHERE spans.part = 0 AND kept.hours = spans.hours AND kept.bucket = begins AND kept.event_type = spans.event_type
          AND kept.model = spans.model AND kept.provider = spans.provider AND kept.tool = spans.tool AND kept.part <= 0
        ORDER BY kept.part LIMIT 1) AS newest ON true
    ORDER BY hours, begins, event_type, model, provider, tool, into_part
    ON CONFLICT (hours, bucket, event_type, model, provider, tool, part) DO UPDATE SET
        records = sums.records + excluded.records,
        tokens_used = sums.tokens_used + excluded.tokens_used,
        prompt_tokens = sums.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = sums.completion_tokens + excluded.completion_tokens,
        credits_charged = sums.credits_charged + excluded.credits_charged,
        cost_usd = sums.cost_usd + excluded.cost_usd
)
SELECT count(*) AS deltas FROM gone";

#[derive(QueryableByName)]
struct FoldedRow {
    #[diesel(sql_type = BigInt)]
    deltas: i64,
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

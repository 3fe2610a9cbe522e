//! Writing and reading `usage.records`.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Found, Page, TimePlace, UserId, page::PAGE_BYTES_MAX};
use pg::DbError;
use time::OffsetDateTime;

use super::{json, rows::RecordRow};
use crate::{NewRecord, Record, RecordFilter};

/// Inserts all of `new` and answers their ids, in the same order.
///
/// The `ORDER BY` of the first part makes PostgreSQL draw the ids in the order of the batch.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    new: &[NewRecord],
) -> Result<Vec<i64>, DbError> {
    let drawn: Vec<Drawn> = pg::sql(INSERT)
        .bind::<Timestamptz, _>(now)
        .bind::<Array<Text>, _>(column(new, |one| one.user_id.as_str()))
        .bind::<Array<Nullable<Text>>, _>(column(new, |one| one.session_id.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(new, |one| one.trace_id.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(new, |one| one.endpoint.as_deref()))
        .bind::<Array<Text>, _>(column(new, |one| one.event_type.as_str()))
        .bind::<Array<Nullable<Text>>, _>(column(new, |one| one.model_name.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(new, |one| one.provider.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(new, |one| one.tool_name.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(column(new, |one| one.operation_name.as_deref()))
        .bind::<Array<BigInt>, _>(column(new, |one| one.tokens_used))
        .bind::<Array<BigInt>, _>(column(new, |one| one.prompt_tokens))
        .bind::<Array<BigInt>, _>(column(new, |one| one.completion_tokens))
        .bind::<Array<BigInt>, _>(column(new, |one| one.credits_charged.micro()))
        .bind::<Array<BigInt>, _>(column(new, |one| one.cost_usd.nano()))
        .bind::<Array<Text>, _>(column(new, |one| one.calculation_method.as_str()))
        .bind::<Array<Nullable<Jsonb>>, _>(column(new, |one| json::column(&one.billing_metadata)))
        .bind::<Array<Nullable<Jsonb>>, _>(column(new, |one| json::column(&one.request_data)))
        .bind::<Array<Nullable<Jsonb>>, _>(column(new, |one| json::column(&one.response_data)))
        .load(conn)
        .await?;
    Ok(drawn.into_iter().map(|row| row.id).collect())
}

/// The rows of one page, newest first, as far as their bytes fit, and how many there were.
pub(crate) async fn newest(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &RecordFilter,
    page: &Page<TimePlace>,
) -> Result<Found<Record>, DbError> {
    let before = filter.upper_bound(page.after());
    let rows: Vec<RecordRow> = pg::sql(NEWEST)
        .bind::<Text, _>(user.as_str())
        .bind::<Nullable<Timestamptz>, _>(filter.first_microsecond())
        .bind::<Timestamptz, _>(before.at)
        .bind::<BigInt, _>(before.id)
        .bind::<Nullable<Text>, _>(filter.event_type.as_deref())
        .bind::<Nullable<Text>, _>(filter.model_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.provider.as_deref())
        .bind::<Nullable<Text>, _>(filter.tool_name.as_deref())
        .bind::<Nullable<Text>, _>(filter.session_id.as_deref())
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(page.offset())
        .bind::<BigInt, _>(page.limit())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?;
    let found = rows.as_slice().first().map_or(0, |row| row.found);
    let items = rows.into_iter().map(Record::try_from).collect::<Result<_, _>>()?;
    Ok(Found { items, rows: found })
}

/// The innermost part reads the rows of the page by the primary key, the next adds up what they measure, the outermost
/// sends those that fit: their large values are fetched only then.
///
/// The plan is made without the values (docs/adr/0008). A bare `($5 IS NULL OR ...)` would count as rare, and the planner
/// would sort the few rows it expects instead of walking the index until the page is full; a CASE it takes for even.
const NEWEST: &str = "
SELECT id, user_id, occurred_at, session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
       operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method,
       billing_metadata, request_data, response_data, found
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM usage.records
        WHERE user_id = $1 AND occurred_at >= coalesce($2, '-infinity') AND (occurred_at, id) < ($3, $4)
          AND CASE WHEN ($5 IS NULL OR event_type = $5) AND ($6 IS NULL OR model_name = $6)
                    AND ($7 IS NULL OR provider = $7) AND ($8 IS NULL OR tool_name = $8)
                    AND ($9 IS NULL OR session_id = $9)
                   THEN true ELSE false END
        ORDER BY occurred_at DESC, id DESC LIMIT $10 OFFSET $11
    ) AS page
    WINDOW walk AS (ORDER BY occurred_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE nth = 1 OR (nth <= $12 AND bytes <= $13)
ORDER BY occurred_at DESC, id DESC";

#[derive(QueryableByName)]
struct Drawn {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

const INSERT: &str = "
WITH item AS MATERIALIZED (
    SELECT nextval('usage.record_ids') AS id, given.*
    FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) WITH ORDINALITY
      AS given (user_id, session_id, trace_id, endpoint, event_type, model_name, provider, tool_name, operation_name,
                tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd, calculation_method,
                billing_metadata, request_data, response_data, place)
    ORDER BY place
), inserted AS (
    INSERT INTO usage.records
          (id, occurred_at, recorded_at, user_id, session_id, trace_id, endpoint, event_type, model_name, provider,
           tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
           calculation_method, billing_metadata, request_data, response_data)
    SELECT id, $1, $1, user_id, session_id, trace_id, endpoint, event_type, model_name, provider,
           tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
           calculation_method, billing_metadata, request_data, response_data
    FROM item
)
SELECT id FROM item ORDER BY place";

fn column<'a, T>(new: &'a [NewRecord], value: impl FnMut(&'a NewRecord) -> T) -> Vec<T> {
    new.iter().map(value).collect()
}

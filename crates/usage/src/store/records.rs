//! Writing and reading `usage.records`.

use diesel::{
    BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryableByName, SelectableHelper,
    sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Page, TimePlace, UserId};
use pg::DbError;
use time::OffsetDateTime;

use super::{json, rows::RecordRow, schema::records};
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

/// The rows of one page, newest first, and one more if there are more.
pub(crate) async fn newest(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &RecordFilter,
    page: &Page<TimePlace>,
) -> Result<Vec<Record>, DbError> {
    let mut query = records::table
        .select(RecordRow::as_select())
        .filter(records::user_id.eq(user.as_str()))
        .order((records::occurred_at.desc(), records::id.desc()))
        .limit(page.rows())
        .offset(page.offset())
        .into_boxed();
    if let Some(from) = filter.first_microsecond() {
        query = query.filter(records::occurred_at.ge(from));
    }
    if let Some(to) = filter.last_microsecond() {
        query = query.filter(records::occurred_at.le(to));
    }
    if let Some(event_type) = &filter.event_type {
        query = query.filter(records::event_type.eq(event_type));
    }
    if let Some(model_name) = &filter.model_name {
        query = query.filter(records::model_name.eq(model_name));
    }
    if let Some(provider) = &filter.provider {
        query = query.filter(records::provider.eq(provider));
    }
    if let Some(tool_name) = &filter.tool_name {
        query = query.filter(records::tool_name.eq(tool_name));
    }
    if let Some(session_id) = &filter.session_id {
        query = query.filter(records::session_id.eq(session_id));
    }
    if let Some(place) = page.after() {
        // The first half is what the index is entered with; the second tells records of one instant apart.
        query = query
            .filter(records::occurred_at.le(place.at))
            .filter(records::occurred_at.lt(place.at).or(records::id.lt(place.id)));
    }
    let rows: Vec<RecordRow> = query.load(conn).await?;
    rows.into_iter().map(Record::try_from).collect()
}

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

//! Rows as they come from the database.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use kernel::{CallerClass, Credits, Usd, UserId};
use pg::DbError;
use time::OffsetDateTime;

use super::json::{self, JsonText};
use uuid::Uuid;

use crate::{Charge, Record};

/// The columns of a record, for statements that name its table `record`.
macro_rules! record_columns {
    () => {
        "record.id, record.user_id, record.occurred_at, record.recorded_by, record.correction_of, record.event_id, record.session_id,
         record.trace_id, record.endpoint, record.event_type, record.model_name, record.provider, record.tool_name,
         record.operation_name, record.tokens_used, record.prompt_tokens, record.completion_tokens,
         record.credits_charged, record.cost_usd, record.calculation_method, record.credits_uncollected,
         record.charge_seq, record.charge_transaction, record.price_id, record.quantities, record.billing_metadata,
         record.request_data, record.response_data"
    };
}
pub(super) use record_columns;

/// A record as it is stored.
#[derive(Debug, QueryableByName)]
pub(super) struct RecordRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<Text>)]
    recorded_by: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    correction_of: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    event_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    session_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    trace_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    endpoint: Option<String>,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Nullable<Text>)]
    model_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    provider: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    tool_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    operation_name: Option<String>,
    #[diesel(sql_type = BigInt)]
    tokens_used: i64,
    #[diesel(sql_type = BigInt)]
    prompt_tokens: i64,
    #[diesel(sql_type = BigInt)]
    completion_tokens: i64,
    #[diesel(sql_type = BigInt)]
    credits_charged: i64,
    #[diesel(sql_type = BigInt)]
    cost_usd: i64,
    #[diesel(sql_type = Text)]
    calculation_method: String,
    #[diesel(sql_type = BigInt)]
    credits_uncollected: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    charge_seq: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    charge_transaction: Option<Uuid>,
    #[diesel(sql_type = Nullable<BigInt>)]
    price_id: Option<i64>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    quantities: Option<JsonText>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    billing_metadata: Option<JsonText>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    request_data: Option<JsonText>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    response_data: Option<JsonText>,
}

/// The class of a caller, as it is stored.
pub(super) fn class(text: &str) -> Result<CallerClass, DbError> {
    text.parse().map_err(|error| DbError::Inconsistent(format!("a usage record: {error}")))
}

impl TryFrom<RecordRow> for Record {
    type Error = DbError;

    fn try_from(row: RecordRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            occurred_at: row.occurred_at,
            recorded_by: row.recorded_by.as_deref().map(class).transpose()?,
            correction_of: row.correction_of,
            event_id: row.event_id,
            user_id: UserId::stored(&row.user_id).map_err(|error| {
                DbError::Inconsistent(format!("user of usage record {}: {error}", row.id))
            })?,
            session_id: row.session_id,
            trace_id: row.trace_id,
            endpoint: row.endpoint,
            event_type: row.event_type,
            model_name: row.model_name,
            provider: row.provider,
            tool_name: row.tool_name,
            operation_name: row.operation_name,
            credits_charged: Credits::from_micro(row.credits_charged),
            cost_usd: Usd::from_nano(row.cost_usd),
            calculation_method: row.calculation_method,
            credits_uncollected: Credits::from_micro(row.credits_uncollected),
            charge: row
                .charge_transaction
                .zip(row.charge_seq)
                .map(|(transaction_id, seq)| Charge { transaction_id, seq }),
            price_id: row.price_id,
            quantities: row.quantities.map(json::quantities).transpose()?,
            tokens_used: row.tokens_used,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            billing_metadata: json::object(row.billing_metadata),
            request_data: json::object(row.request_data),
            response_data: json::object(row.response_data),
        })
    }
}

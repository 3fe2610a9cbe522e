//! Rows as they come from the database.

use diesel::{Queryable, Selectable, pg::Pg};
use kernel::{Credits, Usd};
use pg::DbError;
use time::OffsetDateTime;

use super::{
    json::{self, JsonText},
    schema::records,
};
use crate::Record;

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = records, check_for_backend(Pg))]
pub(super) struct RecordRow {
    id: i64,
    user_id: String,
    occurred_at: OffsetDateTime,
    session_id: Option<String>,
    trace_id: Option<String>,
    endpoint: Option<String>,
    event_type: String,
    model_name: Option<String>,
    provider: Option<String>,
    tool_name: Option<String>,
    operation_name: Option<String>,
    tokens_used: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    credits_charged: i64,
    cost_usd: i64,
    calculation_method: String,
    billing_metadata: Option<JsonText>,
    request_data: Option<JsonText>,
    response_data: Option<JsonText>,
}

impl TryFrom<RecordRow> for Record {
    type Error = DbError;

    fn try_from(row: RecordRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            occurred_at: row.occurred_at,
            user_id: row.user_id.parse().map_err(|error| {
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
            tokens_used: row.tokens_used,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            billing_metadata: json::object(row.billing_metadata),
            request_data: json::object(row.request_data),
            response_data: json::object(row.response_data),
        })
    }
}

//! The columns of `usage.records`.

use std::collections::BTreeMap;

use diesel::{
    deserialize,
    sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use kernel::CallerClass;
use pg::columns::{FromColumn, Json, JsonText, get};

use crate::{
    Charge, Record,
    rating::{Quantities, TokenClass},
};

pg::columns! {
    /// The columns of a record. Beside them the table has the instant of recording and a sign.
    pub(super) RecordColumns = record: Record {
        id: BigInt = record.id,
        user_id: Text = record.user_id.as_str(),
        occurred_at: Timestamptz = record.occurred_at,
        recorded_by: Nullable<Text> = record.recorded_by.map(CallerClass::as_str),
        correction_of: Nullable<BigInt> = record.correction_of,
        event_id: Nullable<Text> = record.event_id.as_deref(),
        session_id: Nullable<Text> = record.session_id.as_deref(),
        trace_id: Nullable<Text> = record.trace_id.as_deref(),
        endpoint: Nullable<Text> = record.endpoint.as_deref(),
        event_type: Text = record.event_type.as_str(),
        model_name: Nullable<Text> = record.model_name.as_deref(),
        provider: Nullable<Text> = record.provider.as_deref(),
        tool_name: Nullable<Text> = record.tool_name.as_deref(),
        operation_name: Nullable<Text> = record.operation_name.as_deref(),
        tokens_used: BigInt = record.tokens_used,
        prompt_tokens: BigInt = record.prompt_tokens,
        completion_tokens: BigInt = record.completion_tokens,
        credits_charged: BigInt = record.credits_charged.micro(),
        cost_usd: BigInt = record.cost_usd.nano(),
        calculation_method: Text = record.calculation_method.as_str(),
        credits_uncollected: BigInt = record.credits_uncollected.micro(),
        price_id: Nullable<BigInt> = record.price_id,
        quantities: Nullable<Jsonb> = record.quantities.as_ref().map(of_quantities),
        billing_metadata: Nullable<Jsonb> = Json::unless_empty(&record.billing_metadata),
        request_data: Nullable<Jsonb> = Json::unless_empty(&record.request_data),
        response_data: Nullable<Jsonb> = Json::unless_empty(&record.response_data),
    } also {
        charge_transaction: Nullable<SqlUuid> = record.charge.map(|charge| charge.transaction_id),
        charge_seq: Nullable<BigInt> = record.charge.map(|charge| charge.seq),
    } made |row| {
        charge: get::<Option<_>>(row, "charge_transaction")?
            .zip(get::<Option<_>>(row, "charge_seq")?)
            .map(|(transaction_id, seq)| Charge { transaction_id, seq }),
    }
}

/// Bytes of the texts of a record, and of the text of its JSON. In the statement and not a column that PostgreSQL generates: that
/// reads its expression anew in each statement. An audit compares both.
pub(super) const SIZE_BYTES: &str = "octet_length(concat(session_id, trace_id, endpoint, event_type, model_name, provider, tool_name,
           operation_name, calculation_method, event_id, quantities, billing_metadata, request_data, response_data))";

/// Quantities as they are stored: an object of counts by class.
fn of_quantities(quantities: &Quantities) -> Json<'static> {
    let members = quantities.iter().map(|(class, count)| format!("\"{class}\":{count}"));
    Json(format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into())
}

impl FromColumn for Quantities {
    type Sql = Jsonb;
    type Plain = JsonText;

    fn from_plain(text: JsonText) -> deserialize::Result<Self> {
        let counts: BTreeMap<String, i64> = serde_json::from_str(&text.0)?;
        let mut classes: Vec<(TokenClass, i64)> = Vec::with_capacity(counts.len());
        for (name, count) in counts {
            classes.push((name.parse()?, count));
        }
        Ok(Self::from_counts(classes)?)
    }
}

//! `GET /api/v1/usage/summary`: what happened across users, at a glance (HTTP contract 4.7).

use time::Duration;
use usage::{SummaryQuery, Unit, Zone};

use super::{
    series_query::{self, SeriesContext, SummaryInput, Words},
    summary_body::SummaryBody,
};
use crate::http::{
    fields::{dates::End, input::Input},
    prelude::*,
};

/// Days of a summary whose beginning was not named.
const DAYS: u16 = 30;

/// A summary is not split, and shows everything.
const NO_WORDS: Words = Words { dimensions: &[], metrics: &[] };

pub fn doc() -> Doc {
    Doc::new("usage", "Usage at a glance").description(
        "Across all users, exact as of one snapshot; the last 30 local days by default. `feature_use` is ordered by credits, \
         `cost_by_model` by cost, each with at most 100 rows. Suggestions follow fixed rules: `costly_model` (one model makes \
         more than half of `cost_usd`), `long_prompts` (more than 80 % of the tokens are those of prompts), `unpriced_model` \
         (records with tokens whose model had no price; counted up to 500 a model, then `at_least` is true). `recorded_by` does not \
         narrow `new_users`, which counts users.",
    ).query_for::<SummaryInput>(&SeriesContext::documented(&NO_WORDS)).reply_envelope::<SummaryBody>(
        "Usage summary retrieved successfully",
        json!({
            "period": {"start_date": "2025-06-30T16:00:00.000000Z", "end_date": "2025-07-25T15:59:59.000000Z", "tz": "Asia/Shanghai"},
            "totals": {
                "records": 1200, "active_users": 85, "new_users": 9, "credits_charged": 6100.5,
                "credits_deducted": 6000.0, "cost_usd": 12.2, "tokens_used": 1_800_000,
            },
            "active_users_trend": [{"date": "2025-07-01", "active_users": 40, "new_users": 1, "records": 55}],
            "feature_use": [{
                "event_type": "ai_chat", "tool_name": "chat_service", "records": 900, "users": 80, "credits_charged": 4000.0,
                "credits_deducted": 4000.0,
            }],
            "cost_by_model": [{
                "model_name": "gpt-4", "provider": "openai", "records": 700, "tokens_used": 900_000,
                "credits_charged": 4000.0,
                "credits_deducted": 4000.0, "cost_usd": 9.1,
            }],
            "suggestions": [{
                "code": "costly_model", "message": "gpt-4 makes 75 % of the cost",
                "evidence": {"model_name": "gpt-4", "share": 0.75},
            }],
        }),
    )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let context = SeriesContext::new(&call, &NO_WORDS).await?;
    let SummaryInput { dates, tz, recorded_by } =
        call.fields.read(|fields| SummaryInput::read(fields, &context))?;
    let (start, end, zone) =
        (dates.start, dates.end.map_or(call.now, End::last), tz.unwrap_or_else(Zone::utc));
    call.known()?;
    // Both ends of a period belong to it.
    let behind = end.checked_add(Duration::MICROSECOND).unwrap_or(end);
    let start = match start {
        Some(start) => start,
        None => {
            call.read(async |conn| usage::buckets_back(conn, Unit::Day, &zone, behind, DAYS).await).await?
        }
    };
    let query = SummaryQuery { start, end: behind, zone, recorded_by };
    let slot = call.slot().await;
    let summary = flows::usage_summary::read(&call.app.lists, &query).await.map_err(ApiError::answered)?;
    drop(slot);
    let summary = summary.map_err(|refusal| series_query::too_long(&refusal))?;
    call.envelope(
        &Text::new("Usage summary retrieved successfully", "使用汇总查询成功"),
        SummaryBody::new(start, end, query.zone.name(), summary, call.language),
    )
}

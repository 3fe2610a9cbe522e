//! `GET /api/v1/users/{user_id}/usage/stats`: sums over usage records (HTTP contract 4.3).

use std::collections::BTreeMap;

use kernel::{CreditsSum, UsdSum};

use super::{
    filter::FilterInput,
    series_body::{CoverageName, coverage},
};
use crate::http::prelude::*;

/// Sums over the records that the filters let through.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageStats {
    /// Records less corrections.
    total_records: i64,
    #[schema(value_type = f64)]
    total_credits_charged: CreditsSum,
    /// Credits that the charges of the records took from the balance. Corrections count, other refunds do not.
    #[schema(value_type = f64)]
    total_credits_deducted: CreditsSum,
    #[schema(value_type = f64)]
    total_cost_usd: UsdSum,
    #[schema(value_type = i64)]
    total_tokens_used: i128,
    /// Records by kind of use.
    by_event_type: BTreeMap<String, i64>,
    /// Records by model; those without one are left out.
    by_model: BTreeMap<String, i64>,
    /// Records by provider; those without one are left out.
    by_provider: BTreeMap<String, i64>,
    date_range: DateRange,
    /// Absent when the sums are about exactly the window. `whole_quarters`: an end of the window lies in a month whose
    /// records were dropped, and the whole quarter of an hour is summed up there. `kept_records`: with `session_id` or
    /// `recorded_by`, what was dropped is missing.
    #[schema(value_type = Option<CoverageName>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'static str>,
}

/// The requested window.
#[derive(Debug, Serialize, ToSchema)]
pub struct DateRange {
    start_date: Option<String>,
    end_date: Option<String>,
}

pub fn doc() -> Doc {
    Doc::new("usage", "Usage statistics").description(
        "Exact as of the read. A record that was taken back and its correction add up to nothing, also in counts.",
    ).query::<FilterInput>().reply_envelope::<UsageStats>(
        "Statistics retrieved successfully",
        json!({
            "total_records": 150, "total_credits_charged": 750.5, "total_credits_deducted": 700.0,
            "total_cost_usd": 15.01, "total_tokens_used": 225_000, "by_event_type": {"ai_chat": 120, "api_call": 30},
            "by_model": {"gpt-4": 100, "gpt-3.5-turbo": 50}, "by_provider": {"openai": 140, "anthropic": 10},
            "date_range": {"start_date": "2025-01-01T00:00:00Z", "end_date": "2025-07-25T23:59:59Z"},
        }),
    )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let filter = call.fields.input::<FilterInput>()?.into();
    let echo = |name| call.fields.query_text(name).map(str::to_owned);
    let date_range = DateRange { start_date: echo("start_date"), end_date: echo("end_date") };
    let user_id = call.user().await?;
    let stats = call.read(async |conn| usage::stats(conn, &user_id, &filter).await).await?;
    let data = UsageStats {
        total_records: stats.total_records,
        total_credits_charged: stats.total_credits_charged,
        total_credits_deducted: stats.total_credits_deducted,
        total_cost_usd: stats.total_cost_usd,
        total_tokens_used: stats.total_tokens_used,
        by_event_type: stats.by_event_type,
        by_model: stats.by_model,
        by_provider: stats.by_provider,
        date_range,
        coverage: coverage(stats.coverage),
    };
    call.envelope(&Text::new("Statistics retrieved successfully", "统计查询成功"), data)
}

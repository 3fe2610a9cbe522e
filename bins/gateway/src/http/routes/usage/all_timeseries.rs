//! `GET /api/v1/usage/timeseries`: sums over time across users (HTTP contract 4.6).

use usage::{Dimension, TopQuery, Users};

use super::{
    series_body::{Metric, Timeseries},
    series_query::{self, Asked, SeriesContext, SeriesInput, Words},
};
use crate::http::{fields::input::Input, prelude::*};

const WORDS: Words = Words {
    dimensions: &[
        ("model", Dimension::Model),
        ("provider", Dimension::Provider),
        ("event_type", Dimension::EventType),
        ("tool", Dimension::Tool),
        ("user", Dimension::User),
    ],
    metrics: &[
        ("records", Metric::Records),
        ("active_users", Metric::ActiveUsers),
        ("credits_charged", Metric::CreditsCharged),
        ("credits_deducted", Metric::CreditsDeducted),
        ("cost_usd", Metric::CostUsd),
        ("tokens_used", Metric::TokensUsed),
        ("prompt_tokens", Metric::PromptTokens),
        ("completion_tokens", Metric::CompletionTokens),
    ],
};
/// Series with a name of their own.
const TOP: u16 = 20;
const TOP_MAX: u16 = 100;

input! {
    /// Parameters of sums over time, across users.
    pub struct AllSeriesInput for context: SeriesContext {
        /// Number of series with a line of their own: those with the most credits, then with the most records.
        top: Option<u16> = optional(Query, parse::integer(1, i64::from(TOP_MAX))), default(TOP), example(20);
        /// Same fields as for one user.
        series: SeriesInput = flat(SeriesInput, context);
    }
}

pub fn doc() -> Doc {
    Doc::new("usage", "Usage over time across users").description(
        "Exact as of the read. Series beyond `top` are added up in one with the group `{\"other\": true}`. The total of \
         `active_users` is the number of different users of the window, not a sum; a user is active where he has a record, \
         taken back or not. Counting users is dear by quarters of an hour, and in zones of half hours: leave that metric \
         out where it is not needed. At most 20,000 points: buckets times series.",
    )
        .query_for::<AllSeriesInput>(&SeriesContext::documented(&WORDS))
        .reply_envelope::<Timeseries>(
            "Time series retrieved successfully",
            json!({
                "bucket": "1d", "tz": "Asia/Shanghai",
                "start": "2025-07-01T16:00:00.000000Z", "end": "2025-07-02T16:00:00.000000Z", "group_by": ["model"],
                "series": [{
                    "group": {"model": "gpt-4"},
                    "points": [{
                        "start": "2025-07-01T16:00:00.000000Z", "end": "2025-07-02T16:00:00.000000Z", "records": 12,
                        "active_users": 3, "credits_charged": 60.0, "credits_deducted": 60.0, "cost_usd": 0.12,
                        "tokens_used": 9000, "prompt_tokens": 6000, "completion_tokens": 3000,
                    }],
                    "totals": {
                        "records": 12, "active_users": 3, "credits_charged": 60.0, "credits_deducted": 60.0, "cost_usd": 0.12,
                        "tokens_used": 9000, "prompt_tokens": 6000, "completion_tokens": 3000,
                    },
                }],
            }),
        )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let context = SeriesContext::new(&call, &WORDS).await?;
    let input = call.fields.read(|fields| AllSeriesInput::read(fields, &context))?;
    let lines_max = input.top.unwrap_or(TOP);
    let asked = Asked::new(input.series, &context);
    call.known()?;
    let users =
        if asked.shape.metrics.contains(&Metric::ActiveUsers) { Users::Counted } else { Users::Uncounted };
    let (start, found) = call
        .read(async |conn| {
            let series = asked.query(conn).await?;
            let start = series.start;
            let query = TopQuery { series, lines_max, users };
            let found = usage::series_top(conn, &query).await?;
            Ok::<_, pg::DbError>((start, found))
        })
        .await?;
    let found = found.map_err(|refusal| series_query::refused(&refusal))?;
    call.envelope(
        &Text::new("Time series retrieved successfully", "时间序列查询成功"),
        Timeseries::new(start, found.series, found.rest, &asked.shape),
    )
}

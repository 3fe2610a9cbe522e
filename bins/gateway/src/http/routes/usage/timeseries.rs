//! `GET /api/v1/users/{user_id}/usage/timeseries`: sums over time (HTTP contract 4.5).

use usage::{Dimension, Line, Point, Series, Totals};

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
    ],
    metrics: &[
        ("records", Metric::Records),
        ("credits_charged", Metric::CreditsCharged),
        ("credits_deducted", Metric::CreditsDeducted),
        ("cost_usd", Metric::CostUsd),
        ("tokens_used", Metric::TokensUsed),
        ("prompt_tokens", Metric::PromptTokens),
        ("completion_tokens", Metric::CompletionTokens),
    ],
};

pub fn doc() -> Doc {
    Doc::new("usage", "Usage over time").description(
        "Exact as of the read. The points of a series add up to its totals, and those of all series to the statistics of the \
         window. At most 20,000 points: buckets times series.",
    ).query_for::<SeriesInput>(&SeriesContext::documented(&WORDS)).reply_envelope::<Timeseries>(
        "Time series retrieved successfully",
        json!({
            "bucket": "1d", "tz": "Asia/Shanghai",
            "start": "2025-07-01T16:00:00.000000Z", "end": "2025-07-02T16:00:00.000000Z", "group_by": ["model"],
            "series": [{
                "group": {"model": "gpt-4"},
                "points": [{
                    "start": "2025-07-01T16:00:00.000000Z", "end": "2025-07-02T16:00:00.000000Z", "records": 12,
                    "credits_charged": 60.0, "credits_deducted": 60.0, "cost_usd": 0.12, "tokens_used": 9000,
                    "prompt_tokens": 6000, "completion_tokens": 3000,
                }],
                "totals": {
                    "records": 12, "credits_charged": 60.0, "credits_deducted": 60.0, "cost_usd": 0.12, "tokens_used": 9000,
                    "prompt_tokens": 6000, "completion_tokens": 3000,
                },
            }],
        }),
    )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let context = SeriesContext::new(&call, &WORDS).await?;
    let input = call.fields.read(|fields| SeriesInput::read(fields, &context))?;
    let asked = Asked::new(input, &context);
    let user_id = call.user().await?;
    let (start, series) = call
        .read(async |conn| {
            let query = asked.query(conn).await?;
            let series = usage::series(conn, &user_id, &query).await?;
            Ok::<_, pg::DbError>((query.start, series))
        })
        .await?;
    let series = series.map_err(|refusal| series_query::refused(&refusal))?;
    call.envelope(
        &Text::new("Time series retrieved successfully", "时间序列查询成功"),
        Timeseries::new(start, without_users(series), None, &asked.shape),
    )
}

/// In a series of one user nobody counts users.
fn without_users(series: Series<Totals>) -> Series<Point> {
    let point = |totals| Point { totals, ..Point::default() };
    let line = |line: Line<Totals>| Line {
        group: line.group,
        points: line.points.into_iter().map(point).collect(),
        total: point(line.total),
    };
    Series {
        starts: series.starts,
        end: series.end,
        lines: series.lines.into_iter().map(line).collect(),
        coverage: series.coverage,
    }
}

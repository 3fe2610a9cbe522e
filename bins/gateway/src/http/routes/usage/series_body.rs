//! Answers with sums over time (HTTP contract 4.5 and 4.6).

use kernel::{CreditsSum, UsdSum, UserId};
use serde::Serialize;
use usage::{Coverage, Dimension, Group, Line, Point, Series, Unit};
use utoipa::ToSchema;
use web::words;

use crate::http::wire::Timestamp;

words! {
    /// Coverage of the sums of a window.
    CoverageName = ["whole_quarters", "kept_records"];
    /// Length of a bucket.
    BucketName = BUCKETS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
}

/// The lengths of buckets, by name.
pub const BUCKETS: &[(&str, Unit)] = &[
    ("15m", Unit::Quarter),
    ("1h", Unit::Hour),
    ("1d", Unit::Day),
    ("1w", Unit::Week),
    ("1mo", Unit::Month),
];

/// Value of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Number of records.
    Records,
    /// Their charges.
    CreditsCharged,
    /// Credits that the charges took from balances.
    CreditsDeducted,
    /// Cost of the providers.
    CostUsd,
    /// All tokens.
    TokensUsed,
    /// Tokens of the questions.
    PromptTokens,
    /// Tokens of the answers.
    CompletionTokens,
    /// Different users.
    ActiveUsers,
}

/// Parameters of the answer beside the sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Length of the buckets.
    pub unit: Unit,
    /// Name of the time zone.
    pub tz: String,
    /// Dimension of the series, as the caller wrote it.
    pub group_by: Vec<Dimension>,
    /// Values of the points.
    pub metrics: Vec<Metric>,
    /// True if buckets in which nothing happened have a point.
    pub fill: Fill,
}

/// Treatment of empty buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// They have a point of zeros.
    Zero,
    /// They have none.
    None,
}

/// Sums over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeseries {
    /// Length of a bucket.
    #[schema(value_type = BucketName, example = "1d")]
    bucket: &'static str,
    /// Time zone whose clocks the buckets follow.
    #[schema(example = "Asia/Shanghai")]
    tz: String,
    /// Beginning of the window.
    start: Timestamp,
    /// End of the window, not part of it.
    end: Timestamp,
    /// Dimensions that the series are split by.
    group_by: Vec<&'static str>,
    /// The series: those with the most credits first, then with the most records.
    series: Vec<TimeseriesLine>,
    /// Absent when the sums are about exactly the window. `whole_quarters`: an end of the window lies in a month whose
    /// records were dropped, and the whole quarter of an hour is summed up there. `kept_records`: with `session_id` or
    /// `recorded_by`, what was dropped is missing.
    #[schema(value_type = Option<CoverageName>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'static str>,
}

/// One series.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeseriesLine {
    /// Value of each dimension it is split by, null where records name none; `other` for all further series together.
    group: TimeseriesGroup,
    /// The points, in order.
    points: Vec<TimeseriesPoint>,
    /// Sums over the whole window; of active users their number, each counted once.
    totals: TimeseriesFigures,
}

/// Group of a series: the dimensions it is split by.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeseriesGroup {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    event_type: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    model: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    provider: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    tool: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    user: Option<Option<UserId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<bool>,
}

/// Usage in one bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeseriesPoint {
    /// Beginning of the bucket.
    start: Timestamp,
    /// End of the bucket, not part of it.
    end: Timestamp,
    #[serde(flatten)]
    figures: TimeseriesFigures,
}

/// The requested metrics.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeseriesFigures {
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<i64>,
    /// Different users with a record; across users only.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_users: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    credits_charged: Option<CreditsSum>,
    /// Credits that the charges of the records took from balances. Corrections count, other refunds do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    credits_deducted: Option<CreditsSum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    cost_usd: Option<UsdSum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    tokens_used: Option<i128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    prompt_tokens: Option<i128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    completion_tokens: Option<i128>,
}

impl Timeseries {
    /// The answer for a window that begins at `start`.
    #[must_use]
    pub fn new(
        start: time::OffsetDateTime,
        series: Series<Point>,
        rest: Option<Line<Point>>,
        shape: &Shape,
    ) -> Self {
        let ends = series.starts.iter().skip(1).copied().chain([series.end]);
        let spans: Vec<_> = series.starts.iter().copied().zip(ends).collect();
        let line = |group: TimeseriesGroup, line: Line<Point>| TimeseriesLine {
            group,
            points: spans
                .iter()
                .zip(&line.points)
                .filter(|(_, point)| shape.fill == Fill::Zero || **point != Point::default())
                .map(|((start, end), point)| TimeseriesPoint {
                    start: Timestamp(*start),
                    end: Timestamp(*end),
                    figures: TimeseriesFigures::new(point, &shape.metrics),
                })
                .collect(),
            totals: TimeseriesFigures::new(&line.total, &shape.metrics),
        };
        let mut lines: Vec<TimeseriesLine> = Vec::with_capacity(series.lines.len().saturating_add(1));
        for one in series.lines {
            lines.push(line(TimeseriesGroup::new(&one.group, &shape.group_by), one));
        }
        lines.extend(rest.map(|rest| line(TimeseriesGroup::other(), rest)));
        Self {
            bucket: name_of(BUCKETS, shape.unit),
            tz: shape.tz.clone(),
            start: Timestamp(start),
            end: Timestamp(series.end),
            group_by: shape.group_by.iter().map(|one| dimension_name(*one)).collect(),
            series: lines,
            coverage: coverage(series.coverage),
        }
    }
}

/// The word for sums that are not about exactly what was asked for.
#[must_use]
pub fn coverage(coverage: Coverage) -> Option<&'static str> {
    match coverage {
        Coverage::Exact => None,
        Coverage::WholeQuarters => Some("whole_quarters"),
        Coverage::KeptRecords => Some("kept_records"),
    }
}

impl TimeseriesGroup {
    fn new(group: &Group, by: &[Dimension]) -> Self {
        Self {
            event_type: by.contains(&Dimension::EventType).then(|| group.event_type.clone()),
            model: by.contains(&Dimension::Model).then(|| group.model.clone()),
            provider: by.contains(&Dimension::Provider).then(|| group.provider.clone()),
            tool: by.contains(&Dimension::Tool).then(|| group.tool.clone()),
            user: by.contains(&Dimension::User).then(|| group.user_id.clone()),
            other: None,
        }
    }

    fn other() -> Self {
        Self { other: Some(true), ..Self::new(&Group::default(), &[]) }
    }
}

impl TimeseriesFigures {
    fn new(point: &Point, metrics: &[Metric]) -> Self {
        let asked = |metric| metrics.contains(&metric);
        let sums = &point.totals;
        Self {
            records: asked(Metric::Records).then_some(sums.records),
            active_users: asked(Metric::ActiveUsers).then_some(point.active_users),
            credits_charged: asked(Metric::CreditsCharged).then_some(sums.credits_charged),
            credits_deducted: asked(Metric::CreditsDeducted).then_some(sums.credits_deducted),
            cost_usd: asked(Metric::CostUsd).then_some(sums.cost_usd),
            tokens_used: asked(Metric::TokensUsed).then_some(sums.tokens_used),
            prompt_tokens: asked(Metric::PromptTokens).then_some(sums.prompt_tokens),
            completion_tokens: asked(Metric::CompletionTokens).then_some(sums.completion_tokens),
        }
    }
}

fn dimension_name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::EventType => "event_type",
        Dimension::Model => "model",
        Dimension::Provider => "provider",
        Dimension::Tool => "tool",
        Dimension::User => "user",
    }
}

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, one)| *one == value).map_or("", |(name, _)| *name)
}

//! Sums over time.

use std::collections::BTreeSet;

use kernel::{CreditsSum, UsdSum, UserId};
use time::OffsetDateTime;

use crate::{Coverage, Selection, Zone};

/// Most points of one answer: buckets times lines (HTTP contract 4.5).
pub const POINTS_MAX: i64 = 20_000;

/// Length of a bucket, on the clocks of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A quarter of an hour.
    Quarter,
    /// An hour; where clocks are set by half an hour, one of 30 minutes.
    Hour,
    /// A day, of 23 to 25 hours where clocks are set.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
}

/// Dimension by which a series is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// The kind of event.
    EventType,
    /// The model.
    Model,
    /// Provider of the model.
    Provider,
    /// The tool.
    Tool,
    /// The user; one line only in a series of one user.
    User,
}

/// Parameters of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesQuery {
    /// Beginning of the window.
    pub start: OffsetDateTime,
    /// End of the window, not part of it.
    pub end: OffsetDateTime,
    /// Length of the buckets.
    pub unit: Unit,
    /// Time zone of the buckets.
    pub zone: Zone,
    /// One line for each combination of values that occurs; empty for one line in all.
    pub group_by: BTreeSet<Dimension>,
    /// Its filter.
    pub only: Selection,
}

/// Sums of records. Wider than what they add up, so that they are exact for any number of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Number of there are, less corrections.
    pub records: i64,
    /// Their charges.
    pub credits_charged: CreditsSum,
    /// Credits that were taken from balances: see [`crate::Stats::total_credits_deducted`].
    pub credits_deducted: CreditsSum,
    /// Cost of the providers.
    pub cost_usd: UsdSum,
    /// All tokens.
    pub tokens_used: i128,
    /// Tokens of the questions.
    pub prompt_tokens: i128,
    /// Tokens of the answers.
    pub completion_tokens: i128,
}

/// The values of a line. `None` where records name none, and for what the series is not split by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Group {
    /// Kind of event.
    pub event_type: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Provider of the model.
    pub provider: Option<String>,
    /// Tool.
    pub tool: Option<String>,
    /// User.
    pub user_id: Option<UserId>,
}

/// One line of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<T> {
    /// Its subject.
    pub group: Group,
    /// One point a bucket, zero where nothing happened.
    pub points: Vec<T>,
    /// Over the whole window. For sums that of the points; not for active users, who may be active in several buckets.
    pub total: T,
}

/// Buckets, and a line for each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series<T> {
    /// The beginnings of the buckets. Each ends where the next begins, the last one at the end of the window; the first one
    /// begins with the window, also in the middle of its day.
    pub starts: Vec<OffsetDateTime>,
    /// The end of the last bucket.
    pub end: OffsetDateTime,
    /// The lines: those with the most credits (or users) first, then with the most records. Without grouping exactly one.
    pub lines: Vec<Line<T>>,
    /// Scope of the sums.
    pub coverage: Coverage,
}

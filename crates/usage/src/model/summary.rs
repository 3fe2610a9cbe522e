//! Activity across users, at a glance.

use kernel::{CallerClass, UsdSum};
use time::{Date, OffsetDateTime};

use crate::{Coverage, Group, Point, Zone};

/// Parameters of a summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryQuery {
    /// Beginning of the window.
    pub start: OffsetDateTime,
    /// End of the window, not part of it.
    pub end: OffsetDateTime,
    /// Time zone of the days.
    pub zone: Zone,
    /// Only records by callers of this class; records without a class do not match.
    pub recorded_by: Option<CallerClass>,
}

/// Sums of a window across users (HTTP contract 4.7).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Everything.
    pub total: Point,
    /// Each local day, in order.
    pub days: Vec<Day>,
    /// By kind of event and tool: those with the most credits, at most [`crate::SUMMARY_GROUPS_MAX`]. One of which everything
    /// was taken back is there for its users.
    pub features: Vec<(Group, Point)>,
    /// By model and provider: those with the highest cost, at most [`crate::SUMMARY_GROUPS_MAX`]. Users are not counted here.
    pub models: Vec<(Group, Point)>,
    /// The model with the highest cost, whoever provides it, if there is any cost.
    pub costliest: Option<(String, UsdSum)>,
    /// Models without a price.
    pub unrated: Vec<UnratedModel>,
    /// Scope of the sums.
    pub coverage: Coverage,
}

/// Activity on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its date in the zone.
    pub date: Date,
    /// When it begins, or the window does.
    pub starts: OffsetDateTime,
    /// The sums.
    pub point: Point,
}

/// A model that was used, with tokens, when it had no price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnratedModel {
    /// Its name.
    pub model: String,
    /// Number of of the newest records were such, of as many as were looked at; those that were taken back do not count.
    pub records: i64,
    /// True if all were looked at.
    pub counted: Counted,
}

/// Completeness of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// There are as many.
    All,
    /// There are at least as many.
    AtLeast,
}

/// Something that may be worth a look, found by a fixed rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suggestion {
    /// One model makes more than half of the cost.
    CostlyModel {
        /// Its name.
        model: String,
        /// Its share of the cost, in whole per cent.
        percent: u8,
    },
    /// More than 80 % of the tokens are those of questions.
    LongPrompts {
        /// Their share, in whole per cent.
        percent: u8,
    },
    /// A model was used that has no price.
    UnpricedModel(UnratedModel),
}

//! The answer with a summary (HTTP contract 4.7).

use flows::usage_summary::UsageSummary;
use kernel::{CreditsSum, UsdSum};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use usage::{Counted, Group, Point, Suggestion};
use utoipa::ToSchema;
use web::words;

use super::series_body::{CoverageName, coverage};
use crate::http::{
    language::{Language, Text},
    wire::Timestamp,
};

words! {
    /// Rule of a suggestion.
    SuggestionCode = ["costly_model", "long_prompts", "unpriced_model"];
}

/// Usage across users.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageSummary)]
pub struct SummaryBody {
    period: Period,
    totals: SummaryTotals,
    /// One entry a local day.
    active_users_trend: Vec<ActiveUsers>,
    /// Those with the most credits first.
    feature_use: Vec<FeatureUse>,
    /// Those with the highest cost first.
    cost_by_model: Vec<ModelCost>,
    suggestions: Vec<SuggestionBody>,
    /// Absent when the sums are about exactly the window; `whole_quarters` when an end of it lies in a month whose records
    /// were dropped, `kept_records` when, with `recorded_by`, what was dropped is missing.
    #[schema(value_type = Option<CoverageName>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'static str>,
}

/// The window; both ends belong to it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SummaryPeriod)]
pub struct Period {
    start_date: Timestamp,
    end_date: Timestamp,
    /// Time zone of the days.
    tz: String,
}

/// Sums of the window.
#[derive(Debug, Serialize, ToSchema)]
pub struct SummaryTotals {
    records: i64,
    /// Different users with a record.
    active_users: i64,
    /// Users created in the window.
    new_users: i64,
    #[schema(value_type = f64)]
    credits_charged: CreditsSum,
    /// Credits that the charges took from balances. Corrections count, other refunds do not.
    #[schema(value_type = f64)]
    credits_deducted: CreditsSum,
    #[schema(value_type = f64)]
    cost_usd: UsdSum,
    #[schema(value_type = i64)]
    tokens_used: i128,
}

/// A day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActiveUsersOfDay)]
pub struct ActiveUsers {
    /// Date in the time zone.
    #[schema(example = "2025-07-01")]
    date: String,
    active_users: i64,
    new_users: i64,
    records: i64,
}

/// Sums of an event type.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeatureUse {
    event_type: Option<String>,
    tool_name: Option<String>,
    records: i64,
    /// Different users.
    users: i64,
    #[schema(value_type = f64)]
    credits_charged: CreditsSum,
    /// Credits that the charges took from balances. Corrections count, other refunds do not.
    #[schema(value_type = f64)]
    credits_deducted: CreditsSum,
}

/// Sums of a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelCost {
    model_name: Option<String>,
    provider: Option<String>,
    records: i64,
    #[schema(value_type = i64)]
    tokens_used: i128,
    #[schema(value_type = f64)]
    credits_charged: CreditsSum,
    /// Credits that the charges took from balances. Corrections count, other refunds do not.
    #[schema(value_type = f64)]
    credits_deducted: CreditsSum,
    #[schema(value_type = f64)]
    cost_usd: UsdSum,
}

/// A suggestion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageSuggestion)]
pub struct SuggestionBody {
    /// costly_model, long_prompts or unpriced_model.
    #[schema(value_type = SuggestionCode, example = "costly_model")]
    code: &'static str,
    /// The same in a sentence.
    message: String,
    evidence: Evidence,
}

/// The figures behind a suggestion.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = UsageEvidence)]
pub struct Evidence {
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    /// 0 to 1, rounded to whole per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    share: Option<Share>,
    /// Records without a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<i64>,
    /// There such, when there may be more of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<bool>,
}

/// Whole per cent, written as a decimal between 0 and 1.
#[derive(Debug, Clone, Copy)]
pub struct Share(u8);

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = format!("{}.{:02}", self.0 / 100, self.0 % 100);
        let text = text.strip_suffix('0').unwrap_or(&text).to_owned();
        RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl SummaryBody {
    /// The answer for a window from `start` to `end`, both of which belong to it.
    #[must_use]
    pub fn new(
        start: OffsetDateTime,
        end: OffsetDateTime,
        tz: &str,
        summary: UsageSummary,
        language: Language,
    ) -> Self {
        let UsageSummary { usage, new_users } = summary;
        let suggestions = usage::suggestions(&usage);
        let sums = usage.total.totals;
        let days = usage.days.iter().zip(&new_users);
        Self {
            period: Period { start_date: Timestamp(start), end_date: Timestamp(end), tz: tz.to_owned() },
            totals: SummaryTotals {
                records: sums.records,
                active_users: usage.total.active_users,
                new_users: new_users.iter().sum(),
                credits_charged: sums.credits_charged,
                credits_deducted: sums.credits_deducted,
                cost_usd: sums.cost_usd,
                tokens_used: sums.tokens_used,
            },
            active_users_trend: days
                .map(|(day, new_users)| ActiveUsers {
                    date: day.date.to_string(),
                    active_users: day.point.active_users,
                    new_users: *new_users,
                    records: day.point.totals.records,
                })
                .collect(),
            feature_use: usage.features.into_iter().map(FeatureUse::from).collect(),
            cost_by_model: usage.models.into_iter().map(ModelCost::from).collect(),
            suggestions: suggestions.into_iter().map(|one| SuggestionBody::new(one, language)).collect(),
            coverage: coverage(usage.coverage),
        }
    }
}

impl From<(Group, Point)> for FeatureUse {
    fn from((group, point): (Group, Point)) -> Self {
        Self {
            event_type: group.event_type,
            tool_name: group.tool,
            records: point.totals.records,
            users: point.active_users,
            credits_charged: point.totals.credits_charged,
            credits_deducted: point.totals.credits_deducted,
        }
    }
}

impl From<(Group, Point)> for ModelCost {
    fn from((group, point): (Group, Point)) -> Self {
        Self {
            model_name: group.model,
            provider: group.provider,
            records: point.totals.records,
            tokens_used: point.totals.tokens_used,
            credits_charged: point.totals.credits_charged,
            credits_deducted: point.totals.credits_deducted,
            cost_usd: point.totals.cost_usd,
        }
    }
}

impl SuggestionBody {
    fn new(suggestion: Suggestion, language: Language) -> Self {
        let (code, text, evidence) = match suggestion {
            Suggestion::CostlyModel { model, percent } => (
                "costly_model",
                Text::new(
                    format!("{model} makes {percent} % of the cost"),
                    format!("{model} 占成本的 {percent} %"),
                ),
                Evidence { share: Some(Share(percent)), model_name: Some(model), ..Evidence::default() },
            ),
            Suggestion::LongPrompts { percent } => (
                "long_prompts",
                Text::new(
                    format!("prompts make {percent} % of the tokens"),
                    format!("提示词占令牌的 {percent} %"),
                ),
                Evidence { share: Some(Share(percent)), ..Evidence::default() },
            ),
            Suggestion::UnpricedModel(unrated) => {
                let (model, records) = (unrated.model, unrated.records);
                let more = unrated.counted == Counted::AtLeast;
                let (en, zh) = if more { ("at least ", "至少 ") } else { ("", " ") };
                (
                    "unpriced_model",
                    Text::new(
                        format!("{model} has no price for {en}{records} records"),
                        format!("{model} 有{zh}{records} 条记录没有价格"),
                    ),
                    Evidence {
                        model_name: Some(model),
                        records: Some(records),
                        at_least: more.then_some(true),
                        ..Evidence::default()
                    },
                )
            }
        };
        Self { code, message: text.in_language(language).to_owned(), evidence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_exactly() {
        for (percent, text) in [(0, "0.0"), (5, "0.05"), (50, "0.5"), (75, "0.75"), (100, "1.0")] {
            assert_eq!(serde_json::to_string(&Share(percent)).unwrap(), text);
        }
    }
}

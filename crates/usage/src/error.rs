//! Decided noes. A refusal is a value: it commits with its batch and does not disturb its neighbours.

use kernel::{Detail, Failure, Kind, rfc3339};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::rating::TokenClass;

/// Why something about usage is not done. Nothing was changed.
///
/// Those that are remembered can be written as JSON, in a form that is stored and never changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum UsageRefusal {
    /// The event id was used before, for another event.
    #[error("event {event_id} was recorded before with another content")]
    UsageConflict {
        /// The id.
        event_id: String,
    },
    /// The event lies too far back or ahead. Older events are an administrative import.
    #[error("occurred_at must be between {} and {}", rfc3339(*.earliest), rfc3339(*.latest))]
    #[serde(skip)]
    TimestampOutOfRange {
        /// The earliest instant that is accepted.
        earliest: OffsetDateTime,
        /// The latest instant that is accepted.
        latest: OffsetDateTime,
    },
    /// The event id is one of those that the service gives itself.
    #[error("event id {event_id} is reserved")]
    #[serde(skip)]
    ReservedEventId {
        /// The id.
        event_id: String,
    },
    /// The charge follows from a price that nobody put: an unknown price is never a free one.
    #[error("{}", unpriced(.provider.as_deref(), .model_name.as_deref(), *.token_class))]
    PriceNotFound {
        /// Provider of the model, if it was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
        /// The model, if one was named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model_name: Option<String>,
        /// The class that its price says nothing about.
        #[serde(default, with = "kernel::stored::text_option", skip_serializing_if = "Option::is_none")]
        token_class: Option<TokenClass>,
    },
    /// More tokens were cached than there were.
    #[error("cached_prompt_tokens is a part of prompt_tokens")]
    #[serde(skip)]
    PartExceedsWhole,
    /// The price times what was used is more than any account may hold.
    #[error("the charge is too large")]
    #[serde(skip)]
    ChargeTooLarge,
    /// The user has no such record, or it was dropped with its month.
    #[error("there is no usage record {id}")]
    UsageRecordNotFound {
        /// The id that was asked for.
        #[serde(with = "kernel::stored::text")]
        id: i64,
    },
    /// The record was taken back before, or is itself a correction.
    #[error("usage record {id} was corrected before, or is a correction")]
    AlreadyCorrected {
        /// The record.
        #[serde(with = "kernel::stored::text")]
        id: i64,
    },
    /// The database knows no such time zone.
    #[error("there is no time zone {zone}")]
    #[serde(skip)]
    InvalidTimeZone {
        /// The amount asked for.
        zone: String,
    },
    /// A series would have more points than one answer may have.
    #[error("a series has at most {limit} points")]
    #[serde(skip)]
    TooManyPoints {
        /// Most buckets times series.
        limit: i64,
    },
    /// No price was given, or too many at once.
    #[error("1 to {limit} prices can be put at once")]
    #[serde(skip)]
    PriceCount {
        /// Most at once.
        limit: usize,
    },
    /// A price says nothing: neither a rate nor that it is retired.
    #[error("price {place} has no rate")]
    #[serde(skip)]
    PriceWithoutRates {
        /// Its place in the request, from 0.
        place: usize,
    },
    /// A price would change what was.
    #[error("price {place} would begin before {}", rfc3339(*.earliest))]
    #[serde(skip)]
    PriceInPast {
        /// Its place in the request, from 0.
        place: usize,
        /// The earliest beginning.
        earliest: OffsetDateTime,
    },
    /// The request has two prices of the same provider, model, tier and step.
    #[error("price {place} is of the same provider, model, tier and step as one before it")]
    #[serde(skip)]
    PriceTwice {
        /// Place of the second one in the request, from 0.
        place: usize,
    },
    /// A version begins at that instant already, and versions are never edited.
    #[error("price {place} would begin at the same instant as a version that exists")]
    #[serde(skip)]
    PriceExists {
        /// Its place in the request, from 0.
        place: usize,
    },
}

impl UsageRefusal {
    /// Returns whether the refusal depended on stored data, so that a repeat under the same idempotency key must be refused again
    /// even if it could be done by now (HTTP contract 1.11).
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        matches!(
            self,
            Self::UsageConflict { .. }
                | Self::PriceNotFound { .. }
                | Self::UsageRecordNotFound { .. }
                | Self::AlreadyCorrected { .. }
        )
    }
}

impl UsageRefusal {
    fn code_and_kind(&self) -> (&'static str, Kind) {
        match self {
            Self::UsageConflict { .. } => ("UsageConflictException", Kind::Conflict),
            Self::UsageRecordNotFound { .. } => ("UsageRecordNotFoundException", Kind::NotFound),
            Self::AlreadyCorrected { .. } => ("AlreadyCorrectedException", Kind::Conflict),
            Self::PriceNotFound { .. } => ("PriceNotFoundException", Kind::Invalid),
            Self::TimestampOutOfRange { .. }
            | Self::ReservedEventId { .. }
            | Self::InvalidTimeZone { .. }
            | Self::PartExceedsWhole
            | Self::ChargeTooLarge
            | Self::TooManyPoints { .. }
            | Self::PriceCount { .. }
            | Self::PriceWithoutRates { .. }
            | Self::PriceInPast { .. }
            | Self::PriceTwice { .. }
            | Self::PriceExists { .. } => ("ValidationException", Kind::Invalid),
        }
    }
}

impl Failure for UsageRefusal {
    fn code(&self) -> &'static str {
        self.code_and_kind().0
    }

    fn kind(&self) -> Kind {
        self.code_and_kind().1
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        let field = |name: &str| ("field", Detail::Text(name.to_owned()));
        match self {
            Self::UsageConflict { event_id } => vec![("event_id", Detail::Text(event_id.clone()))],
            Self::ReservedEventId { event_id } => {
                vec![field("event_id"), ("event_id", Detail::Text(event_id.clone()))]
            }
            Self::TimestampOutOfRange { earliest, latest } => vec![
                field("occurred_at"),
                ("earliest", Detail::Time(*earliest)),
                ("latest", Detail::Time(*latest)),
            ],
            Self::UsageRecordNotFound { id } | Self::AlreadyCorrected { id } => {
                vec![("id", Detail::Integer(*id))]
            }
            Self::InvalidTimeZone { zone } => vec![("zone", Detail::Text(zone.clone()))],
            Self::PriceNotFound { provider, model_name, token_class } => {
                let given = |name, text: &Option<String>| Some((name, Detail::Text(text.clone()?)));
                let class = token_class.map(|class| ("token_class", Detail::Text(class.to_string())));
                let named = [given("provider", provider), given("model_name", model_name), class];
                named.into_iter().flatten().collect()
            }
            Self::PartExceedsWhole => vec![field("cached_prompt_tokens")],
            Self::ChargeTooLarge => Vec::new(),
            Self::PriceCount { limit } => vec![("limit", Detail::Integer(count(*limit)))],
            Self::PriceInPast { place, earliest } => {
                vec![("place", Detail::Integer(count(*place))), ("earliest", Detail::Time(*earliest))]
            }
            Self::PriceWithoutRates { place } | Self::PriceTwice { place } | Self::PriceExists { place } => {
                vec![("place", Detail::Integer(count(*place)))]
            }
            Self::TooManyPoints { limit } => vec![("limit", Detail::Integer(*limit))],
        }
    }
}

/// Missing price for the charge of an event.
fn unpriced(provider: Option<&str>, model_name: Option<&str>, token_class: Option<TokenClass>) -> String {
    match (model_name, token_class, provider) {
        (None, _, _) => "model_name or credits_charged is required for a charge".to_owned(),
        (Some(model), Some(class), _) => format!("the price of model '{model}' has no rate for {class}"),
        (Some(model), None, Some(provider)) => {
            format!("there is no price for model '{model}' of provider '{provider}'")
        }
        (Some(model), None, None) => format!("there is no price for model '{model}' without a provider"),
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

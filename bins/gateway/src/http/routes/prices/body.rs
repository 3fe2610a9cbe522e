//! Prices in answers (HTTP contract 4.8).

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use usage::{
    PriceVersion,
    rating::{Price, Rate, TokenClass},
};
use utoipa::ToSchema;

use crate::http::{exact::Exact, wire::Timestamp};

/// A version of a price.
#[derive(Debug, Serialize, ToSchema)]
pub struct PriceBody {
    /// Id of the version.
    pub id: i64,
    /// Model, compared exactly.
    #[schema(example = "gpt-4")]
    pub model_name: String,
    /// Provider; null for every provider that has no price of its own for the model.
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// Tier of service; null for the usual one.
    pub service_tier: Option<String>,
    /// Input tokens from which these rates hold; of several steps the highest that is reached does.
    pub min_context: i64,
    /// Rates by class; a class that is not here has no price.
    #[schema(value_type = std::collections::HashMap<String, RateBody>)]
    pub rates: Rates,
    /// Beginning of its validity.
    pub valid_from: Timestamp,
    /// Beginning of the next version.
    pub valid_until: Option<Timestamp>,
    /// True if the model has no price any more.
    pub retired: bool,
    /// Source of the figures.
    pub source: String,
}

/// Rate of a class.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateBody {
    /// Credits that the user pays for `per` units.
    #[schema(value_type = f64, example = 1500.0)]
    pub credits: Exact,
    /// US dollars that the provider takes for them.
    #[schema(value_type = f64, example = 30.0)]
    pub cost_usd: Exact,
    /// Units: 1,000,000 tokens, or 1 image, request or second.
    #[schema(example = 1_000_000)]
    pub per: i64,
}

/// Rates in the order of classes.
#[derive(Debug)]
pub struct Rates(Vec<(TokenClass, Rate)>);

impl Serialize for Rates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(class, rate)| (class.as_str(), rate_body(*class, *rate))))
    }
}

fn rate_body(class: TokenClass, rate: Rate) -> RateBody {
    let per = class.per();
    RateBody {
        credits: Exact(Rate::text(rate.charge_pico, per)),
        cost_usd: Exact(Rate::text(rate.cost_pico, per)),
        per: per.units(),
    }
}

impl From<PriceVersion> for PriceBody {
    fn from(version: PriceVersion) -> Self {
        let Price { id, key, min_context, valid_from, is_retired, rates } = version.price;
        let named = |name: String| (!name.is_empty()).then_some(name);
        Self {
            id,
            model_name: key.model,
            provider: named(key.provider),
            service_tier: named(key.service_tier),
            min_context,
            rates: Rates(rates.into_iter().collect()),
            valid_from: Timestamp(valid_from),
            valid_until: version.valid_until.map(Timestamp),
            retired: is_retired,
            source: version.source,
        }
    }
}

/// A price in the documents.
pub fn price_example() -> Value {
    json!({
        "id": 7, "model_name": "gpt-4", "provider": "openai", "service_tier": null, "min_context": 0,
        "rates": {
            "input": {"credits": 1500.0, "cost_usd": 30.0, "per": 1_000_000},
            "cache_read": {"credits": 750.0, "cost_usd": 15.0, "per": 1_000_000},
            "output": {"credits": 4500.0, "cost_usd": 60.0, "per": 1_000_000},
            "request": {"credits": 0.01, "cost_usd": 0.0, "per": 1},
        },
        "valid_from": "2025-07-25T01:15:30.123000Z", "valid_until": null, "retired": false,
        "source": "contract of 2025",
    })
}

//! Prices as they are put and listed.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::rating::{Key, Price, Rate, TokenClass};

/// Most prices that are put at once (HTTP contract 4.8).
pub const PRICES_MAX: usize = 500;

/// A version of a price that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrice {
    /// Of what. An empty provider stands for every provider without a price of its own for the model.
    pub key: Key,
    /// The step: input tokens from which it applies, not below 0.
    pub min_context: i64,
    /// When it begins, in whole microseconds; now if absent.
    pub valid_from: Option<OffsetDateTime>,
    /// Its text.
    pub offer: Offer,
    /// Where the figures are from, for people.
    pub source: String,
}

/// Content of a version of a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// A unit of each of these classes has this rate; of others the rate is unknown.
    Rates(BTreeMap<TokenClass, Rate>),
    /// There is no price any more.
    Retired,
}

/// A version of a price with its end and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceVersion {
    /// The version.
    pub price: Price,
    /// When the next version of the same key and step begins, if there is one.
    pub valid_until: Option<OffsetDateTime>,
    /// Where the figures are from, for people.
    pub source: String,
    /// Author: `admin`, or `system` for what the service brought along.
    pub actor: String,
    /// When it was put.
    pub created_at: OffsetDateTime,
}

/// Filter of the prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceFilter {
    /// Of this model only.
    pub model_name: Option<String>,
    /// The versions that hold at this instant.
    pub at: OffsetDateTime,
}

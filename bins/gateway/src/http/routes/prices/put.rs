//! `PUT /api/v1/prices`: new versions of prices, all or none (HTTP contract 4.8).

use std::collections::BTreeMap;

use identity::audit::{self, Action};
use time::OffsetDateTime;
use usage::{
    NewPrice, Offer, PRICES_MAX, UsageRefusal, prices,
    rating::{Key, Per, Rate, TokenClass},
};

use super::body::{PriceBody, price_example};
use crate::http::{
    fault::{Fault, Problem, Step},
    fields::{
        Fields, Source, Value,
        input::{Input, reference},
        parser::parser,
        time::instant,
    },
    prelude::*,
};

/// Greatest step by context length, in tokens.
const CONTEXT_MAX: i64 = parse::TOKENS_MAX;

input! {
    /// Prices to put.
    pub struct PutPrices {
        /// The prices.
        prices: Vec<PutPrice> = objects(1..=PRICES_MAX, PutPrice);
    }
}

input! {
    /// A version of a price that is to begin.
    pub struct PutPrice {
        /// Model, compared exactly.
        model_name: String = required(Body, parse::text(1, 255)), example("gpt-4");
        /// Provider; null for every provider that has no price of its own for the model.
        provider: Option<String> = optional(Body, parse::text(1, 255)), example("openai");
        /// Tier of service; null for the usual one.
        service_tier: Option<String> = optional(Body, parse::text(1, 255));
        /// Input tokens from which these rates hold.
        min_context: Option<i64> = optional(Body, parse::integer(0, CONTEXT_MAX)), default(0);
        /// From when on it holds, not in the past; now if absent. A date without a time is the first instant of that day in UTC; the
        /// date of today has passed.
        valid_from: Option<OffsetDateTime> = optional(Body, instant());
        /// Source of the figures.
        source: Option<String> = optional(Body, parse::text(1, 255)), default("api");
        /// True if the model has no price any more; then without rates.
        retired: Option<bool> = optional(Body, parse::boolean());
        /// Rates by class: input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_in, audio_out,
        /// image, request, second, token. Free is 0; a class that is not here has no price. Required unless `retired`.
        rates: Offer = custom(|fields| read_offer(fields, retired), false, rates());
    }
}

input! {
    /// Rate of a class.
    pub struct PutRate {
        /// Number of units that the rates are for.
        per: Per = required(Body, parse::per()), example(1_000_000), check(|_fields| { per?; });
        /// Credits that the user pays for `per` units; a whole number of 10^-12 credits for one unit.
        credits: i64 = required(Body, parse::rate(per.unwrap_or(Per::Million))), example(1500.0);
        /// US dollars that the provider takes for `per` units, at most 12 decimals for one unit; 0 if absent.
        cost_usd: Option<i64> = optional(Body, parse::rate(per.unwrap_or(Per::Million))), example(30.0);
    }
}

pub fn doc() -> Doc {
    Doc::new("prices", "Put prices")
        .description(
            "All or none. Each ends the running version of the same model, provider, tier and step where it begins; versions \
             are never edited. They count from the answer on, in every process.",
        )
        .body::<PutPrices>(json!({"prices": [{
            "model_name": "gpt-4", "provider": "openai", "source": "contract of 2025",
            "rates": {
                "input": {"credits": 1500.0, "cost_usd": 30.0, "per": 1_000_000},
                "cache_read": {"credits": 750.0, "cost_usd": 15.0, "per": 1_000_000},
                "output": {"credits": 4.5, "cost_usd": 0.06, "per": 1_000},
                "request": {"credits": 0.01, "per": 1},
            },
        }]}))
        .reply_list::<PriceBody>("Put 1 prices", price_example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let prices = call.input::<PutPrices>().await?.prices;
    let new: Vec<NewPrice> = prices.into_iter().map(NewPrice::from).collect();
    call.known()?;
    let actor = call.principal()?.actor();
    let clock = &*call.app.clock;
    let event = call.audit_event(Action::PricesSet).with(&facts(&new));
    let put = call
        .decide(async |tx| {
            let put = prices::put(tx, clock, actor, &new).await?;
            if put.is_ok() {
                audit::record(tx.conn(), std::slice::from_ref(&event)).await?;
            }
            Ok(put)
        })
        .await?;
    let put = put.map_err(|refusal| refused(&refusal))?;
    let items: Vec<PriceBody> = put.into_iter().map(PriceBody::from).collect();
    let count = items.len();
    let message = Text::new(format!("Put {count} prices"), format!("已设置 {count} 个价格"));
    call.envelope(&message, items)
}

/// Most models that the audit log names.
const NAMED_MAX: usize = 10;

/// Prices in the audit log: versions are never edited, so the models lead to them.
fn facts(new: &[NewPrice]) -> serde_json::Value {
    let models: Vec<&str> = new.iter().take(NAMED_MAX).map(|price| price.key.model.as_str()).collect();
    json!({"count": new.len(), "models": models})
}

impl From<PutPrice> for NewPrice {
    fn from(price: PutPrice) -> Self {
        Self {
            key: Key {
                provider: price.provider.unwrap_or_default(),
                model: price.model_name,
                service_tier: price.service_tier.unwrap_or_default(),
            },
            min_context: price.min_context.unwrap_or(0),
            valid_from: price.valid_from,
            offer: price.rates,
            source: price.source.unwrap_or_else(|| "api".to_owned()),
        }
    }
}

fn read_offer(fields: &mut Fields, retired: Option<bool>) -> Option<Offer> {
    if retired != Some(true) {
        let rates = fields.members("rates", 1..=TokenClass::all().count(), read_rate)?;
        return Some(Offer::Rates(BTreeMap::from_iter(rates)));
    }
    let without = |_: Value<'_>| Err::<(), _>(Problem::value("a price that is retired has no rates"));
    fields.optional(Source::Body, "rates", parser(|| json!({}), without));
    Some(Offer::Retired)
}

fn read_rate(fields: &mut Fields, class: &str) -> Option<(TokenClass, Rate)> {
    let Ok(class) = class.parse::<TokenClass>() else {
        let names: Vec<_> = TokenClass::all().map(|class| format!("'{class}'")).collect();
        fields.fault_here(Problem::new("enum", format!("Token class should be one of {}", names.join(", "))));
        return None;
    };
    let rate = PutRate::read(fields, &())?;
    Some((class, Rate { charge_pico: rate.credits, cost_pico: rate.cost_usd.unwrap_or(0) }))
}

/// The schema of the rates.
fn rates() -> (serde_json::Value, Vec<(String, serde_json::Value)>) {
    let (rate, components) = reference::<PutRate>(PutRate::NAME, &());
    let classes: Vec<_> = TokenClass::all().map(|class| class.to_string()).collect();
    let schema = json!({
        "type": "object", "minProperties": 1, "propertyNames": {"enum": classes}, "additionalProperties": rate,
    });
    (schema, components)
}

/// Refusal, reported at the field that caused it.
fn refused(refusal: &UsageRefusal) -> ApiError {
    let (place, field, what) = match refusal {
        UsageRefusal::PriceInPast { place, .. } => (*place, "valid_from", "valid_from is in the past"),
        UsageRefusal::PriceExists { place } => (
            *place,
            "valid_from",
            "a version of this price begins at this very instant, and versions are never edited",
        ),
        UsageRefusal::PriceTwice { place } => {
            (*place, "model_name", "the request has another price of this model, provider, tier and step")
        }
        other => return ApiError::from_failure(other),
    };
    let mut fault = Fault::field("body", field, Problem::value(what), None);
    fault.loc = vec!["body".into(), "prices".into(), Step::Position(place), field.into()];
    ApiError::faults(vec![fault])
}

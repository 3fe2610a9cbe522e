//! `PUT /api/v1/prices`: new versions of prices, all or none (HTTP contract 4.8).

use std::collections::BTreeMap;

use actix_web::http::Method;
use pg::Tx;
use serde_json::json;
use time::OffsetDateTime;
use usage::{
    NewPrice, Offer, PRICES_MAX, UsageRefusal, prices,
    rating::{Key, Rate, TokenClass},
};
use utoipa::ToSchema;

use super::PriceBody;
use crate::http::{
    call::Call,
    doc::Doc,
    error::ApiError,
    fault::{Fault, Place, Problem},
    fields::{Fields, Source, Value, parse, time::instant},
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
};

/// Greatest step by context length, in tokens.
const CONTEXT_MAX: i64 = parse::TOKENS_MAX;

/// Prices to put.
#[derive(Debug, ToSchema)]
pub struct PutPrices {
    /// 1 to 500 prices.
    pub prices: Vec<PutPrice>,
}

/// A version of a price that is to begin.
#[derive(Debug, ToSchema)]
pub struct PutPrice {
    /// Model, compared exactly.
    #[schema(example = "gpt-4")]
    pub model_name: String,
    /// Provider; null for every provider that has no price of its own for the model.
    #[schema(example = "openai")]
    pub provider: Option<String>,
    /// Tier of service; null for the usual one.
    pub service_tier: Option<String>,
    /// Input tokens from which these rates hold; 0 if absent.
    pub min_context: Option<i64>,
    /// What units cost, by class: input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_in, audio_out,
    /// image, request, second, token. What is free says 0; a class that is not here has no price.
    /// Required unless `retired`.
    pub rates: Option<std::collections::HashMap<String, PutRate>>,
    /// From when on it holds, not in the past; now if absent. A date without a time is the first instant of that day in UTC; the
    /// date of today has passed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_from: Option<OffsetDateTime>,
    /// True to say that there is no price any more; then without rates.
    pub retired: Option<bool>,
    /// Where the figures are from; `api` if absent.
    pub source: Option<String>,
}

/// What units of a class cost.
#[derive(Debug, ToSchema)]
pub struct PutRate {
    /// Credits that the user pays for `per` units; a whole number of 10^-12 credits for one unit.
    #[schema(value_type = f64, example = 1500.0)]
    pub credits: i64,
    /// US dollars that the provider takes for them, likewise; 0 if absent.
    #[schema(value_type = Option<f64>, example = 30.0)]
    pub cost_usd: Option<i64>,
    /// Units: 1, 1000 or 1000000.
    #[schema(example = 1_000_000)]
    pub per: i64,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::PUT,
        path: "/api/v1/prices",
        access: Access::Admin,
        body: BodyRule::Json,
        origin: Origin::Extension,
        operation: "put_prices",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
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
        .reply_list::<PriceBody>("Put 1 prices", super::price_example())
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let new = call
        .input(|fields| fields.objects("prices", 1..=PRICES_MAX, read_price))
        .await?;
    call.known()?;
    let actor = call.principal()?.actor();
    let mut tx = Tx::begin(&call.app.pool).await?;
    let put = match prices::put(&mut tx, &*call.app.clock, actor, &new).await {
        Ok(Ok(put)) => put,
        Ok(Err(refusal)) => {
            tx.rollback().await;
            return Err(refused(&refusal));
        }
        Err(error) => {
            tx.give_up(&error).await;
            return Err(error.into());
        }
    };
    tx.commit().await?;
    let items: Vec<PriceBody> = put.into_iter().map(PriceBody::from).collect();
    let count = items.len();
    let message = Text::new(format!("Put {count} prices"), format!("已设置 {count} 个价格"));
    call.envelope(&message, items)
}

fn read_price(fields: &mut Fields) -> Option<NewPrice> {
    let model = fields.required(Source::Body, "model_name", parse::text(1, 255));
    let mut named = |name| {
        let name = fields.optional(Source::Body, name, parse::text(1, 255));
        name.unwrap_or_default()
    };
    let (provider, service_tier) = (named("provider"), named("service_tier"));
    let min_context = fields.optional(Source::Body, "min_context", parse::integer(0, CONTEXT_MAX));
    let valid_from = fields.optional(Source::Body, "valid_from", instant);
    let source = fields.optional(Source::Body, "source", parse::text(1, 255));
    let offer = read_offer(fields);
    Some(NewPrice {
        key: Key {
            provider,
            model: model?,
            service_tier,
        },
        min_context: min_context.unwrap_or(0),
        valid_from,
        offer: offer?,
        source: source.unwrap_or_else(|| "api".to_owned()),
    })
}

fn read_offer(fields: &mut Fields) -> Option<Offer> {
    let retired = fields.optional(Source::Body, "retired", parse::boolean) == Some(true);
    if !retired {
        let rates = fields.members("rates", 1..=TokenClass::all().count(), read_rate)?;
        return Some(Offer::Rates(BTreeMap::from_iter(rates)));
    }
    let without = |_: Value<'_>| Err::<(), _>(Problem::value("a price that is retired has no rates"));
    fields.optional(Source::Body, "rates", without);
    Some(Offer::Retired)
}

fn read_rate(fields: &mut Fields, class: &str) -> Option<(TokenClass, Rate)> {
    let Ok(class) = class.parse::<TokenClass>() else {
        let names: Vec<_> = TokenClass::all().map(|class| format!("'{class}'")).collect();
        fields.fault_here(Problem::new(
            "enum",
            format!("Token class should be one of {}", names.join(", ")),
        ));
        return None;
    };
    let per = fields.required(Source::Body, "per", parse::per)?;
    let credits = fields.required(Source::Body, "credits", parse::rate(per));
    let cost = fields.optional(Source::Body, "cost_usd", parse::rate(per));
    let rate = Rate {
        charge_pico: credits?,
        cost_pico: cost.unwrap_or(0),
    };
    Some((class, rate))
}

/// What was refused, told at the field that is to blame.
fn refused(refusal: &UsageRefusal) -> ApiError {
    let (place, field, what) = match refusal {
        UsageRefusal::PriceInPast { place, .. } => (*place, "valid_from", "valid_from is in the past"),
        UsageRefusal::PriceExists { place } => (
            *place,
            "valid_from",
            "a version of this price begins at this very instant, and versions are never edited",
        ),
        UsageRefusal::PriceTwice { place } => (
            *place,
            "model_name",
            "the request has another price of this model, provider, tier and step",
        ),
        other => return ApiError::from_failure(other),
    };
    let mut fault = Fault::field("body", field, Problem::value(what), None);
    fault.loc = vec![
        "body".into(),
        "prices".into(),
        Place::Position(place),
        field.into(),
    ];
    ApiError::faults(vec![fault])
}

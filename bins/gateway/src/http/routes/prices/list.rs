//! `GET /api/v1/prices`: the prices that hold at an instant (HTTP contract 4.8).

use time::OffsetDateTime;
use usage::PriceFilter;

use super::body::{PriceBody, price_example};
use crate::http::{fields::time::instant, prelude::*};

const LIMIT: i64 = 50;

input! {
    /// Filter of the prices.
    pub struct PricesInput {
        /// Only this model, compared exactly.
        model_name: Option<String> = optional(Query, parse::text(0, 255)), example("gpt-4");
        /// The versions that hold at this instant; now if absent. A date without a time is the first instant of that day in UTC.
        at: Option<OffsetDateTime> = optional(Query, instant());
    }
}

pub fn doc() -> Doc {
    Doc::new("prices", "Prices")
        .description("The versions that hold at an instant, by provider, model, tier and step.")
        .query::<PricesInput>()
        .paged(LIMIT)
        .reply_list::<PriceBody>("Retrieved 1 prices", price_example())
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let (scope, now) = (call.list_scope(), call.now);
    let (PricesInput { model_name, at }, page) = call.fields.list(LIMIT, &scope)?;
    let filter = PriceFilter { model_name, at: at.unwrap_or(now) };
    call.known()?;
    let slice = call.read(async |conn| usage::prices::list(conn, &filter, &page).await).await?;
    call.list_reply(&scope, slice, PriceBody::from, ("prices", "个价格"))
}

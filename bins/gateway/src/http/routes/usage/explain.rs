//! `GET /api/v1/users/{user_id}/usage/{id}/explain`: how a charge came about, computed again (HTTP contract 4.9).

use kernel::Credits;
use pg::{DbError, PgConnection};
use usage::{
    PriceVersion, Record, UsageRefusal,
    rating::{self, Per, Quantities, Rate},
};

use crate::http::{
    exact::Exact,
    prelude::*,
    routes::{prices::body::PriceBody, usage::record_body::UsageBody},
};

words! {
    /// Class of units.
    TokenClassName = usage::rating::TokenClass::all().map(usage::rating::TokenClass::as_str).collect::<Vec<_>>();
}

/// Computation of a charge.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// The record.
    usage: UsageBody,
    /// The version of the price that rated it; null if the charge was stated, or is not known.
    price: Option<PriceBody>,
    /// Quantities by class; the charge is their sum, rounded up once.
    terms: Vec<TermBody>,
    /// Figures of the record.
    #[schema(value_type = f64)]
    charged: Credits,
    /// The charge computed again from the price; null without one.
    #[schema(value_type = Option<f64>)]
    recomputed: Option<Credits>,
    /// True if both are the same; null without a price.
    matches: Option<bool>,
    /// The grants that paid, if it was deducted.
    grants: Vec<Paid>,
}

/// Charge of one token class.
#[derive(Debug, Serialize, ToSchema)]
struct TermBody {
    /// Class.
    #[schema(value_type = TokenClassName, example = "input")]
    class: &'static str,
    /// Quantity.
    quantity: i64,
    /// Credits for a million of it.
    #[schema(value_type = f64)]
    rate_per_1m: Exact,
    /// Credits, not rounded.
    #[schema(value_type = f64)]
    credits: Exact,
}

/// Share of one grant.
#[derive(Debug, Serialize, ToSchema)]
struct Paid {
    /// The grant.
    grant_id: i64,
    /// Amount.
    #[schema(value_type = f64)]
    amount: Credits,
}

pub fn doc() -> Doc {
    Doc::new("usage", "Explain a charge")
        .description("The charge of a record, computed again from the price that rated it, and the grants that paid.")
        .reply_envelope::<Explanation>(
            "Charge explained",
            json!({
                "usage": super::record_body::record_example(), "price": null, "terms": [], "charged": 5.5, "recomputed": null,
                "matches": null, "grants": [],
            }),
        )
        .errors(&[&catalogue::USAGE_RECORD_NOT_FOUND])
}

/// Columns of a record and its charge.
struct Found {
    record: Record,
    price: Option<PriceVersion>,
    grants: Vec<(i64, Credits)>,
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let id = call.id_of_path("id", &catalogue::USAGE_RECORD_NOT_FOUND)?;
    let user_id = call.user().await?;
    let found = call
        .look_up(async |conn| find(conn, &user_id, id).await)
        .await?
        .ok_or_else(|| ApiError::from_failure(&UsageRefusal::UsageRecordNotFound { id }))?;
    let rated = found.price.zip(found.record.quantities.clone());
    let terms = match &rated {
        Some((price, quantities)) => terms(price, quantities)?,
        None => Vec::new(),
    };
    let charged = found.record.credits_charged;
    let recomputed = match &rated {
        Some((price, quantities)) => Some(rating::rate(&price.price, quantities).map_err(broken)?.charge),
        None => None,
    };
    let data = Explanation {
        usage: found.record.into(),
        price: rated.map(|(price, _)| price.into()),
        terms,
        charged,
        recomputed,
        matches: recomputed.map(|again| again == charged),
        grants: found.grants.into_iter().map(|(grant_id, amount)| Paid { grant_id, amount }).collect(),
    };
    call.envelope(&Text::new("Charge explained", "计费说明"), data)
}

async fn find(conn: &mut PgConnection, user_id: &kernel::UserId, id: i64) -> Result<Option<Found>, DbError> {
    let Some(record) = usage::find(conn, user_id, id).await? else {
        return Ok(None);
    };
    let price = match record.price_id {
        Some(price_id) => usage::prices::find(conn, price_id).await?,
        None => None,
    };
    let grants = match record.charge {
        Some(charge) => credits::taken_from(conn, user_id, charge.seq).await?,
        None => Vec::new(),
    };
    Ok(Some(Found { record, price, grants }))
}

fn terms(price: &PriceVersion, quantities: &Quantities) -> Result<Vec<TermBody>, ApiError> {
    let terms = rating::terms(&price.price, quantities).map_err(broken)?;
    let shown = terms.into_iter().map(|term| TermBody {
        class: term.class.as_str(),
        quantity: term.quantity,
        rate_per_1m: Exact(Rate::text(term.rate.charge_pico, Per::Million)),
        credits: Exact(term.credits.to_string()),
    });
    Ok(shown.collect())
}

/// A version of a price never changes, so what it rated it can rate again.
#[expect(clippy::needless_pass_by_value, reason = "taken by map_err")]
fn broken(error: rating::RatingError) -> ApiError {
    tracing::error!(%error, "a charge cannot be computed again");
    ApiError::new(&catalogue::INTERNAL)
}

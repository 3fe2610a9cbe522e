//! Price of a call: quantities by token class, a price for each class, and one rounding.
//!
//! Pure and exact: integers only, sums and products in 128 bits, rounded once per event and upwards. Source: the rules of
//! rating, chapter "Pricing" of the README.

mod book;
mod quantities;
mod rate;
mod terms;

pub use book::{Key, Price, PriceBook};
pub use quantities::{Quantities, QuantitiesError, TokenClass};
pub use rate::{Per, Pico, Rate};
pub use terms::{Term, terms};

use kernel::{Credits, Usd};

/// Pico-credits in a micro-credit. A credit is 10^12 pico-credits.
const PICO_IN_MICRO: i128 = 1_000_000;
/// Pico-dollars in a nano-dollar.
const PICO_IN_NANO: i128 = 1_000;

/// Price of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rated {
    /// Charge of the user; up to the next micro-credit.
    pub charge: Credits,
    /// Cost of the provider; up to the next nano-dollar.
    pub cost: Usd,
}

/// Why there is no amount. An unknown price is never a free one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// The price says nothing about a class that was used.
    #[error("there is no rate for {class}")]
    ClassNotPriced {
        /// The class.
        class: TokenClass,
    },
    /// The amount is larger than any account may hold.
    #[error("the amount is too large")]
    TooLarge,
}

/// Price of these quantities.
///
/// `0 <= charged - exact < 1` micro-credit, and the charge is above zero exactly if the exact amount is; the same for the
/// cost in nano-dollars. The order of the classes does not matter, because only the sum is rounded.
///
/// # Errors
/// [`RatingError`]. A class without any quantity needs no rate.
pub fn rate(price: &Price, quantities: &Quantities) -> Result<Rated, RatingError> {
    let (mut charge, mut cost) = (0_i128, 0_i128);
    for (class, quantity) in quantities.iter() {
        let rate = price.rates.get(&class).ok_or(RatingError::ClassNotPriced { class })?;
        charge = add_product(charge, quantity, rate.charge_pico)?;
        cost = add_product(cost, quantity, rate.cost_pico)?;
    }
    let charge = Credits::from_micro(rounded_up(charge, PICO_IN_MICRO)?);
    if charge > Credits::MAX {
        return Err(RatingError::TooLarge);
    }
    let cost = Usd::from_nano(rounded_up(cost, PICO_IN_NANO)?);
    Ok(Rated { charge, cost })
}

fn add_product(sum: i128, quantity: i64, pico: i64) -> Result<i128, RatingError> {
    // Two numbers of 63 bits make one of 126, and a dozen of these may pass 127.
    i128::from(quantity)
        .checked_mul(i128::from(pico))
        .and_then(|product| sum.checked_add(product))
        .ok_or(RatingError::TooLarge)
}

/// `amount / unit`, up to the next whole number. Amounts are never negative.
fn rounded_up(amount: i128, unit: i128) -> Result<i64, RatingError> {
    let whole = amount
        .checked_add(unit.saturating_sub(1))
        .and_then(|amount| amount.checked_div(unit))
        .ok_or(RatingError::TooLarge)?;
    i64::try_from(whole).map_err(|_| RatingError::TooLarge)
}

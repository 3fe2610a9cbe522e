//! Terms of a charge, class by class.

use super::{Pico, Price, Quantities, Rate, RatingError, TokenClass};

/// One summand of a charge: `quantity x rate`, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The usage.
    pub class: TokenClass,
    /// Part of it.
    pub quantity: i64,
    /// Price of a unit.
    pub rate: Rate,
    /// Credits, before the one rounding of the sum.
    pub credits: Pico,
    /// Dollars of the provider, likewise.
    pub cost: Pico,
}

/// The summands of what [`rate`](super::rate) comes to, in the order of classes (HTTP contract 4.9): the credits of all of
/// them, added and rounded up once to a micro-credit, are the charge.
///
/// # Errors
/// [`RatingError::ClassNotPriced`].
pub fn terms(price: &Price, quantities: &Quantities) -> Result<Vec<Term>, RatingError> {
    let term = |(class, quantity): (TokenClass, i64)| {
        let rate = *price.rates.get(&class).ok_or(RatingError::ClassNotPriced { class })?;
        // Two numbers of 63 bits: the product has 126.
        let exact = |pico: i64| Pico(i128::from(quantity).saturating_mul(pico.into()));
        Ok(Term { class, quantity, rate, credits: exact(rate.charge_pico), cost: exact(rate.cost_pico) })
    };
    quantities.iter().map(term).collect()
}

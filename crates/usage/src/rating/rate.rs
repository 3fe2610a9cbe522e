//! Price of a unit, and its forms: for one unit, a thousand, or a million.

use std::fmt;

use kernel::{AmountError, amount};

use super::TokenClass;

/// Price of one unit of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Pico-credits that the user pays; zero is explicitly free.
    pub charge_pico: i64,
    /// Pico-dollars that the provider takes.
    pub cost_pico: i64,
}

impl Rate {
    /// Greatest rate that is accepted from outside, in pico-credits or pico-dollars: a million of either for one unit.
    pub const PICO_MAX: i64 = 1_000_000_000_000_000_000;

    /// Reads the literal text of a JSON value, credits or dollars for so many units, into whole pico for one unit.
    ///
    /// # Errors
    /// [`AmountError`]: not a number, below zero, not a whole number of pico for one unit
    /// ([`AmountError::TooPrecise`] with the decimals that such an amount may have), or above [`Rate::PICO_MAX`].
    pub fn pico_from_json(literal: &str, per: Per) -> Result<i64, AmountError> {
        let pico = amount::units_from_json(literal, per.decimals())?;
        if pico > Self::PICO_MAX {
            return Err(AmountError::TooLarge);
        }
        Ok(pico)
    }

    /// The exact decimal of so many units at this rate, with at least one decimal: `1500.0`.
    #[must_use]
    pub fn text(pico: i64, per: Per) -> String {
        amount::units_to_text(pico.into(), per.decimals())
    }
}

/// The number of units that a rate is told for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// One unit.
    One,
    /// A thousand units.
    Thousand,
    /// A million units.
    Million,
}

impl Per {
    /// Units.
    #[must_use]
    pub fn units(self) -> i64 {
        match self {
            Self::One => 1,
            Self::Thousand => 1_000,
            Self::Million => 1_000_000,
        }
    }

    /// Decimals that an amount for these units may have so that one unit is whole pico.
    #[must_use]
    pub fn decimals(self) -> u32 {
        match self {
            Self::One => 12,
            Self::Thousand => 9,
            Self::Million => 6,
        }
    }
}

impl TokenClass {
    /// For how many units its rate is shown: a million tokens, but one picture, call or second.
    #[must_use]
    pub fn per(self) -> Per {
        match self {
            Self::Image | Self::Request | Self::Second => Per::One,
            _ => Per::Million,
        }
    }
}

/// An exact amount of credits or dollars in units of 10^-12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pico(pub i128);

impl fmt::Display for Pico {
    /// The exact decimal with at least one decimal: `1.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&amount::units_to_text(self.0, Per::One.decimals()))
    }
}

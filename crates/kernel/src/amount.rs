//! Exact amounts of credits and dollars. No float touches them on the way from the socket to the disk (I10).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use crate::decimal::{DecimalText, Whole};

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is not a decimal number (this includes `NaN`, `Infinity` and the empty text).
    #[error("not a decimal number")]
    NotANumber,
    /// The number is below zero.
    #[error("below zero")]
    Negative,
    /// The number has more decimals than the unit can hold; trailing zeros do not count.
    #[error("more than {0} decimals")]
    TooPrecise(u32),
    /// The number is above the greatest amount that is accepted from outside.
    #[error("too large")]
    TooLarge,
}

macro_rules! amount {
    ($(#[$meta:meta])* $name:ident, $decimals:literal, $scale:literal, $whole_max:literal, $from:ident, $get:ident, $unit:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// Most decimals a text may have.
            pub const DECIMALS_MAX: u32 = $decimals;
            /// Greatest amount accepted from outside.
            pub const MAX: Self = Self($whole_max * $scale);

            #[doc = concat!("An amount of ", $unit, ".")]
            #[must_use]
            pub const fn $from(units: i64) -> Self {
                Self(units)
            }

            #[doc = concat!("The amount in ", $unit, ".")]
            #[must_use]
            pub const fn $get(self) -> i64 {
                self.0
            }

            /// The sum, or `None` when it does not fit.
            #[must_use]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The difference, or `None` when it does not fit.
            #[must_use]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// Returns true if this is exactly nothing.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// The exact decimal text without a forced decimal: `1000`, `974.5`.
            #[must_use]
            pub fn to_plain_text(self) -> String {
                DecimalText::new(self.0.into(), $decimals, Whole::Plain).as_str().to_owned()
            }

            /// Serializes whole values without a decimal (`1000`), as `ensure`, `me` and `/api/...` show them.
            ///
            /// # Errors
            /// What the serializer raises.
            pub fn serialize_plain<S: Serializer>(amount: &Self, serializer: S) -> Result<S::Ok, S::Error> {
                DecimalText::new(amount.0.into(), $decimals, Whole::Plain).serialize(serializer)
            }
        }

        impl FromStr for $name {
            type Err = AmountError;

            /// Reads `digits[.digits][e[+-]digits]`, exactly.
            fn from_str(text: &str) -> Result<Self, AmountError> {
                let units = parse_decimal(text, $decimals)?;
                if units > Self::MAX.0 { Err(AmountError::TooLarge) } else { Ok(Self(units)) }
            }
        }

        impl fmt::Display for $name {
            /// The exact decimal with at least one decimal: `1000.0`, `0.001`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(DecimalText::new(self.0.into(), $decimals, Whole::WithDecimal).as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                DecimalText::new(self.0.into(), $decimals, Whole::WithDecimal).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            /// Reads a JSON number from its literal text, or a string of digits.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw = Box::<RawValue>::deserialize(deserializer)?;
                Self::from_json(raw.get()).map_err(de::Error::custom)
            }
        }

        impl $name {
            /// Reads the literal text of a JSON value: a number, or a string `[0-9]+(\.[0-9]+)?`.
            ///
            /// # Errors
            /// [`AmountError`]; a JSON value of another type is [`AmountError::NotANumber`].
            pub fn from_json(literal: &str) -> Result<Self, AmountError> {
                match literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                    Some(text) => plain_digits(text)?.parse(),
                    None => literal.parse(),
                }
            }
        }
    };
}

amount!(
    /// Credits, counted in micro-credits: 1 credit = 1,000,000. At most 10^9 credits are accepted from outside.
    Credits, 6, 1_000_000, 1_000_000_000, from_micro, micro, "micro-credits"
);
amount!(
    /// US dollars, counted in nano-dollars: 1 dollar = 1,000,000,000. At most 10^6 dollars are accepted from outside.
    Usd, 9, 1_000_000_000, 1_000_000, from_nano, nano, "nano-dollars"
);

/// Reads the literal text of a JSON value, a number or a string `[0-9]+(\.[0-9]+)?`, into units of `10^-decimals`, for what
/// is counted more finely than [`Credits`] and [`Usd`]. Exact.
///
/// # Errors
/// [`AmountError`]; [`AmountError::TooLarge`] for what 64 bits do not hold.
pub fn units_from_json(literal: &str, decimals: u32) -> Result<i64, AmountError> {
    match literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) => parse_decimal(plain_digits(text)?, decimals),
        None => parse_decimal(literal, decimals),
    }
}

/// The exact decimal of units of `10^-decimals` (at most 38), with at least one decimal: `1500.0`, `0.000000000001`.
#[must_use]
pub fn units_to_text(units: i128, decimals: u32) -> String {
    let places = usize::try_from(decimals).unwrap_or(0);
    DecimalText::new(units, places, Whole::WithDecimal).as_str().to_owned()
}

/// A string amount may not carry a sign or an exponent (HTTP contract 1.8).
fn plain_digits(text: &str) -> Result<&str, AmountError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_prefix('-') {
        Some(rest) if plain_digits(rest).is_ok() => Err(AmountError::Negative),
        _ if digits(whole) && digits(fraction) => Ok(text),
        _ => Err(AmountError::NotANumber),
    }
}

/// Reads a decimal text into units of `10^-decimals`. Exact: digits are moved, never multiplied as floats.
fn parse_decimal(text: &str, decimals: u32) -> Result<i64, AmountError> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = split_exponent(unsigned)?;
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(AmountError::NotANumber),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(AmountError::NotANumber);
    }
    let digits: String = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    if negative {
        return Err(AmountError::Negative);
    }
    let cut = digits.trim_start_matches('0').len().saturating_sub(significant.len());
    // value = significant x 10^shift units
    let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let shift = exponent
        .saturating_sub(length(fraction.len()))
        .saturating_add(length(cut))
        .saturating_add(i64::from(decimals));
    if shift < 0 {
        return Err(AmountError::TooPrecise(decimals));
    }
    let shift = u32::try_from(shift).map_err(|_| AmountError::TooLarge)?;
    let scale = 10_i64.checked_pow(shift).ok_or(AmountError::TooLarge)?;
    significant.parse::<i64>().ok().and_then(|value| value.checked_mul(scale)).ok_or(AmountError::TooLarge)
}

/// Splits `1.5e3` into `1.5` and 3. An exponent beyond i64 counts as the nearest one: it decides nothing else.
fn split_exponent(text: &str) -> Result<(&str, i64), AmountError> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return Ok((text, 0));
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => (-1_i64, digits),
        None => (1, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AmountError::NotANumber);
    }
    let size = digits.parse::<i64>().unwrap_or(1_000_000);
    Ok((mantissa, sign.saturating_mul(size.min(1_000_000))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_read_exactly() {
        for (text, micro) in [
            ("0", 0),
            ("-0", 0),
            ("1", 1_000_000),
            ("25.5", 25_500_000),
            ("0.000001", 1),
            ("1e3", 1_000_000_000),
            ("1.5E-3", 1_500),
            ("10e-7", 1),
            ("1.0000000000", 1_000_000),
            ("1000000000", 1_000_000_000_000_000),
            ("0e999999999999999999999", 0),
        ] {
            assert_eq!(text.parse::<Credits>().map(Credits::micro), Ok(micro), "{text}");
        }
    }

    #[test]
    fn unusable_texts_are_refused() {
        for (text, error) in [
            ("", AmountError::NotANumber),
            ("NaN", AmountError::NotANumber),
            ("Infinity", AmountError::NotANumber),
            ("1.", AmountError::NotANumber),
            (".5", AmountError::NotANumber),
            ("1e", AmountError::NotANumber),
            ("1 ", AmountError::NotANumber),
            ("+1", AmountError::NotANumber),
            ("0x10", AmountError::NotANumber),
            ("-1", AmountError::Negative),
            ("0.0000001", AmountError::TooPrecise(6)),
            ("1e-7", AmountError::TooPrecise(6)),
            ("1e-99999999999999999999", AmountError::TooPrecise(6)),
            ("1000000000.000001", AmountError::TooLarge),
            ("1e99999999999999999999", AmountError::TooLarge),
            ("99999999999999999999999999", AmountError::TooLarge),
        ] {
            assert_eq!(text.parse::<Credits>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn json_strings_take_digits_only() {
        assert_eq!(Credits::from_json("\"25.5\""), Ok(Credits::from_micro(25_500_000)));
        assert_eq!(Credits::from_json("\"1e3\""), Err(AmountError::NotANumber));
        assert_eq!(Credits::from_json("\"-1\""), Err(AmountError::Negative));
        assert_eq!(Credits::from_json("true"), Err(AmountError::NotANumber));
        assert_eq!(Credits::from_json("null"), Err(AmountError::NotANumber));
    }

    #[test]
    fn texts_are_written_without_noise() {
        assert_eq!(Credits::from_micro(1_000_000_000).to_string(), "1000.0");
        assert_eq!(Credits::from_micro(1_000_000_000).to_plain_text(), "1000");
        assert_eq!(Credits::from_micro(974_500_000).to_plain_text(), "974.5");
        assert_eq!(Usd::from_nano(1_000_000).to_string(), "0.001");
        assert_eq!(Credits::from_micro(-1_500_000).to_string(), "-1.5");
        assert_eq!(Credits::from_micro(i64::MIN).to_string(), "-9223372036854.775808");
    }

    #[test]
    fn finer_units_are_read_and_written_exactly() {
        for (literal, decimals, units) in [
            ("1500.0", 6, Ok(1_500_000_000)),
            ("\"0.01\"", 12, Ok(10_000_000_000)),
            ("1e-12", 12, Ok(1)),
            ("1e-13", 12, Err(AmountError::TooPrecise(12))),
            ("3", 0, Ok(3)),
            ("-1", 6, Err(AmountError::Negative)),
            ("9223372036855", 6, Err(AmountError::TooLarge)),
            ("true", 6, Err(AmountError::NotANumber)),
            ("\"1e3\"", 6, Err(AmountError::NotANumber)),
        ] {
            assert_eq!(units_from_json(literal, decimals), units, "{literal}");
        }
        for (units, decimals, text) in [
            (1_500_000_000, 6, "1500.0"),
            (1, 12, "0.000000000001"),
            (i128::MAX, 12, "170141183460469231731687303.715884105727"),
            (3, 0, "3.0"),
            (0, 12, "0.0"),
        ] {
            assert_eq!(units_to_text(units, decimals), text);
        }
    }

    proptest! {
        #[test]
        fn every_amount_survives_json(micro in 0..=Credits::MAX.micro()) {
            let amount = Credits::from_micro(micro);
            let text = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Credits>(&text).unwrap(), amount);
            prop_assert_eq!(serde_json::from_str::<Credits>(&format!("\"{text}\"")).unwrap(), amount);
            prop_assert_eq!(amount.to_plain_text().parse::<Credits>().unwrap(), amount);
        }

        #[test]
        fn every_usd_survives_json(nano in 0..=Usd::MAX.nano()) {
            let amount = Usd::from_nano(nano);
            let text = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Usd>(&text).unwrap(), amount);
        }

        #[test]
        fn exponents_move_the_point_only(micro in 0..=Credits::MAX.micro(), shift in 0..12_i32) {
            let moved = format!("{micro}e{}", -6);
            prop_assert_eq!(moved.parse::<Credits>().unwrap().micro(), micro);
            let padded = format!("{micro}{}e{}", "0".repeat(usize::try_from(shift).unwrap()), -6 - shift);
            prop_assert_eq!(padded.parse::<Credits>().unwrap().micro(), micro);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE\"]{0,40}") {
            let _ = text.parse::<Credits>().is_ok();
            let _ = Usd::from_json(&text).is_ok();
        }
    }
}

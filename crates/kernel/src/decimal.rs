//! Exact decimals as text, written on the stack: an answer of the ledger holds a dozen of them.

use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

/// A sign, the 39 digits that an `i128` has at most, and a point with a zero on either side.
const BYTES_MAX: usize = 48;

/// The exact decimal text of a number of small units.
pub(crate) struct DecimalText {
    bytes: [u8; BYTES_MAX],
    /// Where the text begins; it is written from its end.
    start: usize,
}

/// The unit after a whole number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// At least one decimal: `1000.0`.
    WithDecimal,
    /// Nothing: `1000`.
    Plain,
}

impl DecimalText {
    /// The decimal of units of `10^-decimals`.
    pub(crate) fn new(units: i128, decimals: usize, whole: Whole) -> Self {
        let mut text = Self { bytes: [b'0'; BYTES_MAX], start: BYTES_MAX };
        let mut left = units.unsigned_abs();
        for _ in 0..decimals {
            let digit = take_digit(&mut left);
            if digit != b'0' || text.start < BYTES_MAX {
                text.put(digit);
            }
        }
        if text.start == BYTES_MAX && whole == Whole::WithDecimal {
            text.put(b'0');
        }
        if text.start < BYTES_MAX {
            text.put(b'.');
        }
        text.put(take_digit(&mut left));
        while left > 0 {
            text.put(take_digit(&mut left));
        }
        if units < 0 {
            text.put(b'-');
        }
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        let written = self.bytes.get(self.start..).unwrap_or_default();
        str::from_utf8(written).unwrap_or_default()
    }

    fn put(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }
}

/// Written as a JSON number, digit by digit.
impl Serialize for DecimalText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Takes the last digit off. Nearly every number fits into 64 bits, where a division costs a tenth.
fn take_digit(number: &mut u128) -> u8 {
    let digit = if let Ok(small) = u64::try_from(*number) {
        *number = (small / 10).into();
        u8::try_from(small % 10)
    } else {
        let digit = u8::try_from(*number % 10);
        *number /= 10;
        digit
    };
    digit.map_or(b'0', |digit| b'0'.saturating_add(digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(units: i128, decimals: usize, whole: Whole) -> String {
        DecimalText::new(units, decimals, whole).as_str().to_owned()
    }

    #[test]
    fn whole_numbers_have_a_decimal_or_none_and_the_largest_have_room() {
        for (units, with_decimal, plain) in [
            (0, "0.0", "0"),
            (1, "0.000001", "0.000001"),
            (-1, "-0.000001", "-0.000001"),
            (1_000_000, "1.0", "1"),
            (-25_500_000, "-25.5", "-25.5"),
            (1_000_000_000_000_000, "1000000000.0", "1000000000"),
            (
                i128::MIN,
                "-170141183460469231731687303715884.105728",
                "-170141183460469231731687303715884.105728",
            ),
        ] {
            assert_eq!(text(units, 6, Whole::WithDecimal), with_decimal);
            assert_eq!(text(units, 6, Whole::Plain), plain);
        }
        assert_eq!(text(i128::MIN, 0, Whole::WithDecimal), format!("{}.0", i128::MIN));
    }

    proptest! {
        #[test]
        fn every_digit_is_written(units: i128, small: i64) {
            for units in [units, i128::from(small)] {
                let (size, sign) = (units.unsigned_abs(), if units < 0 { "-" } else { "" });
                let fraction = format!("{:06}", size % 1_000_000);
                let fraction = fraction.trim_end_matches('0');
                let fraction = if fraction.is_empty() { "0" } else { fraction };
                let expected = format!("{sign}{}.{fraction}", size / 1_000_000);
                prop_assert_eq!(text(units, 6, Whole::WithDecimal), expected);
            }
        }
    }
}

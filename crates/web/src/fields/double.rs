//! JSON numbers that a client computed with binary floats.
//!
//! Such a client sends 0.1 + 0.2 as `0.30000000000000004`. Here it is decided which decimal was meant, and the exact text of
//! that decimal is what is read further on (I10): a float only tells how near two texts are.

/// Most digits of the shortest text of a double.
const DIGITS_MAX: usize = 17;

/// The decimal with at most `places` decimal places that a JSON number stands for: the number is the shortest text of a
/// double, and that double is the nearest one to the decimal or the one next to that (HTTP contract 1.8). `None` for every
/// other text, for zero and for negative numbers.
pub fn intended(literal: &str, places: u32) -> Option<String> {
    let (digits, exponent) = significant(literal)?;
    if digits.len() > DIGITS_MAX {
        return None;
    }
    let double: f64 = literal.parse().ok()?;
    if significant(&format!("{double:e}"))? != (digits.clone(), exponent) {
        return None;
    }
    let cut = u32::try_from(exponent.checked_add(i64::from(places))?.checked_neg()?).ok()?;
    let unit = 10_u128.checked_pow(cut)?;
    let half = unit.checked_div(2)?;
    let rounded = digits.parse::<u128>().ok()?.checked_add(half)?.checked_div(unit)?;
    let decimal = format!("{rounded}e-{places}");
    let nearest: f64 = decimal.parse().ok()?;
    // The bits of positive doubles count them in their order.
    let steps = double.to_bits().abs_diff(nearest.to_bits());
    (rounded > 0 && steps <= 1).then_some(decimal)
}

/// The digits of a positive number without zeros around them, and the power of ten of the last one.
fn significant(number: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let trimmed = digits.trim_end_matches('0');
    let zeros = digits.len().checked_sub(trimmed.len())?;
    let exponent: i64 = exponent.parse().ok()?;
    let exponent =
        exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(i64::try_from(zeros).ok()?)?;
    let digits = trimmed.trim_start_matches('0');
    (!digits.is_empty()).then(|| (digits.to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    use kernel::{AmountError, Credits, Usd};
    use proptest::prelude::*;

    use super::*;

    fn read(literal: &str) -> Option<Credits> {
        intended(literal, Credits::DECIMALS_MAX).and_then(|text| text.parse().ok())
    }

    #[test]
    fn results_of_float_arithmetic_are_the_decimals_that_were_meant() {
        for (literal, meant) in [
            ("0.30000000000000004", "0.3"), // 0.1 + 0.2, 0.1 * 3
            ("3.3000000000000003", "3.3"),  // 1.1 + 2.2
            ("0.7999999999999999", "0.8"),  // 0.1 * 8 by adding
            ("0.9999999999999999", "1"),    // 0.1 ten times
            ("1.0000000000000002", "1"),
            ("8.200000000000001", "8.2"), // 4.1 + 4.1 by thirds
            ("123456789.30000001", "123456789.3"),
            ("999999999.9999999", "1000000000"),
            ("0.0000010000000000000002", "0.000001"),
            ("1.0000000000000002e-6", "0.000001"),
            ("3.0000000000000004e-1", "0.3"),
        ] {
            assert_eq!(read(literal), meant.parse().ok(), "{literal}");
        }
    }

    #[test]
    fn other_numbers_with_too_many_decimals_stay_what_they_are() {
        for literal in [
            "1e-7",
            "0.0000001",
            "0.0000015",
            "0.1234567",
            "0.300000000000001",
            "0.3000000000000001", // two steps away
            "0.30000000000000010",
            "0.300000000000000040", // not shorter, but not the shortest either: its digits are
            "0.30000000000000004440892", // more digits than the shortest text
            "0.30000000000000003",  // the same double, another text
            "5e-324",
            "1e-400",
            "-0.30000000000000004",
            "0.10000000000002274", // 1000.1 - 1000
            "0",
            "0.0",
            "1e",
            "NaN",
            "",
        ] {
            let expected = (literal == "0.300000000000000040").then(|| "0.3".parse().unwrap());
            assert_eq!(read(literal), expected, "{literal}");
        }
    }

    /// The form that `JSON.stringify`, Python and Rust write.
    fn shortest(number: f64) -> String {
        format!("{number}")
    }

    fn exact_or_intended(text: &str) -> Option<Credits> {
        match Credits::from_json(text) {
            Err(AmountError::TooPrecise(places)) => intended(text, places).and_then(|text| text.parse().ok()),
            other => other.ok(),
        }
    }

    proptest! {
        #[test]
        fn a_sum_of_two_is_read_as_their_sum(
            one in 1..=Credits::MAX.micro() / 2, other in prop_oneof![1..=Credits::MAX.micro() / 2, 1..=1_000_000_i64],
        ) {
            let double = |micro: i64| Credits::from_micro(micro).to_string().parse::<f64>().unwrap();
            let text = shortest(double(one) + double(other));
            prop_assert_eq!(exact_or_intended(&text), Some(Credits::from_micro(one + other)), "{}", text);
        }

        #[test]
        fn a_neighbour_is_read_and_the_next_but_one_is_not(micro in 1..=1_000_000_000_000_i64, up in any::<bool>()) {
            let double = Credits::from_micro(micro).to_string().parse::<f64>().unwrap();
            let near = if up { double.next_up() } else { double.next_down() };
            let far = if up { near.next_up() } else { near.next_down() };
            prop_assert_eq!(exact_or_intended(&shortest(near)), Some(Credits::from_micro(micro)));
            prop_assert_eq!(exact_or_intended(&shortest(far)), None);
        }

        #[test]
        fn dollars_likewise(nano in 1..=1_000_000_000_000_i64) {
            let double = Usd::from_nano(nano).to_string().parse::<f64>().unwrap();
            let text = shortest(double.next_up());
            let read = intended(&text, Usd::DECIMALS_MAX).and_then(|text| text.parse::<Usd>().ok());
            prop_assert_eq!(read, Some(Usd::from_nano(nano)), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,40}", places in 0..=20_u32) {
            if let Some(decimal) = intended(&text, places) {
                prop_assert!(decimal.parse::<f64>().is_ok());
            }
        }
    }
}

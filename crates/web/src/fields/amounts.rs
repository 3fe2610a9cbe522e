//! Parsers of amounts: credits, dollars and rates.

use kernel::{AmountError, Credits, Usd};
use serde_json::json;

use super::{
    double,
    parser::{Parse, Parsed, Value, parser},
};
use crate::fault::Problem;

/// Credits to be moved: above zero.
pub fn credits_to_move() -> impl Parse<Output = Credits> {
    parser(
        || schema(Sign::Positive, &Credits::MAX.to_plain_text()),
        |value| {
            let credits = amount(value, Sign::Positive, Credits::MAX.to_plain_text(), Credits::from_json)?;
            if credits.is_zero() { Err(not_positive()) } else { Ok(credits) }
        },
    )
}

/// Credits to be noted: zero or more.
pub fn credits_to_note() -> impl Parse<Output = Credits> {
    to_note(|| Credits::MAX.to_plain_text(), Credits::from_json)
}

/// Dollars to be noted: zero or more.
pub fn usd_to_note() -> impl Parse<Output = Usd> {
    to_note(|| Usd::MAX.to_plain_text(), Usd::from_json)
}

/// An amount to be noted, zero or more and at most `most`, that is read from the literal text of a JSON value.
pub fn to_note<T>(
    most: impl Fn() -> String + Copy,
    from_json: impl Fn(&str) -> Result<T, AmountError>,
) -> impl Parse<Output = T> {
    parser(
        move || schema(Sign::NotNegative, &most()),
        move |value| amount(value, Sign::NotNegative, most(), &from_json),
    )
}

/// A number in `0..=1` that is not money.
pub fn share() -> impl Parse<Output = f64> {
    parser(
        || json!({"type": "number", "minimum": 0, "maximum": 1}),
        |value| {
            let (Value::Text(literal) | Value::Json(literal)) = value;
            let number: f64 = literal
                .parse()
                .map_err(|_| Problem::new("decimal_type", "Input should be a valid number"))?;
            if number < 0.0 {
                return Err(Problem::new("greater_than_equal", "Input should be greater than or equal to 0"));
            }
            if number > 1.0 {
                return Err(Problem::new("less_than_equal", "Input should be less than or equal to 1"));
            }
            if number.is_finite() { Ok(number) } else { Err(not_finite()) }
        },
    )
}

/// The schema of an amount: a number, or the text of one (HTTP contract 1.8).
fn schema(sign: Sign, most: &str) -> serde_json::Value {
    let mut schema = json!({"type": ["number", "string"], "pattern": r"^[0-9]+(\.[0-9]+)?$"});
    let minimum = match sign {
        Sign::Positive => "exclusiveMinimum",
        Sign::NotNegative => "minimum",
    };
    schema[minimum] = 0.into();
    schema["maximum"] = serde_json::from_str(most).unwrap_or_default();
    schema
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Positive,
    NotNegative,
}

fn amount<T>(
    value: Value<'_>,
    sign: Sign,
    most: String,
    from_json: impl Fn(&str) -> Result<T, AmountError>,
) -> Parsed<T> {
    let quoted;
    let (literal, is_text) = match value {
        Value::Json(literal) => (literal, literal.starts_with('"')),
        Value::Text(text) => {
            quoted = format!("\"{text}\"");
            (quoted.as_str(), true)
        }
    };
    let read = match from_json(literal) {
        // A string is exact; a number may be the result of float arithmetic.
        Err(AmountError::TooPrecise(places)) if !is_text => match double::intended(literal, places) {
            Some(decimal) => from_json(&decimal),
            None => Err(AmountError::TooPrecise(places)),
        },
        read => read,
    };
    read.map_err(|error| match error {
        AmountError::NotANumber if is_text && is_unbounded(literal) => not_finite(),
        AmountError::NotANumber if is_text => {
            Problem::new("decimal_parsing", "Input should be a valid decimal")
        }
        AmountError::NotANumber => Problem::new(
            "decimal_type",
            "Decimal input should be an integer, float, string or Decimal object",
        ),
        AmountError::Negative if sign == Sign::Positive => not_positive(),
        AmountError::Negative => {
            Problem::new("greater_than_equal", "Input should be greater than or equal to 0")
        }
        AmountError::TooPrecise(places) => Problem::new(
            "decimal_max_places",
            format!("Decimal input should have no more than {places} decimal places"),
        ),
        AmountError::TooLarge => {
            Problem::new("less_than_equal", format!("Input should be less than or equal to {most}"))
        }
    })
}

fn is_unbounded(literal: &str) -> bool {
    let word = literal.trim_matches(['"', '-', '+']).to_ascii_lowercase();
    matches!(word.as_str(), "nan" | "inf" | "infinity")
}

fn not_finite() -> Problem {
    Problem::new("finite_number", "Input should be a finite number")
}

fn not_positive() -> Problem {
    Problem::new("greater_than", "Input should be greater than 0")
}

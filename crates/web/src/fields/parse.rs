//! Parsers from one value to one type, worded as the documents show.

use kernel::{FreeForm, TextError, UserId, UserIdError};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use uuid::Uuid;

pub use super::amounts::{credits_to_move, credits_to_note, share, usd_to_note};
use super::parser::{Parse, Parsed, Value, parser};
use crate::fault::Problem;

/// A string of `min..=max` characters, without NUL. A `max` of `usize::MAX` is no bound.
pub fn text(min: usize, max: usize) -> impl Parse<Output = String> {
    let schema = move || {
        let mut schema = json!({"type": "string"});
        if min > 0 {
            schema["minLength"] = min.into();
        }
        if max < usize::MAX {
            schema["maxLength"] = max.into();
        }
        schema
    };
    parser(schema, move |value| read_text(value, min, max))
}

/// A password or token of a request, which shows in no log.
#[derive(Debug)]
pub struct Secret(pub SecretString);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// As [`text`], for passwords and tokens: a fault does not repeat the value (HTTP contract 1.6).
pub fn secret(min: usize, max: usize) -> impl Parse<Output = Secret> {
    let schema = move || {
        let mut schema = text(min, max).schema();
        schema["format"] = "password".into();
        schema
    };
    let hidden = |problem: Problem| Problem { hides_value: true, ..problem };
    parser(schema, move |value| read_text(value, min, max).map(|text| Secret(text.into())).map_err(hidden))
}

fn read_text(value: Value<'_>, min: usize, max: usize) -> Parsed<String> {
    let text = match value {
        Value::Text(text) => text.to_owned(),
        Value::Json(literal) => serde_json::from_str::<String>(literal).map_err(|_| not_a_string())?,
    };
    let count = text.chars().count();
    if count < min {
        let unit = if min == 1 { "character" } else { "characters" };
        return Err(Problem::new("string_too_short", format!("String should have at least {min} {unit}")));
    }
    if count > max {
        return Err(too_long(max));
    }
    if text.contains('\0') {
        return Err(Problem::value("text must not contain NUL"));
    }
    Ok(text)
}

/// The problem of a value that is no string.
#[must_use]
pub fn not_a_string() -> Problem {
    Problem::new("string_type", "Input should be a valid string")
}

/// An integer in `min..=max`, which must fit into `T`.
pub fn integer<T: TryFrom<i64>>(min: i64, max: i64) -> impl Parse<Output = T> {
    let schema = move || {
        let mut schema = json!({"type": "integer", "format": "int64"});
        if min > i64::MIN {
            schema["minimum"] = min.into();
        }
        if max < i64::MAX {
            schema["maximum"] = max.into();
        }
        schema
    };
    parser(schema, move |value| {
        let number = read_integer(value, min, max)?;
        T::try_from(number).map_err(|_| not_an_integer(INT_PARSING))
    })
}

fn read_integer(value: Value<'_>, min: i64, max: i64) -> Parsed<i64> {
    let (literal, wrong) = match value {
        Value::Text(text) => (text.to_owned(), INT_PARSING),
        Value::Json(literal) => match serde_json::from_str::<String>(literal) {
            Ok(text) => (text, INT_PARSING),
            Err(_) => (literal.to_owned(), INT_TYPE),
        },
    };
    let digits = literal.strip_suffix(".0").unwrap_or(&literal).trim();
    let whole = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_an_integer(wrong));
    }
    let bound = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
    // Wider than any bound: a number that does not fit must not become one that does.
    let number = digits.parse::<i128>().unwrap_or(bound);
    if number < i128::from(min) {
        return Err(Problem::new(
            "greater_than_equal",
            format!("Input should be greater than or equal to {min}"),
        ));
    }
    i64::try_from(number).ok().filter(|number| *number <= max).ok_or_else(|| {
        Problem::new("less_than_equal", format!("Input should be less than or equal to {max}"))
    })
}

const INT_PARSING: (&str, &str) =
    ("int_parsing", "Input should be a valid integer, unable to parse string as an integer");
const INT_TYPE: (&str, &str) = ("int_type", "Input should be a valid integer");

fn not_an_integer((kind, msg): (&'static str, &'static str)) -> Problem {
    Problem::new(kind, msg)
}

/// `true` or `false`, in a query also `1`, `0`, `yes`, `no`, `on`, `off`.
pub fn boolean() -> impl Parse<Output = bool> {
    parser(
        || json!({"type": "boolean"}),
        |value| match value {
            Value::Json("true") => Ok(true),
            Value::Json("false") => Ok(false),
            Value::Json(_) => Err(Problem::new("bool_type", "Input should be a valid boolean")),
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                _ => Err(Problem::new(
                    "bool_parsing",
                    "Input should be a valid boolean, unable to interpret input",
                )),
            },
        },
    )
}

/// A user id.
pub fn user_id() -> impl Parse<Output = UserId> {
    parser(
        || {
            json!({
                "type": "string", "minLength": 1, "maxLength": kernel::user_id::USER_ID_CHARS_MAX,
                "pattern": USER_ID_PATTERN,
            })
        },
        |value| {
            read_text(value, 1, usize::MAX)?.parse().map_err(|error| match error {
                UserIdError::Empty => {
                    Problem::new("string_too_short", "String should have at least 1 character")
                }
                UserIdError::TooLong => too_long(kernel::user_id::USER_ID_CHARS_MAX),
                UserIdError::Character => Problem::new(
                    "string_pattern_mismatch",
                    format!("String should match pattern '{USER_ID_PATTERN}'"),
                ),
                UserIdError::Reserved => Problem::value(&error.to_string()),
            })
        },
    )
}

const USER_ID_PATTERN: &str = "^[A-Za-z0-9._@+:|~-]+$";

/// A UUID in its usual form.
pub fn uuid() -> impl Parse<Output = Uuid> {
    parser(
        || json!({"type": "string", "format": "uuid"}),
        |value| {
            let text = read_text(value, 1, 36)?;
            Uuid::try_parse(&text)
                .map_err(|_| Problem::new("string_pattern_mismatch", "Input should be a valid UUID"))
        },
    )
}

/// An e-mail address: 3 to 320 characters of a plausible form. Whether it exists, only a letter can tell.
pub fn email() -> impl Parse<Output = String> {
    parser(|| json!({"type": "string", "minLength": 3, "maxLength": 320}), read_email)
}

fn read_email(value: Value<'_>) -> Parsed<String> {
    let text = read_text(value, 3, 320)?;
    let (local, domain) = text.rsplit_once('@').unwrap_or_default();
    let local_fits = (1..=64).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(|letter| letter.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(letter));
    let domain_fits = domain.len() <= 255
        && domain.contains('.')
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
        });
    if local_fits && domain_fits { Ok(text) } else { Err(Problem::value("not a valid e-mail address")) }
}

/// One of a closed set of words.
pub fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Parse<Output = T> {
    let schema = || {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        json!({"type": "string", "enum": names})
    };
    parser(schema, |value| read_word(value, choices))
}

pub(super) fn read_word<T: Copy>(value: Value<'_>, choices: &[(&str, T)]) -> Parsed<T> {
    let word = read_text(value, 0, usize::MAX).unwrap_or_default();
    choices.iter().find(|(name, _)| *name == word).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
        let list = match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{} or {last}", before.join(", ")),
            None => String::new(),
        };
        Problem::new("enum", format!("Input should be {list}"))
    })
}

/// A JSON object that belongs to the caller.
pub fn object() -> impl Parse<Output = FreeForm> {
    parser(
        || json!({"type": "object"}),
        |value| {
            let (Value::Json(literal) | Value::Text(literal)) = value;
            FreeForm::object(literal).map_err(free_form_problem)
        },
    )
}

/// A JSON array of objects that belongs to the caller.
pub fn list() -> impl Parse<Output = FreeForm> {
    parser(
        || json!({"type": "array", "items": {"type": "object"}}),
        |value| {
            let (Value::Json(literal) | Value::Text(literal)) = value;
            FreeForm::array(literal).map_err(free_form_problem)
        },
    )
}

fn free_form_problem(error: TextError) -> Problem {
    match error {
        TextError::NotAnObject => Problem::new("dict_type", "Input should be a valid dictionary"),
        TextError::NotAnArray => Problem::new("list_type", "Input should be a valid list"),
        TextError::TooLong => Problem::new(
            "too_long",
            format!("Value should have at most {} bytes", kernel::text::FREE_FORM_BYTES_MAX),
        ),
        TextError::Unstorable => Problem::value("holds a NUL character or a number that is out of range"),
    }
}

fn too_long(max: usize) -> Problem {
    Problem::new("string_too_long", format!("String should have at most {max} characters"))
}

#[cfg(test)]
mod tests {
    use kernel::Credits;

    use super::*;

    fn kind<T>(parsed: Parsed<T>) -> &'static str {
        parsed.map_or_else(|problem| problem.kind, |_| "fine")
    }

    #[test]
    fn unusable_amounts_are_told_apart() {
        for (literal, expected) in [
            ("1", "fine"),
            ("\"25.5\"", "fine"),
            ("1e2", "fine"),
            ("0.30000000000000004", "fine"),
            ("\"0.30000000000000004\"", "decimal_max_places"),
            ("0.3000000000000001", "decimal_max_places"),
            ("1e-7", "decimal_max_places"),
            ("0", "greater_than"),
            ("0.0", "greater_than"),
            ("-5", "greater_than"),
            ("\"-5\"", "greater_than"),
            ("0.0000001", "decimal_max_places"),
            ("1000000001", "less_than_equal"),
            ("1e300", "less_than_equal"),
            ("\"NaN\"", "finite_number"),
            ("\"-Infinity\"", "finite_number"),
            ("\"ten\"", "decimal_parsing"),
            ("\"\"", "decimal_parsing"),
            ("\"1e2\"", "decimal_parsing"),
            ("true", "decimal_type"),
            ("null", "decimal_type"),
            ("{}", "decimal_type"),
            ("[1]", "decimal_type"),
        ] {
            assert_eq!(kind(credits_to_move().parse(Value::Json(literal))), expected, "{literal}");
        }
        assert_eq!(kind(credits_to_note().parse(Value::Json("0"))), "fine");
        assert_eq!(kind(credits_to_note().parse(Value::Json("-1"))), "greater_than_equal");
        assert_eq!(kind(usd_to_note().parse(Value::Text("0.001"))), "fine");
        let third = credits_to_move().parse(Value::Json("0.30000000000000004"));
        assert_eq!(third, Ok(Credits::from_micro(300_000)));
        assert_eq!(
            kind(credits_to_move().parse(Value::Text("0.30000000000000004"))),
            "decimal_max_places",
            "the text of a query is exact"
        );
        assert_eq!(kind(usd_to_note().parse(Value::Json("0.0000000001"))), "decimal_max_places");
    }

    #[test]
    fn integers_booleans_and_words() {
        for (value, expected) in [
            (Value::Text("5"), "fine"),
            (Value::Json("5"), "fine"),
            (Value::Json("5.0"), "fine"),
            (Value::Json("\"5\""), "fine"),
            (Value::Text("five"), "int_parsing"),
            (Value::Json("5.5"), "int_type"),
            (Value::Json("true"), "int_type"),
            (Value::Json("-1"), "greater_than_equal"),
            (Value::Json("99999999999999999999"), "less_than_equal"),
        ] {
            assert_eq!(kind(integer::<i64>(0, 1_000_000_000_000).parse(value)), expected, "{value:?}");
        }
        assert_eq!(boolean().parse(Value::Text("Yes")), Ok(true));
        assert_eq!(kind(boolean().parse(Value::Text("maybe"))), "bool_parsing");
        assert_eq!(kind(boolean().parse(Value::Json("1"))), "bool_type");
        let word = one_of(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(word.parse(Value::Text("b")), Ok(2));
        assert_eq!(word.parse(Value::Json("7")).unwrap_err().msg, "Input should be 'a', 'b' or 'c'");
    }

    #[test]
    fn addresses_and_ids() {
        for address in ["a@b.co", "test.user+tag@mail.example.com", "用户@例子.中国"] {
            assert_eq!(kind(email().parse(Value::Text(address))), "fine", "{address}");
        }
        for address in
            ["a@b", "@b.co", "a b@c.de", "a@b..co", "a.@b.co", "a@-b.co", "no address", "a@b@c.de\n"]
        {
            assert_eq!(kind(email().parse(Value::Text(address))), "value_error", "{address}");
        }
        assert_eq!(kind(user_id().parse(Value::Text("auth0|x"))), "fine");
        assert_eq!(kind(user_id().parse(Value::Text("a b"))), "string_pattern_mismatch");
        assert_eq!(kind(user_id().parse(Value::Json("\"\""))), "string_too_short");
        for reserved in kernel::user_id::USER_IDS_RESERVED {
            assert_eq!(kind(user_id().parse(Value::Text(reserved))), "value_error", "{reserved}");
        }
        assert_eq!(kind(share().parse(Value::Json("0.5"))), "fine");
        assert_eq!(kind(share().parse(Value::Text("NaN"))), "finite_number");
    }
}

//! Parsers of single values: those of [`web::parse`], and those that know a domain.

use credits::TransactionName;
use identity::{
    Password,
    api_keys::{KeyScope, KeyScopes},
    passwords::{PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN},
};
use serde_json::json;
use url::Url;
use usage::rating::{Per, Rate};
use web::{
    fault::Problem,
    fields::{
        Parsed, Value,
        amounts::to_note,
        json,
        parser::{Parse, parser},
    },
};

pub use web::parse::*;

/// Most tokens one call may report (HTTP contract 1.8).
pub const TOKENS_MAX: i64 = 1_000_000_000_000;

/// A count of tokens.
pub fn tokens() -> impl Parse<Output = i64> {
    integer(0, TOKENS_MAX)
}

/// The number of units a rate is stated for.
pub fn per() -> impl Parse<Output = Per> {
    const CHOICES: [Per; 3] = [Per::One, Per::Thousand, Per::Million];
    parser(
        || json!({"type": "integer", "enum": CHOICES.map(Per::units)}),
        |value| {
            let units: i64 = integer(i64::MIN, i64::MAX).parse(value)?;
            let per = CHOICES.into_iter().find(|per| per.units() == units);
            per.ok_or_else(|| Problem::new("enum", "Input should be 1, 1000 or 1000000"))
        },
    )
}

/// Credits or dollars for so many units, as pico for one unit: zero or more.
pub fn rate(per: Per) -> impl Parse<Output = i64> {
    to_note(move || Rate::text(Rate::PICO_MAX, per), move |literal| Rate::pico_from_json(literal, per))
}

/// Scopes of an API key: a list with at least one, in which a repeated one counts once (HTTP contract 3.6).
pub fn scopes() -> impl Parse<Output = KeyScopes> {
    parser(
        || {
            let scope = one_of(KeyScope::ALL).schema();
            json!({"type": "array", "items": scope, "minItems": 1, "maxItems": SCOPES_MAX})
        },
        read_scopes,
    )
}

/// Most items of a list of scopes.
const SCOPES_MAX: usize = 16;

fn read_scopes(value: Value<'_>) -> Parsed<KeyScopes> {
    let (Value::Json(literal) | Value::Text(literal)) = value;
    let list = || Problem::new("list_type", "Input should be a valid list");
    let items = json::items(literal, SCOPES_MAX).ok_or_else(list)?;
    if items.len() > SCOPES_MAX {
        return Err(Problem::new("too_long", format!("List should have at most {SCOPES_MAX} items")));
    }
    let scopes: Parsed<Vec<KeyScope>> =
        items.into_iter().map(|item| one_of(KeyScope::ALL).parse(Value::Json(item))).collect();
    let empty = || Problem::new("too_short", "List should have at least 1 item after validation, not 0");
    KeyScopes::new(scopes?).ok_or_else(empty)
}

/// A new password (HTTP contract 9).
pub fn new_password() -> impl Parse<Output = Password> {
    let text = secret(PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX);
    let schema = text.schema();
    parser(
        move || schema.clone(),
        move |value| {
            let chosen = Password::chosen(&text.parse(value)?.0);
            chosen.map_err(|fault| Problem { hides_value: true, ..Problem::value(&fault.to_string()) })
        },
    )
}

/// The address of a picture: an http or https URL of at most 2,048 characters, without a password.
pub fn picture_url() -> impl Parse<Output = String> {
    let text = text(1, 2_048);
    let mut schema = text.schema();
    schema["format"] = "uri".into();
    parser(
        move || schema.clone(),
        move |value| {
            let text = text.parse(value)?;
            let url = Url::parse(&text).ok().filter(|url| {
                let is_plain = url.username().is_empty() && url.password().is_none();
                matches!(url.scheme(), "http" | "https") && is_plain && !text.contains(char::is_whitespace)
            });
            url.map(|_| text).ok_or_else(|| Problem::value("not an http or https URL"))
        },
    )
}

/// A transaction by its integer id, as a number or in digits, or by its `txn_<uuid>` (HTTP contract 1.2).
pub fn transaction_name() -> impl Parse<Output = TransactionName> {
    parser(
        || json!({"oneOf": [{"type": "string", "minLength": 1, "maxLength": 255}, {"type": "integer", "minimum": 1}]}),
        read_transaction_name,
    )
}

fn read_transaction_name(value: Value<'_>) -> Parsed<TransactionName> {
    if let Ok(text) = text(1, 255).parse(value)
        && let Some(name) = TransactionName::of_transaction(&text)
    {
        return Ok(name);
    }
    // Above this, an integer that no id can be would read as the greatest one.
    integer(1, i64::MAX - 1).parse(value).map(TransactionName::Id).map_err(|problem| match problem.kind {
        "int_parsing" | "int_type" => Problem::new(
            "string_pattern_mismatch",
            "Input should be a positive integer or match pattern '^txn_<uuid>$'",
        ),
        _ => problem,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn kind<T>(parsed: Parsed<T>) -> &'static str {
        parsed.map_or_else(|problem| problem.kind, |_| "fine")
    }

    #[test]
    fn rates_are_read_as_they_were_meant() {
        assert_eq!(
            rate(Per::Million).parse(Value::Json("3.3000000000000003")),
            rate(Per::Million).parse(Value::Json("3.3"))
        );
    }

    #[test]
    fn new_passwords_are_judged_and_never_repeated() {
        let parser = new_password();
        for (literal, expected) in [
            ("\"q8w.x:5z\"", "fine"),
            ("\"1234567\"", "string_too_short"),
            ("\"password\"", "value_error"),
            ("12345678", "string_type"),
        ] {
            assert_eq!(kind(parser.parse(Value::Json(literal))), expected, "{literal}");
            let problem = parser.parse(Value::Json(literal)).err();
            assert!(problem.is_none_or(|problem| problem.hides_value), "{literal}");
        }
        let long = format!("\"{}\"", "é".repeat(129));
        assert_eq!(kind(parser.parse(Value::Json(&long))), "string_too_long");
    }

    #[test]
    fn pictures_are_on_the_web() {
        for text in ["https://example.com/a.png?x=1", "http://example.com"] {
            assert_eq!(kind(picture_url().parse(Value::Text(text))), "fine", "{text}");
        }
        for text in [
            "javascript:alert(1)",
            "/a.png",
            "https://u:p@example.com/",
            "https://example.com/a b",
            "ftp://example.com",
        ] {
            assert_eq!(kind(picture_url().parse(Value::Text(text))), "value_error", "{text}");
        }
    }

    #[test]
    fn transactions_have_two_names() {
        let id = Uuid::from_u128(7);
        let quoted = format!("\"txn_{id}\"");
        for (literal, expected) in [
            ("456", TransactionName::Id(456)),
            ("\"456\"", TransactionName::Id(456)),
            ("9223372036854775806", TransactionName::Id(i64::MAX - 1)),
            (quoted.as_str(), TransactionName::Transaction(id)),
        ] {
            assert_eq!(transaction_name().parse(Value::Json(literal)), Ok(expected), "{literal}");
        }
        for literal in ["\"txn_\"", "\"456a\"", "\"\"", "4.5", "true", "null", "{}", "[456]"] {
            let problem = kind(transaction_name().parse(Value::Json(literal)));
            assert_eq!(problem, "string_pattern_mismatch", "{literal}");
        }
        assert_eq!(kind(transaction_name().parse(Value::Json("0"))), "greater_than_equal");
        assert_eq!(kind(transaction_name().parse(Value::Json("9223372036854775808"))), "less_than_equal");
    }
}

//! JSON that callers attach to things and get back as they sent it.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// Most bytes one attached JSON value may have (HTTP contract 1.1).
pub const FREE_FORM_BYTES_MAX: usize = 256 * 1024;

/// Greatest size of an exponent in an attached number: no number of common arithmetic is beyond.
const EXPONENT_MAX: u32 = 400;

/// Most digits that the exponents of one value may unfold into: PostgreSQL's `jsonb` writes `1e400` out in full, so a
/// short text could come back as a very long one.
const UNFOLDED_DIGITS_MAX: u32 = 64 * 1024;

/// A JSON object or array that belongs to the caller. The service keeps it and never looks inside.
///
/// Numbers keep their digits: the text is never parsed into floats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeForm(Arc<str>);

/// Why a JSON text cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Not a JSON array.
    #[error("not a JSON array")]
    NotAnArray,
    /// Longer than [`FREE_FORM_BYTES_MAX`].
    #[error("longer than {FREE_FORM_BYTES_MAX} bytes")]
    TooLong,
    /// Holds a character or a number that the database cannot keep.
    #[error("holds a NUL character, half a surrogate pair or a number that is out of range")]
    Unstorable,
}

impl FreeForm {
    /// The empty object.
    #[must_use]
    pub fn empty() -> Self {
        Self("{}".into())
    }

    /// Keeps the literal text of a JSON object.
    ///
    /// # Errors
    /// [`TextError`] when it is not an object, too long, or cannot be stored.
    pub fn object(literal: &str) -> Result<Self, TextError> {
        if !literal.starts_with('{') {
            return Err(TextError::NotAnObject);
        }
        Self::checked(literal, TextError::NotAnObject)
    }

    /// Keeps the literal text of a JSON array.
    ///
    /// # Errors
    /// [`TextError`] when it is not an array, too long, or cannot be stored.
    pub fn array(literal: &str) -> Result<Self, TextError> {
        if !literal.starts_with('[') {
            return Err(TextError::NotAnArray);
        }
        Self::checked(literal, TextError::NotAnArray)
    }

    /// Takes a text that the database holds as `jsonb`.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text.into())
    }

    /// An object of these members, whose values are texts.
    #[must_use]
    pub fn of_texts<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let map: serde_json::Map<String, serde_json::Value> =
            members.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        Self(serde_json::Value::Object(map).to_string().into())
    }

    /// This object with further text members, which replace those of the same name.
    #[must_use]
    pub fn with_texts<'a>(&self, members: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let Ok(mut map) = serde_json::from_str::<std::collections::BTreeMap<String, Box<RawValue>>>(&self.0)
        else {
            return self.clone();
        };
        for (name, text) in members {
            if let Ok(raw) = serde_json::value::to_raw_value(text) {
                map.insert(name.to_owned(), raw);
            }
        }
        serde_json::to_string(&map).map_or_else(|_| self.clone(), |text| Self(text.into()))
    }

    /// Returns true if it has no member or item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let inside = self.0.trim().get(1..).map(str::trim_start);
        inside.is_some_and(|rest| rest.starts_with(['}', ']']))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    fn checked(literal: &str, wrong: TextError) -> Result<Self, TextError> {
        if literal.len() > FREE_FORM_BYTES_MAX {
            return Err(TextError::TooLong);
        }
        serde_json::from_str::<de::IgnoredAny>(literal).map_err(|_| wrong)?;
        if is_storable(literal) { Ok(Self(literal.into())) } else { Err(TextError::Unstorable) }
    }
}

impl Default for FreeForm {
    fn default() -> Self {
        Self::empty()
    }
}

impl Serialize for FreeForm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Reads JSON that was stored, as it is.
impl<'de> Deserialize<'de> for FreeForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self::stored(raw.get().to_owned()))
    }
}

/// Looks for what valid JSON may say and `jsonb` cannot keep: an escaped NUL, half a surrogate pair, and numbers with
/// huge exponents.
fn is_storable(json: &str) -> bool {
    let (mut rest, mut unfolded) = (json, 0);
    while let Some((before, text)) = rest.split_once('"') {
        if !numbers_fit(before, &mut unfolded) {
            return false;
        }
        let Some((inside, after)) = split_string(text) else {
            return false;
        };
        if has_unstorable_escape(inside) {
            return false;
        }
        rest = after;
    }
    numbers_fit(rest, &mut unfolded)
}

/// Splits behind the closing quote of a string whose opening quote is already gone.
fn split_string(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let end = text.char_indices().find_map(|(at, letter)| {
        let closes = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        closes.then_some(at)
    })?;
    let (inside, quoted) = text.split_at_checked(end)?;
    Some((inside, quoted.strip_prefix('"')?))
}

/// An escaped NUL, or half of a surrogate pair without the other: valid in JSON, refused by `jsonb`.
fn has_unstorable_escape(inside: &str) -> bool {
    let mut letters = inside.chars();
    let mut half_pair = false;
    while let Some(letter) = letters.next() {
        let mut code = None;
        if letter == '\\' && letters.next() == Some('u') {
            let digits: String = letters.by_ref().take(4).collect();
            code = u32::from_str_radix(&digits, 16).ok();
        }
        match (half_pair, code) {
            (false, Some(0xD800..=0xDBFF)) => half_pair = true,
            (true, Some(0xDC00..=0xDFFF)) => half_pair = false,
            (true, _) | (false, Some(0 | 0xDC00..=0xDFFF)) => return true,
            (false, _) => {}
        }
    }
    half_pair
}

/// Outside strings an `e` occurs in numbers, `true` and `false` only.
fn numbers_fit(plain: &str, unfolded: &mut u32) -> bool {
    plain.split([',', ':', '[', ']', '{', '}']).map(str::trim).all(|word| {
        if !word.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return true;
        }
        let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
        let size = exponent.trim_start_matches(['+', '-']).parse::<u32>().unwrap_or(u32::MAX);
        *unfolded = unfolded.saturating_add(size);
        size <= EXPONENT_MAX && *unfolded <= UNFOLDED_DIGITS_MAX && mantissa.len() <= 1_000
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_their_text() {
        let text = r#"{"a": [1.10, 12345678901234567890123, "\"e9999\" \\"], "b": {"c": true}}"#;
        let kept = FreeForm::object(text).unwrap();
        assert_eq!(kept.as_json(), text);
        assert_eq!(serde_json::to_string(&kept).unwrap(), text);
        assert_eq!(FreeForm::array("[1]").unwrap().as_json(), "[1]");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert_eq!(FreeForm::object("[]"), Err(TextError::NotAnObject));
        assert_eq!(FreeForm::object("{"), Err(TextError::NotAnObject));
        assert_eq!(FreeForm::array("{}"), Err(TextError::NotAnArray));
        assert_eq!(FreeForm::object(r#"{"a":"x\u0000"}"#), Err(TextError::Unstorable));
        assert_eq!(FreeForm::object(r#"{"\u0000":1}"#), Err(TextError::Unstorable));
        assert!(FreeForm::object(r#"{"a":"x\\u0000"}"#).is_ok());
        for half in
            [r"\ud800", r"\uDC00", r"\udc00\ud800", r"\ud83dx", r"\ud83d\n\ude00", r"\ud83d\ud83d\ude00"]
        {
            let text = format!(r#"{{"a":"{half}"}}"#);
            assert_eq!(FreeForm::object(&text), Err(TextError::Unstorable), "{text}");
        }
        assert!(FreeForm::object(r#"{"a":"\ud83d\uDE00 \\ud800 \u00e9"}"#).is_ok());
        assert_eq!(FreeForm::object(r#"{"a":1e-20000}"#), Err(TextError::Unstorable));
        assert!(FreeForm::object(r#"{"a":"1e-20000","b":false}"#).is_ok());
        let unfolding = format!("[{}1]", "1e300,".repeat(1_000));
        assert_eq!(FreeForm::array(&unfolding), Err(TextError::Unstorable));
        assert!(FreeForm::array(&format!("[{}1]", "1e300,".repeat(100))).is_ok());
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(FREE_FORM_BYTES_MAX));
        assert_eq!(FreeForm::object(&long), Err(TextError::TooLong));
    }

    #[test]
    fn members_are_added_without_touching_the_others() {
        let kept = FreeForm::object(r#"{"n":1.10,"reason":"old"}"#).unwrap();
        assert_eq!(kept.with_texts([("reason", "new")]).as_json(), r#"{"n":1.10,"reason":"new"}"#);
        assert_eq!(FreeForm::of_texts([("a", "\"")]).as_json(), r#"{"a":"\""}"#);
    }
}

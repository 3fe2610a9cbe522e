//! A JSON body as literal texts by field, read strictly: one object, no repeated key, bounded nesting.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize as _,
    de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::http::fault::{Fault, Place, shortened};

/// Deepest nesting of a body (HTTP contract 1.1).
const DEPTH_MAX: usize = 32;

/// The members of a JSON object, as literal texts.
#[derive(Debug, Clone, Default)]
pub struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// The literal text of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, raw)| raw.get())
    }

    /// The members with their literal texts, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, raw)| (key.as_str(), raw.get()))
    }
}

/// Reads a body.
///
/// # Errors
/// The fault, placed: not JSON (`json_invalid` with the byte offset), not an object, a repeated key, nested too deeply.
pub fn read_object(body: &[u8]) -> Result<Object, Fault> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = <&RawValue>::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let value = value.map_err(|error| fault(body, &error))?;
    if !value.get().starts_with('{') {
        return Err(Fault {
            kind: "dict_type",
            loc: vec!["body".into()],
            msg: "Input should be a valid dictionary".to_owned(),
            input: serde_json::from_slice(body).ok().map(shortened),
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let object = reader
        .deserialize_map(Members)
        .map_err(|error| fault(body, &error))?;
    let mut reader = serde_json::Deserializer::from_slice(body);
    // Numbers of the first level may be beyond a float: their parsers read the literal text and say what is wrong.
    if object.0.iter().any(|(_, raw)| raw.get().starts_with(['{', '['])) || has_repeats(&object) {
        let strict = Strict { depth: 0 }.deserialize(&mut reader);
        strict.map_err(|error| fault(body, &error))?;
    }
    Ok(object)
}

fn has_repeats(object: &Object) -> bool {
    let mut names = HashSet::new();
    object.0.iter().any(|(name, _)| !names.insert(name))
}

fn fault(body: &[u8], error: &serde_json::Error) -> Fault {
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = body
        .split_inclusive(|byte| *byte == b'\n')
        .take(lines_before)
        .map(<[u8]>::len)
        .sum();
    let offset = line_start
        .saturating_add(error.column().saturating_sub(1))
        .min(body.len());
    let text = error.to_string();
    let (kind, msg) = match text.split_once(REPEATED) {
        Some(_) => (
            "value_error",
            "Value error, the same key occurs twice in one object".to_owned(),
        ),
        None => ("json_invalid", "JSON decode error".to_owned()),
    };
    Fault {
        kind,
        loc: vec!["body".into(), Place::Position(offset)],
        msg,
        input: None,
    }
}

const REPEATED: &str = "repeated key";

/// Walks a value without keeping it.
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth > DEPTH_MAX {
            Err(E::custom("nested too deeply"))
        } else {
            Ok(Self { depth })
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?.depth;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(de::Error::custom(REPEATED));
            }
            map.next_value_seed(Self { depth: inner })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?.depth;
        while seq.next_element_seed(Self { depth: inner })?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, Box<RawValue>>()? {
            members.push(member);
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &str) -> &'static str {
        read_object(body.as_bytes()).map_or_else(|fault| fault.kind, |_| "fine")
    }

    #[test]
    fn objects_are_read_as_literals() {
        let object = read_object(br#" {"amount": 1.50, "metadata": {"a": [1]}, "none": null} "#).unwrap();
        assert_eq!(object.get("amount"), Some("1.50"));
        assert_eq!(object.get("metadata"), Some(r#"{"a": [1]}"#));
        assert_eq!(object.get("none"), Some("null"));
        assert_eq!(object.get("other"), None);
    }

    #[test]
    fn other_bodies_are_refused_with_their_place() {
        assert_eq!(kind("[]"), "dict_type");
        assert_eq!(kind("\"x\""), "dict_type");
        assert_eq!(kind(r#"{"a":1,"a":2}"#), "value_error");
        assert_eq!(kind(r#"{"m":{"a":1,"a":2}}"#), "value_error");
        assert_eq!(kind(r#"{"a":NaN}"#), "json_invalid");
        assert_eq!(kind(r#"{"a":1} x"#), "json_invalid");
        assert_eq!(kind("{\"a\":\"\u{1}\"}"), "json_invalid");
        assert_eq!(read_object(b"\xff{}").unwrap_err().kind, "json_invalid");
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(kind(&nested(31)), "fine");
        assert_eq!(kind(&nested(32)), "json_invalid");
        assert_eq!(kind(&nested(100_000)), "json_invalid");
        let fault = read_object(b"{\n \"a\": x}").unwrap_err();
        assert_eq!(fault.loc, vec![Place::from("body"), Place::Position(8)]);
    }
}

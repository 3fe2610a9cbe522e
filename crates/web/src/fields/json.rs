//! A JSON body as literal texts by field, read strictly: one object, no repeated key, bounded nesting.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt,
    ops::Range,
};

use serde::{
    Deserialize as _,
    de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    echo,
    fault::{Fault, Problem, Step},
};

/// Deepest nesting of a body (HTTP contract 1.1).
const DEPTH_MAX: usize = 32;

/// Most keys that are remembered at once to find repeated ones: those of an object and of the objects around it. Several
/// free-form objects ([`kernel::FreeForm`]) have fewer.
const KEYS_MAX: usize = 65_536;

/// Most characters of a repeated key that its fault shows.
const KEY_SHOWN_MAX: usize = 100;

/// The members of a JSON object, as literal texts. They are parts of the one text of the body: nothing is copied.
#[derive(Debug, Clone, Default)]
pub struct Object {
    text: String,
    members: Vec<(String, Range<usize>)>,
}

impl Object {
    /// The literal text of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, literal)| literal)
    }

    /// The members with their literal texts, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let part = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or("null");
        self.members.iter().map(move |(key, range)| (key.as_str(), part(range)))
    }
}

/// Reads a body.
///
/// # Errors
/// The fault, placed: not JSON (`json_invalid` with the byte offset), not an object, a repeated key, nested too deeply, too many
/// members (`too_long`).
pub fn read_object(body: Vec<u8>) -> Result<Object, Fault> {
    let text = String::from_utf8(body).map_err(|error| Fault {
        kind: "json_invalid",
        loc: vec!["body".into(), Step::Position(error.utf8_error().valid_up_to())],
        msg: "JSON decode error".to_owned(),
        input: None,
    })?;
    let members = read_members(&text)?;
    Ok(Object { text, members })
}

/// The items of a list as literal texts; of a longer list the first `max` and one more. `None` for what is not a list.
#[must_use]
pub fn items(list: &str, max: usize) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(list);
    let whole = reader.deserialize_seq(Items { found: &mut found, max });
    (whole.is_ok() || found.len() > max).then_some(found)
}

fn read_members(text: &str) -> Result<Vec<(String, Range<usize>)>, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = <&RawValue>::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let value = value.map_err(|error| fault(text.as_bytes(), &error))?;
    if !value.get().starts_with('{') {
        return Err(Fault {
            kind: "dict_type",
            loc: vec!["body".into()],
            msg: "Input should be a valid dictionary".to_owned(),
            input: Some(echo::of_json(value.get())),
        });
    }
    let walk = Walk::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let members =
        reader.deserialize_map(Members { text, walk: &walk }).map_err(|error| walk.fault(text, &error))?;
    let is_nested =
        |range: &Range<usize>| text.get(range.clone()).is_some_and(|part| part.starts_with(['{', '[']));
    // Numbers of the first level may be beyond a float: their parsers read the literal text and say what is wrong.
    if members.iter().any(|(_, range)| is_nested(range)) || has_repeats(&members) {
        let mut reader = serde_json::Deserializer::from_str(text);
        let strict = Strict { depth: 0, walk: &walk };
        strict.deserialize(&mut reader).map_err(|error| walk.fault(text, &error))?;
    }
    Ok(members)
}

fn has_repeats(members: &[(String, Range<usize>)]) -> bool {
    let mut names = HashSet::new();
    members.iter().any(|(name, _)| !names.insert(name))
}

fn fault(body: &[u8], error: &serde_json::Error) -> Fault {
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize =
        body.split_inclusive(|byte| *byte == b'\n').take(lines_before).map(<[u8]>::len).sum();
    let offset = line_start.saturating_add(error.column().saturating_sub(1)).min(body.len());
    Fault {
        kind: "json_invalid",
        loc: vec!["body".into(), Step::Position(offset)],
        msg: "JSON decode error".to_owned(),
        input: None,
    }
}

/// The problem of a number that is valid JSON and that no double holds.
fn beyond_a_double(error: &serde_json::Error) -> Option<Problem> {
    let is_beyond = error.to_string().starts_with("number out of range");
    is_beyond.then(|| Problem::value("a number must be between -1.8e308 and 1.8e308"))
}

/// A walk over all of a value.
#[derive(Default)]
struct Walk {
    /// Number of keys remembered.
    keys: Cell<usize>,
    /// The fault of a value that is valid JSON.
    problem: RefCell<Option<Problem>>,
}

impl Walk {
    fn refuse<E: de::Error>(&self, problem: Problem) -> E {
        self.problem.replace(Some(problem));
        E::custom("refused")
    }

    /// The fault that ended the walk.
    fn fault(&self, text: &str, error: &serde_json::Error) -> Fault {
        let fault = fault(text.as_bytes(), error);
        match self.problem.take().or_else(|| beyond_a_double(error)) {
            Some(Problem { kind, msg, .. }) => Fault { kind, msg, ..fault },
            None => fault,
        }
    }
}

fn too_many_keys() -> Problem {
    let msg = format!("Dictionary should have at most {KEYS_MAX} items after validation, not more");
    Problem::new("too_long", msg)
}

/// Walks a value without keeping it.
#[derive(Clone, Copy)]
struct Strict<'w> {
    depth: usize,
    walk: &'w Walk,
}

impl Strict<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth > DEPTH_MAX {
            let msg = format!("a body has at most {DEPTH_MAX} levels of nesting");
            Err(self.walk.refuse(Problem::value(&msg)))
        } else {
            Ok(Self { depth, ..self })
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?;
        let remembered = &self.walk.keys;
        let before = remembered.get();
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if remembered.replace(remembered.get().saturating_add(1)) >= KEYS_MAX {
                return Err(self.walk.refuse(too_many_keys()));
            }
            if let Some(key) = keys.replace(key) {
                let key: String = key.chars().take(KEY_SHOWN_MAX).collect();
                let msg = format!("the key '{key}' occurs twice in one object");
                return Err(self.walk.refuse(Problem::value(&msg)));
            }
            map.next_value_seed(inner)?;
        }
        remembered.set(before);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?;
        while seq.next_element_seed(inner)?.is_some() {}
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

/// The members of a text, each with its place in it.
struct Members<'t, 'w> {
    text: &'t str,
    walk: &'w Walk,
}

impl<'de> Visitor<'de> for Members<'_, '_> {
    type Value = Vec<(String, Range<usize>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let begins = self.text.as_ptr().addr();
        let mut members = Vec::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            if members.len() >= KEYS_MAX {
                return Err(self.walk.refuse(too_many_keys()));
            }
            let literal = raw.get();
            let start = literal.as_ptr().addr().saturating_sub(begins);
            members.push((name, start..start.saturating_add(literal.len())));
        }
        Ok(members)
    }
}

/// The first items of a list.
struct Items<'f, 'de> {
    found: &'f mut Vec<&'de str>,
    max: usize,
}

impl<'de> Visitor<'de> for Items<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.found.len() <= self.max {
            match seq.next_element::<&'de RawValue>()? {
                Some(raw) => self.found.push(raw.get()),
                None => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(body: &str) -> &'static str {
        read_object(body.into()).map_or_else(|fault| fault.kind, |_| "fine")
    }

    #[test]
    fn objects_are_read_as_literals() {
        let object =
            read_object(br#" {"amount": 1.50, "metadata": {"a": [1]}, "none": null} "#.to_vec()).unwrap();
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
        assert_eq!(read_object(b"\xff{}".to_vec()).unwrap_err().kind, "json_invalid");
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(kind(&nested(31)), "fine");
        assert_eq!(kind(&nested(32)), "value_error");
        assert_eq!(kind(&nested(100_000)), "value_error");
        let fault = read_object(b"{\n \"a\": x}".to_vec()).unwrap_err();
        assert_eq!(fault.loc, vec![Step::from("body"), Step::Position(8)]);
    }

    #[test]
    fn keys_are_bounded_and_lists_are_read_as_far_as_wanted() {
        let object = |keys: usize| {
            let members: Vec<String> = (0..keys).map(|key| format!("\"{key}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert_eq!(kind(&object(KEYS_MAX)), "fine");
        assert_eq!(kind(&object(KEYS_MAX + 1)), "too_long");
        // Keys of neighbours are forgotten, those of the objects around are not.
        let pair = format!("{{\"a\":{0},\"b\":{0}}}", object(60_000));
        assert_eq!(kind(&pair), "fine");
        let inner = object(40_000);
        let nested = format!("{{\"x\":{{\"y\":{inner},{}}}", &inner[1..]);
        assert_eq!(kind(&nested), "fine");
        let nested = format!("{{\"x\":{{{},\"y\":{inner}}}}}", &inner[1..inner.len() - 1]);
        assert_eq!(kind(&nested), "too_long");
        assert_eq!(items("[1, [2], \"3\"]", 3).unwrap(), ["1", "[2]", "\"3\""]);
        assert_eq!(items("[1,2,3,not even json", 2).unwrap(), ["1", "2", "3"]);
        assert_eq!(items("[]", 2).unwrap(), Vec::<&str>::new());
        for no_list in ["{}", "5", "[1,", "\"[]\""] {
            assert_eq!(items(no_list, 9), None, "{no_list}");
        }
    }
}

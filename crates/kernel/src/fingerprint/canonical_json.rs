//! JSON as it is hashed: members in the order of their names, blanks and escapes aside, numbers as they were written.

use std::{borrow::Cow, collections::BTreeMap};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Deepest nesting of JSON whose spelling does not matter; what lies deeper is taken as it was written. Requests over HTTP
/// are not nested that deeply.
const DEPTH_MAX: usize = 64;

/// A JSON value.
#[derive(Debug)]
pub(super) enum CanonicalJson<'t> {
    Object(BTreeMap<Cow<'t, str>, Self>),
    Array(Vec<Self>),
    Text(Cow<'t, str>),
    /// A number, a constant, or what is taken as it was written.
    Literal(&'t str),
}

impl<'t> CanonicalJson<'t> {
    /// Reads a text in one pass. What is no JSON is a literal.
    pub(super) fn new(text: &'t str) -> Self {
        let text = text.trim();
        // The reader takes the grammar for granted.
        let value = match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Reader { rest: text }.value(0),
            Err(_) => None,
        };
        value.unwrap_or(Self::Literal(text))
    }

    /// Feeds the words that stand for the value to `word`: an object is `{`, the number of its members, and each of them as name
    /// and value; an array `[` in the same way; a text is `"` and the text; anything else is `#` and the literal.
    pub(super) fn words(&self, word: &mut impl FnMut(&str)) {
        match self {
            Self::Object(members) => {
                word("{");
                word(&members.len().to_string());
                for (name, value) in members {
                    word(name);
                    value.words(word);
                }
            }
            Self::Array(items) => {
                word("[");
                word(&items.len().to_string());
                for item in items {
                    item.words(word);
                }
            }
            Self::Text(text) => {
                word("\"");
                word(text);
            }
            Self::Literal(literal) => {
                word("#");
                word(literal);
            }
        }
    }
}

/// Reads valid JSON from its beginning to its end. `None` is for what is not valid after all.
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    /// The value that comes next.
    fn value(&mut self, depth: usize) -> Option<CanonicalJson<'t>> {
        self.skip_blanks();
        let text = self.rest;
        let value = match text.as_bytes().first()? {
            b'{' if depth < DEPTH_MAX => self.object(depth)?.map(CanonicalJson::Object),
            b'[' if depth < DEPTH_MAX => Some(CanonicalJson::Array(self.array(depth)?)),
            b'"' => text_of(self.literal()?).map(CanonicalJson::Text),
            _ => {
                self.literal()?;
                None
            }
        };
        let length = text.len().checked_sub(self.rest.len())?;
        Some(value.unwrap_or(CanonicalJson::Literal(text.get(..length)?)))
    }

    /// The members of an object; of several with one name the last. Without them if a name is not Unicode: half of a
    /// surrogate pair.
    fn object(&mut self, depth: usize) -> Option<Option<BTreeMap<Cow<'t, str>, CanonicalJson<'t>>>> {
        let mut members = Some(BTreeMap::new());
        self.take(1)?;
        while self.goes_on('}')? {
            let name = text_of(self.literal()?);
            self.skip_blanks();
            self.take(1)?;
            let value = self.value(depth.checked_add(1)?)?;
            match (&mut members, name) {
                (Some(members), Some(name)) => _ = members.insert(name, value),
                _ => members = None,
            }
        }
        Some(members)
    }

    fn array(&mut self, depth: usize) -> Option<Vec<CanonicalJson<'t>>> {
        let mut items = Vec::new();
        self.take(1)?;
        while self.goes_on(']')? {
            items.push(self.value(depth.checked_add(1)?)?);
        }
        Some(items)
    }

    /// Returns whether there is another member or item, and skips what is before it.
    fn goes_on(&mut self, end: char) -> Option<bool> {
        self.skip_blanks();
        if self.rest.starts_with(',') {
            self.take(1)?;
            self.skip_blanks();
        }
        let ends = self.rest.starts_with(end);
        if ends {
            self.take(1)?;
        }
        Some(!ends)
    }

    /// The value that comes next, as it was written.
    fn literal(&mut self) -> Option<&'t str> {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<&'t RawValue>();
        let literal = values.next()?.ok()?.get();
        self.take(values.byte_offset())?;
        Some(literal)
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    fn take(&mut self, length: usize) -> Option<&'t str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

/// The text of a string literal, unless it holds half of a surrogate pair.
fn text_of(literal: &str) -> Option<Cow<'_, str>> {
    if literal.contains('\\') {
        return serde_json::from_str(literal).ok().map(Cow::Owned);
    }
    let inside = literal.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inside.map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The words as they were made before there was a reader for them: each level of nesting was parsed again.
    fn former_words(json: &str, depth: usize, words: &mut Vec<String>) {
        let text = json.trim();
        if depth < DEPTH_MAX
            && text.starts_with('{')
            && let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text)
        {
            words.extend(["{".to_owned(), members.len().to_string()]);
            for (name, value) in members {
                words.push(name);
                former_words(value.get(), depth + 1, words);
            }
            return;
        }
        if depth < DEPTH_MAX
            && text.starts_with('[')
            && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text)
        {
            words.extend(["[".to_owned(), items.len().to_string()]);
            for item in items {
                former_words(item.get(), depth + 1, words);
            }
            return;
        }
        match serde_json::from_str::<String>(text) {
            Ok(text) => words.extend(["\"".to_owned(), text]),
            Err(_) => words.extend(["#".to_owned(), text.to_owned()]),
        }
    }

    fn assert_same(text: &str) {
        let (mut words, mut former) = (Vec::new(), Vec::new());
        CanonicalJson::new(text).words(&mut |word| words.push(word.to_owned()));
        former_words(text, 0, &mut former);
        assert_eq!(words, former, "{text:?}");
    }

    fn string() -> impl Strategy<Value = String> {
        let plain = "[a-c]{0,2}".boxed();
        let escaped = prop_oneof![
            Just(r#"\""#),
            Just(r"\\"),
            Just(r"\\\\"),
            Just(r"\n"),
            Just(r"\u0061"),
            Just(r"\ud83d\uDE00"),
            Just(r"\ud83d"),
            Just("é"),
            Just("{[,]}:"),
            Just("\u{a0}"),
        ];
        (plain.clone(), prop::option::weighted(0.4, escaped), plain)
            .prop_map(|(before, escaped, after)| format!("\"{before}{}{after}\"", escaped.unwrap_or("")))
    }

    fn scalar() -> impl Strategy<Value = String> {
        prop_oneof![
            string(),
            "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?",
            prop_oneof![Just("true"), Just("false"), Just("null")].prop_map(str::to_owned),
        ]
    }

    fn blank() -> impl Strategy<Value = &'static str> {
        prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n\t"), 1 => Just("\r ")]
    }

    fn json() -> impl Strategy<Value = String> {
        scalar().prop_recursive(8, 64, 5, |inner| {
            let array = (prop::collection::vec(inner.clone(), 0..5), blank());
            let member = (string(), blank(), inner.clone(), blank());
            let object = prop::collection::vec(member, 0..5);
            prop_oneof![
                (array, blank()).prop_map(|((items, before), after)| {
                    let items: Vec<_> = items.iter().map(|item| format!("{before}{item}{after}")).collect();
                    format!("[{}{before}]", items.join(","))
                }),
                (object, blank()).prop_map(|(members, blank)| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(name, before, value, after)| format!("{blank}{name}{before}:{after}{value}"))
                        .collect();
                    format!("{{{}{blank}}}", members.join(","))
                }),
                (inner, 1..80_usize).prop_map(|(value, depth)| {
                    format!("{}{value}{}", "[ ".repeat(depth), "]".repeat(depth))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_words_are_those_of_earlier_versions(text in json(), before in blank(), after in blank()) {
            assert_same(&format!("{before}{text}{after}"));
        }

        #[test]
        fn so_are_those_of_what_is_no_json(text in json(), cut in 0..200_usize) {
            assert_same(text.get(cut..).unwrap_or_default());
            assert_same(text.get(..cut).unwrap_or_default());
        }
    }

    #[test]
    fn edges_have_the_words_of_earlier_versions() {
        let deep = |depth: usize, open: &str, inner: &str, close: &str| {
            format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
        };
        for text in [
            "",
            " ",
            "{",
            "\"",
            "x",
            "{}x",
            "{ }",
            "[ ]",
            "[\n1 ,\t2\r]",
            r#"{"a":1,"a":[2],"a":"b"}"#,
            r#"{"a":{"\ud800":1},"b":["\udc00"]}"#,
            r#"{"\u0061":1,"a":2}"#,
            "\u{a0}{}\u{a0}",
            &deep(63, "[", "{\"a\": [1]}", "]"),
            &deep(64, "[", "{\"a\": \"]\\\"}\" }", "]"),
            &deep(65, "{\"a\":", "\"\\u0061\"", "}"),
            &deep(100_000, "[", " ", "]"),
        ] {
            assert_same(text);
        }
    }
}

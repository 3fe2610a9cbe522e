//! What was asked, as a hash that equal requests share however they were written.

use std::collections::BTreeMap;

use kernel::{Credits, FreeForm};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::idempotency::FINGERPRINT_BYTES;

/// The word that every fingerprint begins with. Fingerprints are kept with their keys for good: whoever changes the
/// encoding of anything below, or what a caller of this puts in, turns repeats into conflicts and needs another word.
const VERSION: &str = "v1";

/// Deepest nesting of JSON whose spelling does not matter; what lies deeper is taken as it was written. Requests over HTTP
/// are not nested that deeply.
const DEPTH_MAX: u32 = 64;

/// A fingerprint in the making: the SHA-256 of words in a fixed order, each with a byte that tells it from an absent one and
/// its length (8 bytes, most significant first) before it. So no word can pass for two, nor an absent one for an empty one.
///
/// Beside it are the fingerprints that earlier versions made of the same request: to them an absent object and an empty one
/// were different requests. Rows that such versions stored are compared with all of them.
#[derive(Debug, Clone)]
#[must_use]
pub struct Fingerprint {
    hash: Sha256,
    former: Vec<Sha256>,
}

impl Fingerprint {
    /// The beginning of every fingerprint: the version of the encoding.
    #[expect(
        clippy::new_without_default,
        reason = "an empty fingerprint stands for nothing"
    )]
    pub fn new() -> Self {
        let begun = Self {
            hash: Sha256::new(),
            former: Vec::new(),
        };
        begun.word(VERSION)
    }

    /// With a word.
    pub fn word(self, word: &str) -> Self {
        let length = u64::try_from(word.len()).unwrap_or(u64::MAX);
        self.update(&[&[1], length.to_be_bytes().as_slice(), word.as_bytes()])
    }

    /// With a word that may be absent.
    pub fn maybe(self, word: Option<&str>) -> Self {
        match word {
            Some(word) => self.word(word),
            None => self.update(&[&[0]]),
        }
    }

    /// With an amount, in micro-credits.
    pub fn credits(self, amount: Option<Credits>) -> Self {
        self.number(amount.map(Credits::micro))
    }

    /// With a whole number, in decimal digits.
    pub fn number(self, number: Option<i64>) -> Self {
        self.maybe(number.map(|number| number.to_string()).as_deref())
    }

    /// With an instant, in nanoseconds of the Unix epoch.
    pub fn instant(self, at: Option<OffsetDateTime>) -> Self {
        let nanos = at.map(|at| at.unix_timestamp_nanos().to_string());
        self.maybe(nanos.as_deref())
    }

    /// With an id, in hyphenated lower case.
    pub fn id(self, id: Uuid) -> Self {
        self.word(&id.hyphenated().to_string())
    }

    /// With free JSON: members in the order of their names, blanks and escapes aside, numbers as they were written.
    pub fn json(self, json: Option<&FreeForm>) -> Self {
        match json {
            Some(json) => self.value(json.as_json(), 0),
            None => self.maybe(None),
        }
    }

    /// With an object that may be absent, which is the same as an empty one: both are hashed as an absent one.
    pub fn object(self, object: Option<&FreeForm>) -> Self {
        match object.filter(|object| !object.is_empty()) {
            Some(object) => self.json(Some(object)),
            None => {
                let empty = self.clone().json(Some(&FreeForm::empty()));
                let mut absent = self.maybe(None);
                absent.former.push(empty.hash);
                absent.former.extend(empty.former);
                absent
            }
        }
    }

    /// The fingerprint.
    #[must_use]
    pub fn finish(self) -> [u8; FINGERPRINT_BYTES] {
        self.hash.finalize().into()
    }

    /// The fingerprint, and those that earlier versions may have stored for the same request.
    #[must_use]
    pub fn finish_all(self) -> ([u8; FINGERPRINT_BYTES], Vec<[u8; FINGERPRINT_BYTES]>) {
        let former = self.former.into_iter().map(|hash| hash.finalize().into());
        (self.hash.finalize().into(), former.collect())
    }

    fn update(mut self, parts: &[&[u8]]) -> Self {
        for hash in std::iter::once(&mut self.hash).chain(&mut self.former) {
            parts.iter().for_each(|part| hash.update(part));
        }
        self
    }

    /// An object is `{`, the number of its members, and each of them as name and value; an array likewise `[`; a text is
    /// `"` and the text; anything else is `#` and the literal.
    fn value(self, json: &str, depth: u32) -> Self {
        let text = json.trim();
        if depth < DEPTH_MAX
            && text.starts_with('{')
            && let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text)
        {
            let begun = self.word("{").word(&members.len().to_string());
            return members.iter().fold(begun, |hash, (name, value)| {
                hash.word(name).value(value.get(), depth.saturating_add(1))
            });
        }
        if depth < DEPTH_MAX
            && text.starts_with('[')
            && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text)
        {
            let begun = self.word("[").word(&items.len().to_string());
            return items.iter().fold(begun, |hash, item| {
                hash.value(item.get(), depth.saturating_add(1))
            });
        }
        match serde_json::from_str::<String>(text) {
            Ok(text) => self.word("\"").word(&text),
            Err(_) => self.word("#").word(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [u8; FINGERPRINT_BYTES] {
        let json = FreeForm::object(text).unwrap();
        Fingerprint::new().json(Some(&json)).finish()
    }

    #[test]
    fn equal_json_has_one_fingerprint_and_different_json_has_others() {
        assert_eq!(
            of(r#"{"b":[1.10,{"y":1,"x":2}],"a":"\u0041"}"#),
            of(r#"{"a": "A", "b": [1.10, {"x":2,"y":1}] }"#)
        );
        for (one, other) in [
            (r#"{"a":1.10}"#, r#"{"a":1.1}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":"1"}"#, r#"{"a":1}"#),
            (r##"{"a":"#1"}"##, r##"{"a":["#",1]}"##),
            (r#"{"a":null}"#, r#"{"a":"null"}"#),
            (r#"{"a":{},"b":1}"#, r#"{"a":{"b":1}}"#),
            (r#"{}"#, r#"{"":""}"#),
        ] {
            assert_ne!(of(one), of(other), "{one} {other}");
        }
    }

    #[test]
    fn an_absent_object_and_an_empty_one_have_one_fingerprint() {
        let of = |one: Option<&str>, other: Option<&str>| {
            let one = one.map(|text| FreeForm::object(text).unwrap());
            let other = other.map(|text| FreeForm::object(text).unwrap());
            let asked = Fingerprint::new().word("x").object(one.as_ref());
            asked.word("y").object(other.as_ref()).finish_all()
        };
        let formerly = |one: Option<&FreeForm>, other: Option<&FreeForm>| {
            Fingerprint::new()
                .word("x")
                .json(one)
                .word("y")
                .json(other)
                .finish()
        };
        let empty = FreeForm::empty();
        let (absent, former) = of(None, None);
        assert_eq!(absent, formerly(None, None));
        let expected = [
            formerly(Some(&empty), None),
            formerly(None, Some(&empty)),
            formerly(Some(&empty), Some(&empty)),
        ];
        let sorted = |mut hashes: Vec<_>| {
            hashes.sort_unstable();
            hashes
        };
        assert_eq!(sorted(former.clone()), sorted(expected.to_vec()));
        for (one, other) in [
            (Some("{}"), None),
            (None, Some("{ }")),
            (Some("{\n}"), Some("{}")),
        ] {
            let (hash, again) = of(one, other);
            assert_eq!((hash, sorted(again)), (absent, sorted(former.clone())));
        }
        let (full, former) = of(Some(r#"{"a":1}"#), None);
        assert_ne!(full, absent);
        assert_eq!(former.len(), 1);
    }

    #[test]
    fn json_of_any_depth_has_a_fingerprint() {
        let deep = |blank: &str| format!(r#"{{"a":{}{blank}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_ne!(of(&deep("")), of(&deep(" ")));
    }

    #[test]
    fn words_keep_their_bounds() {
        let new = Fingerprint::new;
        let all = [
            new().word("ab").word("c").finish(),
            new().word("a").word("bc").finish(),
            new().word("abc").finish(),
            new().word("abc").word("").finish(),
            new().word("abc").maybe(None).finish(),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}

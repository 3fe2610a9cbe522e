//! The fingerprint of a request: a hash that equal requests share, however they were written.

mod canonical_json;
pub mod v1;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use self::canonical_json::CanonicalJson;
use crate::FreeForm;

/// Bytes of a fingerprint.
pub const FINGERPRINT_BYTES: usize = 32;

/// A fingerprint in the making, of version 2: the SHA-256 of words, which are the names and values of what is present. Each word
/// has a marker and its length (8 bytes, most significant first) before it, so that no word can pass for two.
///
/// Stored fingerprints are kept for good, so the encoding never changes.
#[derive(Debug, Clone)]
#[must_use]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// The beginning of a fingerprint.
    #[expect(clippy::new_without_default, reason = "an empty fingerprint is no fingerprint of a request")]
    pub fn new() -> Self {
        Self(with_word(Sha256::new(), "v2"))
    }

    /// With a word.
    pub fn word(self, word: &str) -> Self {
        Self(with_word(self.0, word))
    }

    /// With a word that may be absent; an absent word differs from an empty one.
    pub fn maybe(self, word: Option<&str>) -> Self {
        Self(with(self.0, word))
    }

    /// With a whole number, in decimal digits.
    pub fn number(self, number: i64) -> Self {
        self.word(&number.to_string())
    }

    /// With an instant, in nanoseconds of the Unix epoch.
    pub fn instant(self, at: OffsetDateTime) -> Self {
        self.word(&at.unix_timestamp_nanos().to_string())
    }

    /// With an id, in hyphenated lower case.
    pub fn id(self, id: Uuid) -> Self {
        self.word(&id.hyphenated().to_string())
    }

    /// With free JSON: members in the order of their names, blanks and escapes aside, numbers as they were written.
    pub fn json(self, json: &FreeForm) -> Self {
        Self(with_json(self.0, &CanonicalJson::new(json.as_json())))
    }

    /// The fingerprint.
    #[must_use]
    pub fn finish(self) -> [u8; FINGERPRINT_BYTES] {
        self.0.finalize().into()
    }
}

fn with(hash: Sha256, word: Option<&str>) -> Sha256 {
    match word {
        Some(word) => with_word(hash, word),
        None => hash.chain_update([0]),
    }
}

fn with_word(mut hash: Sha256, word: &str) -> Sha256 {
    add_word(&mut hash, word);
    hash
}

fn add_word(hash: &mut Sha256, word: &str) {
    let length = u64::try_from(word.len()).unwrap_or(u64::MAX);
    hash.update([1]);
    hash.update(length.to_be_bytes());
    hash.update(word);
}

fn with_json(mut hash: Sha256, json: &CanonicalJson<'_>) -> Sha256 {
    json.words(&mut |word| add_word(&mut hash, word));
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> [u8; FINGERPRINT_BYTES] {
        Fingerprint::new().json(&FreeForm::object(text).unwrap()).finish()
    }

    #[test]
    fn equal_json_has_one_fingerprint_and_different_json_has_others() {
        assert_eq!(
            hash(r#"{"b":[1.10,{"y":1,"x":2}],"a":"\u0041"}"#),
            hash(r#"{"a": "A", "b": [1.10, {"x":2,"y":1}] }"#)
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
            assert_ne!(hash(one), hash(other), "{one} {other}");
        }
    }

    #[test]
    fn json_of_any_depth_has_a_fingerprint() {
        let deep = |blank: &str| format!(r#"{{"a":{}{blank}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_ne!(hash(&deep("")), hash(&deep(" ")));
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

    /// Fingerprints are kept for good: this one never changes.
    #[test]
    fn a_fingerprint_is_what_it_was() {
        let asked = Fingerprint::new().word("http").maybe(None).number(-7).id(Uuid::from_u128(7));
        let asked = asked.instant(OffsetDateTime::UNIX_EPOCH + time::Duration::SECOND);
        let asked = asked.json(&FreeForm::object(r#"{"b": 1.50, "a": ["\u0041"]}"#).unwrap());
        let hex: String = asked.finish().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "689684fb47909079f1edbf7c6db451c381185d901732a8056e1345418b56996e");
    }
}

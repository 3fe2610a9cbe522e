//! What was asked, as a hash that equal requests share however they were written.

use kernel::{Credits, FreeForm};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::{canonical_json::CanonicalJson, idempotency::FINGERPRINT_BYTES};

/// The word that every fingerprint begins with. Fingerprints are kept with their keys for good: whoever changes the
/// encoding of anything below, or what a caller of this puts in, turns repeats into conflicts and needs another word.
const VERSION: &str = "v1";

/// A fingerprint in the making: the SHA-256 of words in a fixed order, each with a byte that tells it from an absent one and
/// its length (8 bytes, most significant first) before it. So no word can pass for two, nor an absent one for an empty one.
#[derive(Debug, Clone)]
#[must_use]
pub struct Fingerprint {
    hash: Sha256,
    former: Option<FormerFingerprints>,
}

/// What the fingerprints of a request in earlier versions are made from. To them an absent object and an empty one were
/// different requests.
///
/// They are needed only where such a version stored the key, so they are computed then.
#[derive(Debug, Clone)]
pub struct FormerFingerprints {
    /// The hash of what stands before the first object that is absent or empty.
    begun: Sha256,
    /// That object, and what follows.
    steps: Vec<Step>,
}

/// A part of a fingerprint.
#[derive(Debug, Clone)]
enum Step {
    /// A word that may be absent.
    Word(Option<String>),
    /// Free JSON.
    Json(FreeForm),
    /// An object that is absent or empty.
    NoObject,
}

impl Fingerprint {
    /// The beginning of every fingerprint: the version of the encoding.
    #[expect(
        clippy::new_without_default,
        reason = "an empty fingerprint stands for nothing"
    )]
    pub fn new() -> Self {
        Self {
            hash: with_word(Sha256::new(), VERSION),
            former: None,
        }
    }

    /// With a word.
    pub fn word(self, word: &str) -> Self {
        self.maybe(Some(word))
    }

    /// With a word that may be absent.
    pub fn maybe(mut self, word: Option<&str>) -> Self {
        if let Some(former) = &mut self.former {
            former.steps.push(Step::Word(word.map(str::to_owned)));
        }
        let hash = with(self.hash, word);
        Self { hash, ..self }
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
    pub fn json(mut self, json: Option<&FreeForm>) -> Self {
        let Some(json) = json else {
            return self.maybe(None);
        };
        if let Some(former) = &mut self.former {
            former.steps.push(Step::Json(json.clone()));
        }
        let hash = with_json(self.hash, &CanonicalJson::of(json.as_json()));
        Self { hash, ..self }
    }

    /// With an object that may be absent, which is the same as an empty one: both are hashed as an absent one.
    pub fn object(self, object: Option<&FreeForm>) -> Self {
        if let Some(object) = object.filter(|object| !object.is_empty()) {
            return self.json(Some(object));
        }
        let mut former = self.former.unwrap_or_else(|| FormerFingerprints {
            begun: self.hash.clone(),
            steps: Vec::with_capacity(1),
        });
        former.steps.push(Step::NoObject);
        Self {
            hash: with(self.hash, None),
            former: Some(former),
        }
    }

    /// The fingerprint.
    #[must_use]
    pub fn finish(self) -> [u8; FINGERPRINT_BYTES] {
        self.hash.finalize().into()
    }

    /// The fingerprint, and what those are made from that earlier versions may have stored for the same request, if they
    /// are others.
    #[must_use]
    pub fn finish_all(self) -> ([u8; FINGERPRINT_BYTES], Option<FormerFingerprints>) {
        (self.hash.finalize().into(), self.former)
    }
}

impl FormerFingerprints {
    /// The fingerprints: one for each way in which the objects may have been absent or empty.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = [u8; FINGERPRINT_BYTES]> {
        let begun = vec![self.begun.clone()];
        let hashes = self.steps.iter().fold(begun, |hashes, step| step.added(hashes));
        hashes.into_iter().map(|hash| hash.finalize().into())
    }
}

impl Step {
    /// The hashes with this part, in each of its forms.
    fn added(&self, hashes: Vec<Sha256>) -> Vec<Sha256> {
        let hashes = hashes.into_iter();
        match self {
            Self::Word(word) => hashes.map(|hash| with(hash, word.as_deref())).collect(),
            Self::Json(json) => {
                let json = CanonicalJson::of(json.as_json());
                hashes.map(|hash| with_json(hash, &json)).collect()
            }
            Self::NoObject => {
                let empty = CanonicalJson::of("{}");
                hashes
                    .flat_map(|hash| [with(hash.clone(), None), with_json(hash, &empty)])
                    .collect()
            }
        }
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
            let (hash, former) = asked.word("y").object(other.as_ref()).finish_all();
            let mut all: Vec<_> = former.iter().flat_map(FormerFingerprints::fingerprints).collect();
            all.sort_unstable();
            (hash, all)
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
        let mut expected = [
            absent,
            formerly(Some(&empty), None),
            formerly(None, Some(&empty)),
            formerly(Some(&empty), Some(&empty)),
        ];
        expected.sort_unstable();
        assert_eq!(former, expected);
        for (one, other) in [
            (Some("{}"), None),
            (None, Some("{ }")),
            (Some("{\n}"), Some("{}")),
        ] {
            assert_eq!(of(one, other), (absent, former.clone()));
        }
        let object = FreeForm::object(r#"{"a":1}"#).unwrap();
        for (one, other, first, second) in [
            (Some(object.as_json()), None, Some(&object), None),
            (None, Some(object.as_json()), None, Some(&object)),
        ] {
            let (hash, former) = of(one, other);
            let with_empty = formerly(first.or(Some(&empty)), second.or(Some(&empty)));
            let mut expected = [formerly(first, second), with_empty];
            expected.sort_unstable();
            assert_eq!((hash, former), (formerly(first, second), expected.to_vec()));
        }
        let (_, none) = Fingerprint::new().object(Some(&object)).finish_all();
        assert!(none.is_none());
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

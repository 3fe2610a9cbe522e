//! Fingerprints as version 1 made them: values in a fixed order, also those that are absent.
//!
//! They are computed only to be compared with what earlier versions of the service stored. That is kept for good, so nothing here
//! may change.

use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{FINGERPRINT_BYTES, canonical_json::CanonicalJson, with, with_json, with_word};
use crate::{Credits, FreeForm};

/// The fingerprints that earlier versions may have stored for one request. To the earliest ones an absent object and an
/// empty one were different requests, so there may be several.
#[derive(Debug, Clone)]
#[must_use]
pub struct Fingerprint {
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
    /// The beginning of a fingerprint.
    #[expect(clippy::new_without_default, reason = "an empty fingerprint is no fingerprint of a request")]
    pub fn new() -> Self {
        Self { begun: with_word(Sha256::new(), "v1"), steps: Vec::new() }
    }

    /// With a word.
    pub fn word(self, word: &str) -> Self {
        self.maybe(Some(word))
    }

    /// With a word that may be absent.
    pub fn maybe(mut self, word: Option<&str>) -> Self {
        if self.steps.is_empty() {
            return Self { begun: with(self.begun, word), ..self };
        }
        self.steps.push(Step::Word(word.map(str::to_owned)));
        self
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

    /// With free JSON.
    pub fn json(mut self, json: &FreeForm) -> Self {
        if self.steps.is_empty() {
            return Self { begun: with_json(self.begun, &CanonicalJson::new(json.as_json())), ..self };
        }
        self.steps.push(Step::Json(json.clone()));
        self
    }

    /// With an object that may be absent, which is the same as an empty one.
    pub fn object(mut self, object: Option<&FreeForm>) -> Self {
        match object.filter(|object| !object.is_empty()) {
            Some(object) => self.json(object),
            None => {
                self.steps.push(Step::NoObject);
                self
            }
        }
    }

    /// The fingerprint that version 1 stored last, when it knew the classes of callers: an absent object was an empty one.
    #[must_use]
    pub fn finish(&self) -> [u8; FINGERPRINT_BYTES] {
        let hash = self.steps.iter().fold(self.begun.clone(), |hash, step| match step {
            Step::Word(word) => with(hash, word.as_deref()),
            Step::Json(json) => with_json(hash, &CanonicalJson::new(json.as_json())),
            Step::NoObject => with(hash, None),
        });
        hash.finalize().into()
    }

    /// The fingerprints: one for each way in which the objects may have been absent or empty. In the first one, which is
    /// [`Fingerprint::finish`], all are absent.
    pub fn hashes(&self) -> impl Iterator<Item = [u8; FINGERPRINT_BYTES]> {
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
                let json = CanonicalJson::new(json.as_json());
                hashes.map(|hash| with_json(hash, &json)).collect()
            }
            Self::NoObject => {
                let empty = CanonicalJson::new("{}");
                hashes.flat_map(|hash| [with(hash.clone(), None), with_json(hash, &empty)]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_object_and_an_empty_one_have_the_same_fingerprints() {
        let of = |one: Option<&str>, other: Option<&str>| {
            let one = one.map(|text| FreeForm::object(text).unwrap());
            let other = other.map(|text| FreeForm::object(text).unwrap());
            let asked = Fingerprint::new().word("x").object(one.as_ref());
            asked.word("y").object(other.as_ref()).hashes().collect::<Vec<_>>()
        };
        let formerly = |one: Option<&FreeForm>, other: Option<&FreeForm>| {
            let json = |asked: Fingerprint, json: Option<&FreeForm>| match json {
                Some(json) => asked.json(json),
                None => asked.maybe(None),
            };
            let asked = json(Fingerprint::new().word("x"), one).word("y");
            json(asked, other).hashes().next().unwrap()
        };
        let empty = FreeForm::empty();
        let absent = of(None, None);
        let expected = [
            formerly(None, None),
            formerly(None, Some(&empty)),
            formerly(Some(&empty), None),
            formerly(Some(&empty), Some(&empty)),
        ];
        assert_eq!(absent, expected);
        for (one, other) in [(Some("{}"), None), (None, Some("{ }")), (Some("{\n}"), Some("{}"))] {
            assert_eq!(of(one, other), absent);
        }
        let object = FreeForm::object(r#"{"a":1}"#).unwrap();
        let text = Some(object.as_json());
        assert_eq!(of(text, None), [formerly(Some(&object), None), formerly(Some(&object), Some(&empty))]);
        assert_eq!(of(None, text), [formerly(None, Some(&object)), formerly(Some(&empty), Some(&object))]);
        assert_eq!(of(text, text), [formerly(Some(&object), Some(&object))]);
    }

    /// Fingerprints are kept for good: these never change.
    #[test]
    fn fingerprints_are_what_they_were() {
        let object = FreeForm::object(r#"{"b": 1.50, "a": ["\u0041"]}"#).unwrap();
        let asked = Fingerprint::new().word("http").maybe(None).number(Some(-7)).id(Uuid::from_u128(7));
        let asked = asked.credits(Some(Credits::from_micro(1_500_000))).json(&object).object(None);
        let asked = asked.instant(Some(OffsetDateTime::UNIX_EPOCH + time::Duration::SECOND)).json(&object);
        let hex = |hash: [u8; FINGERPRINT_BYTES]| -> String {
            hash.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let hashes: Vec<String> = asked.hashes().map(hex).collect();
        assert_eq!(
            hashes,
            [
                "42cbf2c77545c8fbdd7b6b6bc6fe50789de0d3081e9f11b719218ab9a53f36be",
                "1f71cda47ca5f4d4826963254b81a3c46a033b9616507fe3caadf470cdd8aad4"
            ]
        );
    }
}

//! An event, before anything is decided about it, and its fingerprint.

use kernel::{CallerClass, Credits, FreeForm, Usd, UserId};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// An event as a caller describes it. Shapes and limits were checked where it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageInput {
    /// See [`crate::NewRecord::user_id`].
    pub user_id: UserId,
    /// See [`crate::NewRecord::event_type`].
    pub event_type: String,
    /// See [`crate::NewRecord::recorded_by`].
    pub recorded_by: CallerClass,
    /// See [`crate::EventId::id`].
    pub event_id: Option<String>,
    /// See [`crate::NewRecord::occurred_at`].
    pub occurred_at: Option<OffsetDateTime>,
    /// See [`crate::NewRecord::endpoint`].
    pub endpoint: Option<String>,
    /// See [`crate::NewRecord::session_id`].
    pub session_id: Option<String>,
    /// See [`crate::NewRecord::trace_id`].
    pub trace_id: Option<String>,
    /// See [`crate::NewRecord::model_name`]. An empty text counts as absent.
    pub model_name: Option<String>,
    /// See [`crate::NewRecord::provider`]. An empty text counts as absent.
    pub provider: Option<String>,
    /// See [`crate::NewRecord::tool_name`]. An empty text counts as absent.
    pub tool_name: Option<String>,
    /// See [`crate::NewRecord::operation_name`].
    pub operation_name: Option<String>,
    /// The charge; absent means what the price of the model says, or 0 without a price.
    pub credits_charged: Option<Credits>,
    /// The cost; absent means what the price of the model says, or 0 without a price.
    pub cost_usd: Option<Usd>,
    /// Method of the charge; absent means [`crate::PRICE_LIST`], [`crate::UNKNOWN`] or [`crate::UNRATED`].
    pub calculation_method: Option<String>,
    /// All tokens; absent means those of question and answer.
    pub tokens_used: Option<i64>,
    /// Tokens of the question; absent means 0.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the answer; absent means 0.
    pub completion_tokens: Option<i64>,
    /// Part of the tokens of the question that the provider had in its cache; absent means 0.
    pub cached_prompt_tokens: Option<i64>,
    /// Absent means `{}`.
    pub billing_metadata: Option<FreeForm>,
    /// Absent means `{}`.
    pub request_data: Option<FreeForm>,
    /// Absent means `{}`.
    pub response_data: Option<FreeForm>,
}

impl UsageInput {
    /// An event of which nothing but user and kind is known, recorded by a service.
    #[must_use]
    pub fn new(user_id: UserId, event_type: impl Into<String>) -> Self {
        Self {
            user_id,
            event_type: event_type.into(),
            recorded_by: CallerClass::Service,
            event_id: None,
            occurred_at: None,
            endpoint: None,
            session_id: None,
            trace_id: None,
            model_name: None,
            provider: None,
            tool_name: None,
            operation_name: None,
            credits_charged: None,
            cost_usd: None,
            calculation_method: None,
            tokens_used: None,
            prompt_tokens: None,
            completion_tokens: None,
            cached_prompt_tokens: None,
            billing_metadata: None,
            request_data: None,
            response_data: None,
        }
    }
}

/// The hash of everything the caller stated. Kept with event ids, so it must stay the same in later versions; a field that
/// comes later is added only where it is present.
///
/// Defaults are left out: when a price changes, a repeat is still the same event. An absent text differs from an empty one,
/// because the caller said something else; an empty object is an absent one. JSON is compared as it was written.
///
/// With it comes what the hashes of earlier versions are made from.
pub(crate) fn fingerprint(input: &UsageInput) -> ([u8; 32], Former) {
    let former = Former {
        begun: before_objects(input),
        objects: [&input.billing_metadata, &input.request_data, &input.response_data].map(Clone::clone),
        cached_prompt_tokens: input.cached_prompt_tokens,
    };
    let full = |object: &Option<FreeForm>| object.clone().filter(|object| !object.is_empty());
    let hash = former
        .objects
        .iter()
        .fold(former.begun.clone(), |hash, object| with(hash, full(object).as_ref().map(FreeForm::as_json)));
    (former.finished(hash), former)
}

/// Inputs of the hashes of an event in earlier versions. For them an empty object was not an absent one, and its
/// text counted, with its blanks.
///
/// There are up to 27 such hashes, and they are needed only where such a version stored the id, so they are computed then.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    /// The hash of what stands before the objects.
    begun: Sha256,
    objects: [Option<FreeForm>; 3],
    cached_prompt_tokens: Option<i64>,
}

impl Former {
    /// Returns whether an earlier version may have stored this hash for the event.
    pub(crate) fn has(&self, payload: &[u8]) -> bool {
        let mut hashes = vec![self.begun.clone()];
        for object in &self.objects {
            let text = object.as_ref().map(FreeForm::as_json);
            let texts = match object {
                Some(object) if !object.is_empty() => vec![text],
                Some(_) if text != Some("{}") => vec![None, Some("{}"), text],
                _ => vec![None, Some("{}")],
            };
            hashes =
                hashes.iter().flat_map(|hash| texts.iter().map(|text| with(hash.clone(), *text))).collect();
        }
        hashes.into_iter().any(|hash| self.finished(hash).as_slice() == payload)
    }

    fn finished(&self, hash: Sha256) -> [u8; 32] {
        let hash = match self.cached_prompt_tokens {
            Some(cached) => with(with(hash, Some("cached_prompt_tokens")), Some(&cached.to_string())),
            None => hash,
        };
        hash.finalize().into()
    }
}

/// The hash of what stands before the objects.
fn before_objects(input: &UsageInput) -> Sha256 {
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    let occurred_at = input.occurred_at.map(|at| at.unix_timestamp_nanos().to_string());
    let credits_charged = number(input.credits_charged.map(|amount| amount.micro()));
    let cost_usd = number(input.cost_usd.map(|amount| amount.nano()));
    let [tokens_used, prompt_tokens, completion_tokens] =
        [input.tokens_used, input.prompt_tokens, input.completion_tokens].map(number);
    let words = [
        Some("v1"),
        Some(input.event_type.as_str()),
        occurred_at.as_deref(),
        input.endpoint.as_deref(),
        input.session_id.as_deref(),
        input.trace_id.as_deref(),
        input.model_name.as_deref(),
        input.provider.as_deref(),
        input.tool_name.as_deref(),
        input.operation_name.as_deref(),
        credits_charged.as_deref(),
        cost_usd.as_deref(),
        input.calculation_method.as_deref(),
        tokens_used.as_deref(),
        prompt_tokens.as_deref(),
        completion_tokens.as_deref(),
    ];
    words.into_iter().fold(Sha256::new(), with)
}

/// The hash of texts, of which any may be absent.
pub(crate) fn hash(words: &[Option<&str>]) -> [u8; 32] {
    words.iter().copied().fold(Sha256::new(), with).finalize().into()
}

/// A hash with one text more. With its length before it no word can pass for two.
fn with(hash: Sha256, word: Option<&str>) -> Sha256 {
    match word {
        None => hash.chain_update([0]),
        Some(text) => {
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes();
            hash.chain_update([1]).chain_update(length).chain_update(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_differ_when_anything_said_differs() {
        let event = || UsageInput::new("a".parse().unwrap(), "ai_chat");
        let inputs = [
            event(),
            UsageInput { model_name: Some(String::new()), ..event() },
            UsageInput { provider: Some(String::new()), ..event() },
            UsageInput { tokens_used: Some(0), ..event() },
            UsageInput { prompt_tokens: Some(0), ..event() },
            UsageInput { occurred_at: Some(time::OffsetDateTime::UNIX_EPOCH), ..event() },
            UsageInput { request_data: Some(kernel::FreeForm::object(r#"{"a":1}"#).unwrap()), ..event() },
        ];
        let hash = |input: &UsageInput| fingerprint(input).0;
        let hashes: std::collections::BTreeSet<[u8; 32]> = inputs.iter().map(hash).collect();
        assert_eq!(hashes.len(), inputs.len());
        // Neither the id nor whose event it is belongs to the content: both are the key it is kept under.
        let named = UsageInput {
            event_id: Some("e1".to_owned()),
            ..UsageInput::new("b".parse().unwrap(), "ai_chat")
        };
        assert_eq!(hash(&named), hash(&event()));
    }

    /// Hashes are kept for good: this one, of an earlier version, never changes.
    #[test]
    fn hashes_are_what_they_were() {
        let bare = UsageInput::new("a".parse().unwrap(), "ai_chat");
        assert_eq!(hex(&fingerprint(&bare).0), GOLDEN_BARE);
        let (hash, former) = fingerprint(&full("{}", None));
        assert_eq!(hex(&hash), GOLDEN_FULL);
        assert!(former.has(&hash) && former.has(&bytes(GOLDEN_FULL_WITH_EMPTY)));
    }

    /// Hashes that versions without classes of callers made of the same events.
    #[test]
    fn blanks_of_empty_objects_counted_in_earlier_versions() {
        let (hash, former) = fingerprint(&full("{ }", None));
        assert_eq!(hex(&hash), GOLDEN_FULL);
        assert!(former.has(&bytes(GOLDEN_FULL_WITH_BLANK)) && former.has(&bytes(GOLDEN_FULL_WITH_EMPTY)));
        let (hash, former) = fingerprint(&full("{ }", Some("{\n  }")));
        assert_eq!(hex(&hash), GOLDEN_FULL);
        assert!(former.has(&bytes(GOLDEN_FULL_WITH_BLANKS)));
        let (_, former) = fingerprint(&full("{}", None));
        assert!(!former.has(&bytes(GOLDEN_FULL_WITH_BLANK)));
    }

    #[test]
    fn an_empty_object_is_an_absent_one() {
        let with = |object: Option<&str>| {
            fingerprint(&UsageInput {
                request_data: object.map(|text| FreeForm::object(text).unwrap()),
                ..UsageInput::new("a".parse().unwrap(), "ai_chat")
            })
        };
        let (absent, former) = with(None);
        assert!(former.has(&absent));
        for empty in ["{}", "{ }", "{\n}"] {
            assert_eq!(with(Some(empty)).0, absent);
        }
        let (hash, former) = with(Some(r#"{"a":1}"#));
        assert!(hash != absent && former.has(&hash) && !former.has(&absent));
    }

    fn full(request_data: &str, response_data: Option<&str>) -> UsageInput {
        let object = |text: &str| FreeForm::object(text).unwrap();
        UsageInput {
            occurred_at: Some(time::OffsetDateTime::UNIX_EPOCH),
            endpoint: Some("/x".to_owned()),
            model_name: Some("gpt-4".to_owned()),
            credits_charged: Some(kernel::Credits::from_micro(1_500_000)),
            prompt_tokens: Some(7),
            cached_prompt_tokens: Some(3),
            billing_metadata: Some(object(r#"{"a": 1}"#)),
            request_data: Some(object(request_data)),
            response_data: response_data.map(object),
            ..UsageInput::new("a".parse().unwrap(), "ai_chat")
        }
    }

    fn hex(hash: &[u8; 32]) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digits).collect()
    }

    const GOLDEN_BARE: &str = "b36d20a868bd950de4c29647f8b15d4abe94066c6c4764c89076d5c4fde2989c";
    const GOLDEN_FULL: &str = "08d0fa585c98b991613bb225e68e7fea8b7674bb0358265916798babfa26a8fa";
    const GOLDEN_FULL_WITH_EMPTY: &str = "22b10c66cd974657b88c2bd39af266bfb6223f996c4337f7fda4a45da7746f8a";
    const GOLDEN_FULL_WITH_BLANK: &str = "b2ed70515b8c3d836189dcd8cc6417014980e09227a6d49d23b40d75456c4cdf";
    const GOLDEN_FULL_WITH_BLANKS: &str = "02da203f95331b16be60dd28da2a61deeeb6e7694cdc0a0274e6d575dd8e31c9";
}

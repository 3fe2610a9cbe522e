//! What a caller said of an event, as a hash.

use kernel::FreeForm;
use sha2::{Digest, Sha256};

use crate::UsageInput;

/// The hash of everything the caller stated. Kept with event ids, so it must stay the same in later versions; a field that
/// comes later is added only where it is present.
///
/// Defaults are left out: when a price changes, a repeat is still the same event. An absent text differs from an empty one,
/// because the caller said something else; an empty object is an absent one. JSON is compared as it was written.
///
/// Beside it are the hashes that earlier versions made of the same event: to them an empty object was not an absent one.
pub(crate) fn fingerprints(input: &UsageInput) -> ([u8; 32], Vec<[u8; 32]>) {
    let objects = [&input.billing_metadata, &input.request_data, &input.response_data];
    let mut hashes = vec![before_objects(input)];
    for object in objects {
        let full = object.as_ref().filter(|object| !object.is_empty());
        if full.is_none() {
            let empty = FreeForm::empty();
            let with_empty: Vec<Sha256> = hashes
                .iter()
                .map(|hash| with(hash.clone(), Some(empty.as_json())))
                .collect();
            hashes = hashes
                .into_iter()
                .map(|hash| with(hash, None))
                .chain(with_empty)
                .collect();
        } else {
            let text = full.map(FreeForm::as_json);
            hashes = hashes.into_iter().map(|hash| with(hash, text)).collect();
        }
    }
    let finished = |hash: Sha256| -> [u8; 32] {
        let hash = match input.cached_prompt_tokens {
            Some(cached) => with(
                with(hash, Some("cached_prompt_tokens")),
                Some(&cached.to_string()),
            ),
            None => hash,
        };
        hash.finalize().into()
    };
    // The first one has every object that says nothing as absent.
    let mut all = hashes.into_iter().map(finished);
    (all.next().unwrap_or_default(), all.collect())
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
            UsageInput {
                model_name: Some(String::new()),
                ..event()
            },
            UsageInput {
                provider: Some(String::new()),
                ..event()
            },
            UsageInput {
                tokens_used: Some(0),
                ..event()
            },
            UsageInput {
                prompt_tokens: Some(0),
                ..event()
            },
            UsageInput {
                occurred_at: Some(time::OffsetDateTime::UNIX_EPOCH),
                ..event()
            },
            UsageInput {
                request_data: Some(kernel::FreeForm::object(r#"{"a":1}"#).unwrap()),
                ..event()
            },
        ];
        let hash = |input: &UsageInput| fingerprints(input).0;
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
        let hex = |hash: &[u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let bare = UsageInput::new("a".parse().unwrap(), "ai_chat");
        assert_eq!(hex(&fingerprints(&bare).0), GOLDEN_BARE);
        let object = |text: &str| Some(kernel::FreeForm::object(text).unwrap());
        let full = UsageInput {
            occurred_at: Some(time::OffsetDateTime::UNIX_EPOCH),
            endpoint: Some("/x".to_owned()),
            model_name: Some("gpt-4".to_owned()),
            credits_charged: Some(kernel::Credits::from_micro(1_500_000)),
            prompt_tokens: Some(7),
            cached_prompt_tokens: Some(3),
            billing_metadata: object(r#"{"a": 1}"#),
            request_data: object("{}"),
            ..bare
        };
        let (hash, former) = fingerprints(&full);
        assert_eq!(hex(&hash), GOLDEN_FULL);
        assert!(former.iter().any(|hash| hex(hash) == GOLDEN_FULL_WITH_EMPTY));
    }

    #[test]
    fn an_empty_object_is_an_absent_one() {
        let event = || UsageInput::new("a".parse().unwrap(), "ai_chat");
        let (absent, former) = fingerprints(&event());
        assert_eq!(former.len(), 7);
        let empty = UsageInput {
            request_data: Some(kernel::FreeForm::object("{ }").unwrap()),
            ..event()
        };
        assert_eq!(fingerprints(&empty), (absent, former.clone()));
        let full = UsageInput {
            billing_metadata: Some(kernel::FreeForm::object(r#"{"a":1}"#).unwrap()),
            ..event()
        };
        let (hash, former) = fingerprints(&full);
        assert!(hash != absent && former.len() == 3 && !former.contains(&absent));
    }

    const GOLDEN_BARE: &str = "b36d20a868bd950de4c29647f8b15d4abe94066c6c4764c89076d5c4fde2989c";
    const GOLDEN_FULL: &str = "08d0fa585c98b991613bb225e68e7fea8b7674bb0358265916798babfa26a8fa";
    const GOLDEN_FULL_WITH_EMPTY: &str = "22b10c66cd974657b88c2bd39af266bfb6223f996c4337f7fda4a45da7746f8a";
}

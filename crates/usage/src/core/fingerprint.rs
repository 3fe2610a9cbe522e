//! What a caller said of an event, as a hash.

use sha2::{Digest, Sha256};

use crate::UsageInput;

/// The hash of everything the caller stated. Kept with event ids, so it must stay the same in later versions; a field that
/// comes later is added only where it is present.
///
/// Defaults are left out: when a price changes, a repeat is still the same event. Absent differs from empty, because the
/// caller said something else. JSON is compared as it was written.
pub(crate) fn fingerprint(input: &UsageInput) -> [u8; 32] {
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    let text = |value: &Option<String>| value.clone();
    let json = |value: &Option<kernel::FreeForm>| value.as_ref().map(|json| json.as_json().to_owned());
    let mut words = vec![
        Some("v1".to_owned()),
        Some(input.event_type.clone()),
        input.occurred_at.map(|at| at.unix_timestamp_nanos().to_string()),
        text(&input.endpoint),
        text(&input.session_id),
        text(&input.trace_id),
        text(&input.model_name),
        text(&input.provider),
        text(&input.tool_name),
        text(&input.operation_name),
        number(input.credits_charged.map(|amount| amount.micro())),
        number(input.cost_usd.map(|amount| amount.nano())),
        text(&input.calculation_method),
        number(input.tokens_used),
        number(input.prompt_tokens),
        number(input.completion_tokens),
        json(&input.billing_metadata),
        json(&input.request_data),
        json(&input.response_data),
    ];
    if let Some(cached) = input.cached_prompt_tokens {
        words.push(Some("cached_prompt_tokens".to_owned()));
        words.push(Some(cached.to_string()));
    }
    hash(&words)
}

/// The hash of texts, of which any may be absent.
pub(crate) fn hash(words: &[Option<String>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for word in words {
        // With its length before it no word can pass for two.
        match word {
            None => hash.update([0]),
            Some(text) => {
                hash.update([1]);
                hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(text);
            }
        }
    }
    hash.finalize().into()
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
                request_data: Some(kernel::FreeForm::empty()),
                ..event()
            },
        ];
        let hashes: std::collections::BTreeSet<[u8; 32]> = inputs.iter().map(fingerprint).collect();
        assert_eq!(hashes.len(), inputs.len());
        // Neither the id nor whose event it is belongs to the content: both are the key it is kept under.
        let named = UsageInput {
            event_id: Some("e1".to_owned()),
            ..UsageInput::new("b".parse().unwrap(), "ai_chat")
        };
        assert_eq!(fingerprint(&named), fingerprint(&event()));
    }
}

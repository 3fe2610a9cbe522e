//! The `Idempotency-Key` of a request, and what makes two requests the same (HTTP contract 1.11).

use std::collections::BTreeMap;

use actix_web::http::header::HeaderName;
use credits::IdempotencyKey;
use kernel::{FreeForm, Principal};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{
    call::Call,
    error::ApiError,
    fault::{Fault, Problem},
};

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header of an answer that was given before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The key of this call, if it has one, bound to who calls, to the route and its user, and to `request`: a text of the
/// parsed request, in which equal requests are equal however they were written.
///
/// # Errors
/// 422 when the header is not a usable key, 401 on an open route.
pub fn key(call: &Call, request: &str) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = call.request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let caller = match call.principal()? {
        Principal::User(id) | Principal::AdminUser(id) => format!("user {id}"),
        Principal::Key { name, .. } => format!("key {name}"),
    };
    let user = call.target().map(ToString::to_string).unwrap_or_default();
    let digest = Sha256::new()
        .chain_update(caller)
        .chain_update([0])
        .chain_update(call.operation)
        .chain_update([0])
        .chain_update(user)
        .chain_update([0])
        .chain_update(request)
        .finalize();
    let usable = value.to_str().ok().filter(|_| values.next().is_none());
    usable
        .and_then(|text| IdempotencyKey::new(text, digest.into()).ok())
        .map(Some)
        .ok_or_else(|| {
            let problem = Problem::new(
                "string_pattern_mismatch",
                "A key is 1 to 255 printable ASCII characters, given once",
            );
            ApiError::faults(vec![Fault::field(
                "header",
                IDEMPOTENCY_KEY.as_str(),
                problem,
                None,
            )])
        })
}

/// Free JSON in one form: members sorted, no blanks, numbers as they were written.
#[must_use]
pub fn canonical(json: Option<&FreeForm>) -> String {
    json.map(|json| canonical_text(json.as_json()))
        .unwrap_or_default()
}

fn canonical_text(json: &str) -> String {
    let text = json.trim();
    if text.starts_with('{')
        && let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text)
    {
        let members: Vec<String> = members
            .into_iter()
            .map(|(name, value)| format!("{name:?}:{}", canonical_text(value.get())))
            .collect();
        return format!("{{{}}}", members.join(","));
    }
    if text.starts_with('[')
        && let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text)
    {
        let items: Vec<String> = items.into_iter().map(|item| canonical_text(item.get())).collect();
        return format!("[{}]", items.join(","));
    }
    match serde_json::from_str::<String>(text) {
        Ok(string) => format!("{string:?}"),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_json_has_one_form_and_different_json_has_others() {
        let form = |text: &str| canonical(FreeForm::object(text).ok().as_ref());
        assert_eq!(
            form(r#"{"b":[1.10,{"y":1,"x":2}],"a":"\u0041"}"#),
            form(r#" {"a": "A", "b": [1.10, {"x":2,"y":1}]}"#.trim())
        );
        assert_ne!(form(r#"{"a":1.10}"#), form(r#"{"a":1.1}"#));
        assert_ne!(form(r#"{"a":[1,2]}"#), form(r#"{"a":[2,1]}"#));
        assert_ne!(form(r#"{"a":"1"}"#), form(r#"{"a":1}"#));
    }
}

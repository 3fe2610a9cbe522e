//! The `Idempotency-Key` of a request, and what makes two requests the same (HTTP contract 1.11).

use actix_web::http::header::HeaderName;
use credits::{Fingerprint, IdempotencyKey};
use kernel::Principal;

use super::{
    call::Call,
    error::ApiError,
    fault::{Fault, Problem},
};

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header of an answer that was given before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The key of this call, if it has one, bound to who calls, to the route and its user, and to what is `asked`: the parsed
/// fields of the request in a fixed order. Fingerprints are kept for good, so a field that is added later must leave those
/// of requests without it as they were.
///
/// # Errors
/// 422 when the header is not a usable key, 401 on an open route.
pub fn key(
    call: &Call,
    asked: impl FnOnce(Fingerprint) -> Fingerprint,
) -> Result<Option<IdempotencyKey>, ApiError> {
    named(
        call,
        |key, fingerprint| IdempotencyKey::new(key, fingerprint).ok(),
        asked,
    )
}

/// The key of item `index` of a batch: that of the call, `#` and the index.
///
/// # Errors
/// As [`key`].
pub fn key_of_item(
    call: &Call,
    index: usize,
    asked: impl FnOnce(Fingerprint) -> Fingerprint,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let item = |key: &str, fingerprint| {
        let whole = IdempotencyKey::new(key, fingerprint).ok()?;
        Some(whole.of_item(index))
    };
    named(call, item, asked)
}

fn named(
    call: &Call,
    name: impl FnOnce(&str, [u8; 32]) -> Option<IdempotencyKey>,
    asked: impl FnOnce(Fingerprint) -> Fingerprint,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = call.request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let caller = Fingerprint::new().word("http");
    let caller = match call.principal()? {
        Principal::User(id) | Principal::AdminUser(id) => caller.word("user").word(id.as_str()),
        Principal::Key { name, .. } => caller.word("key").word(name),
    };
    let bound = caller
        .word(call.operation)
        .maybe(call.target().map(|user| user.as_str()));
    let (fingerprint, former) = asked(bound).finish_all();
    let usable = value.to_str().ok().filter(|_| values.next().is_none());
    usable
        .and_then(|text| name(text, fingerprint))
        .map(|key| Some(key.or_formerly(former)))
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

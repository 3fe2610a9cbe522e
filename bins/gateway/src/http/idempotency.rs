//! The `Idempotency-Key` of a request, and what makes two requests the same (HTTP contract 1.11).

use actix_web::http::header::HeaderName;
use credits::{Fingerprint, IdempotencyKey};
use kernel::Principal;

use super::{
    call::Call,
    catalogue,
    error::ApiError,
    fault::{Fault, Problem},
};

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header of an answer that was given before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The header of a call, bound to who calls and to the route and its user.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its text, if that can be a key.
    text: Option<String>,
    bound: Fingerprint,
}

/// The key of this call, if it has one, bound to who calls, to the route and its user, and to what is `asked`: the parsed
/// fields of the request in a fixed order. Fingerprints are kept for good, so a field that is added later must leave those
/// of requests without it as they were.
///
/// The hash of a large body takes its time, so it is made where large bodies are read; `wish` goes there and comes back.
///
/// # Errors
/// 422 when the header is not a usable key, 401 on an open route, 503 while the process ends.
pub async fn key<T: Send + 'static>(
    call: &Call,
    wish: T,
    asked: impl FnOnce(&T, Fingerprint) -> Fingerprint + Send + 'static,
) -> Result<(T, Option<IdempotencyKey>), ApiError> {
    let Some(begun) = begun(call)? else {
        return Ok((wish, None));
    };
    let work = move || {
        let key = begun.key(|bound| asked(&wish, bound))?;
        Ok((wish, Some(key)))
    };
    call.work(work).await?
}

/// The header of this call, if it has one; whether it is a usable key is asked later.
///
/// # Errors
/// 401 on an open route.
pub fn begun(call: &Call) -> Result<Option<Begun>, ApiError> {
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
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let usable = text.filter(|text| IdempotencyKey::new(*text, [0; 32]).is_ok());
    Ok(Some(Begun {
        text: usable.map(str::to_owned),
        bound,
    }))
}

impl Begun {
    /// Whether the header is a usable key.
    ///
    /// # Errors
    /// 422.
    pub fn check(&self) -> Result<&str, ApiError> {
        self.text.as_deref().ok_or_else(|| {
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

    /// The key of what is `asked`.
    ///
    /// # Errors
    /// As [`Begun::check`].
    pub fn key(&self, asked: impl FnOnce(Fingerprint) -> Fingerprint) -> Result<IdempotencyKey, ApiError> {
        let text = self.check()?;
        let (fingerprint, former) = asked(self.bound.clone()).finish_all();
        IdempotencyKey::new(text, fingerprint)
            .map(|key| key.or_formerly(former))
            .map_err(|_| ApiError::new(&catalogue::INTERNAL))
    }

    /// The key of item `index` of a batch: that of the call, `#` and the index.
    ///
    /// # Errors
    /// As [`Begun::check`].
    pub fn key_of_item(
        &self,
        index: usize,
        asked: impl FnOnce(Fingerprint) -> Fingerprint,
    ) -> Result<IdempotencyKey, ApiError> {
        Ok(self.key(asked)?.of_item(index))
    }
}

//! The `Idempotency-Key` of a request, and what makes two requests the same (HTTP contract 1.11).

use std::fmt::Display;

use actix_web::http::header::HeaderName;
use kernel::{Fingerprint, IdempotencyKey, Principal, fingerprint};

use super::{
    call::Call,
    catalogue,
    error::ApiError,
    fault::{Fault, Problem},
    fields::input::Keyed,
    service::Service,
};

/// The header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of a call, bound to who calls and to the route and its user.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its text, if that can be a key.
    text: Option<String>,
    bound: Fingerprint,
    /// The binding of version 1 of the fingerprint.
    former: fingerprint::v1::Fingerprint,
}

/// The key of this call, if it has one, bound to who calls, to the route and its user, and to the fields of the request.
/// `former` adds to the fingerprint of version 1 what that version added.
///
/// The hash of a large body takes its time, so it is made where large bodies are read; `input` goes there and comes back.
///
/// # Errors
/// 422 when the header is not a usable key, 401 on an open route, 503 while the process ends.
pub async fn key<S: Service, T: Keyed + Send + 'static>(
    call: &Call<S>,
    input: T,
    former: impl FnOnce(&T, fingerprint::v1::Fingerprint) -> fingerprint::v1::Fingerprint + Send + 'static,
) -> Result<(T, Option<IdempotencyKey>), ApiError> {
    key_at::<S, T, String>(call, None, input, former).await
}

/// Like [`key`], bound to a parameter of the path too, with its name and its parsed value.
///
/// # Errors
/// As [`key`].
pub async fn key_at<S: Service, T: Keyed + Send + 'static, P: Display>(
    call: &Call<S>,
    parameter: Option<(&str, P)>,
    input: T,
    former: impl FnOnce(&T, fingerprint::v1::Fingerprint) -> fingerprint::v1::Fingerprint + Send + 'static,
) -> Result<(T, Option<IdempotencyKey>), ApiError> {
    let Some(mut begun) = begun(call)? else {
        return Ok((input, None));
    };
    if let Some((name, value)) = parameter {
        begun.bound = begun.bound.word(name).word(&value.to_string());
    }
    let work = move || {
        let key = begun.key(|bound| input.fingerprint(bound), |bound| former(&input, bound))?;
        Ok((input, Some(key)))
    };
    call.work(work).await?
}

/// The word for callers with an API key, as it is stored with answers.
const SERVICE: &str = "bootstrap";

/// The header of this call, if it has one; whether it is a usable key is asked later.
///
/// # Errors
/// 401 on an open route.
pub fn begun<S: Service>(call: &Call<S>) -> Result<Option<Begun>, ApiError> {
    let mut values = call.request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let principal = call.principal()?;
    let target = call.target().map(|user| user.as_str());
    let (kind, name) = match principal {
        Principal::User(id) | Principal::AdminUser(id) => ("user", id.as_str()),
        // A key is replaced by the next one, and a repeat may come with it.
        Principal::Key { .. } => ("key", SERVICE),
    };
    let words = ["http", kind, name, call.operation];
    let bound = words.into_iter().fold(Fingerprint::new(), Fingerprint::word);
    let former =
        words.into_iter().fold(fingerprint::v1::Fingerprint::new(), fingerprint::v1::Fingerprint::word);
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let usable = text.filter(|text| IdempotencyKey::new(*text, [0; 32]).is_ok());
    Ok(Some(Begun {
        text: usable.map(str::to_owned),
        bound: bound.maybe(target),
        former: former.maybe(target),
    }))
}

impl Begun {
    /// Checks that the header is a usable key.
    ///
    /// # Errors
    /// 422.
    pub fn check(&self) -> Result<&str, ApiError> {
        self.text.as_deref().ok_or_else(|| {
            let problem = Problem::new(
                "string_pattern_mismatch",
                "A key is 1 to 255 printable ASCII characters, given once",
            );
            ApiError::faults(vec![Fault::field("header", IDEMPOTENCY_KEY.as_str(), problem, None)])
        })
    }

    /// The key of what is asked, as versions 2 and 1 hash it.
    ///
    /// # Errors
    /// Like [`Begun::check`].
    pub fn key(
        &self,
        asked: impl FnOnce(Fingerprint) -> Fingerprint,
        former: impl FnOnce(fingerprint::v1::Fingerprint) -> fingerprint::v1::Fingerprint,
    ) -> Result<IdempotencyKey, ApiError> {
        let text = self.check()?;
        let former = former(self.former.clone());
        IdempotencyKey::new(text, asked(self.bound.clone()).finish())
            .map(|key| key.with_v1(former))
            .map_err(|_| ApiError::new(&catalogue::INTERNAL))
    }
}

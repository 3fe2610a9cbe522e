//! Answers that say no more than that it was done.

use crate::http::prelude::*;

/// That it was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Message<'a> {
    /// A sentence in the caller's language.
    message: &'a str,
}

/// The answer with a sentence.
///
/// # Errors
/// As [`Reply::json`].
pub fn message(call: &Call, en: &str, zh: &str) -> Result<Reply, ApiError> {
    let text = Text::new(en, zh);
    Reply::json(&Message { message: text.in_language(call.language) })
}

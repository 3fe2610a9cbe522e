//! Signed links of this service.

use files::links::LinkUse;
use flows::files::Files;
use uuid::Uuid;

use crate::http::prelude::*;

input! {
    /// A signed link.
    pub struct LinkInput {
        /// Its end, in seconds since 1970.
        e: Option<String> = optional(Query, parse::text(0, 32));
        /// Treatment by a browser.
        d: Option<String> = optional(Query, parse::text(0, 32));
        /// Its signature.
        s: Option<String> = optional(Query, parse::text(0, 128));
    }
}

/// Checks a link: its holder needs no other credential.
///
/// # Errors
/// 403.
pub fn check(call: &Call, files: &Files, link: LinkUse, id: Uuid, input: &LinkInput) -> Result<(), ApiError> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (ends, disposition, signature) = (text(&input.e), text(&input.d), text(&input.s));
    if files.links().accepts(link, id, (&ends, &disposition, &signature), call.now) {
        return Ok(());
    }
    let text = Text::new("The link is not valid, or has expired", "链接无效或已过期");
    Err(ApiError::new(&catalogue::PERMISSION_DENIED).text(text))
}

//! Reading a session id from a path.

use uuid::Uuid;

use crate::SessionRefusal;

/// Characters of a UUID in its usual form.
const UUID_CHARS: usize = 36;

/// The session id that `text` writes, in the usual form of a UUID (`8-4-4-4-12` digits, either case).
///
/// # Errors
/// [`SessionRefusal::NotFound`]: what is not a UUID is the id of an unknown session (HTTP contract 1.2).
pub fn parse_session_id(text: &str) -> Result<Uuid, SessionRefusal> {
    // The other forms (braces, URN, without hyphens) are never answered, so they name no session.
    let usual = text.len() == UUID_CHARS;
    usual
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
        .ok_or_else(|| SessionRefusal::NotFound { session_id: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_texts_are_unknown_sessions() {
        let text = "4da97cfa-b95f-4898-8b7d-2786ff703ce0";
        assert_eq!(parse_session_id(text).unwrap().to_string(), text);
        assert_eq!(parse_session_id(&text.to_uppercase()).unwrap().to_string(), text);
        for other in [
            "",
            "456",
            "4da97cfab95f48988b7d2786ff703ce0",
            "{4da97cfa-b95f-4898-8b7d-2786ff703ce0}",
            "4da97cfa-b95f-4898-8b7d-2786ff703ceg",
        ] {
            assert_eq!(
                parse_session_id(other),
                Err(SessionRefusal::NotFound { session_id: other.to_owned() })
            );
        }
    }
}

//! The external id of a user: opaque, case-sensitive, safe in paths, logs and SQL.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest accepted user id, in characters (all of them ASCII, so also bytes).
pub const USER_ID_CHARS_MAX: usize = 255;

/// The id an identity provider gave a user: `auth0|test123`, `google-oauth2|1000`, `email|<uuid>`, a UUID.
///
/// 1 to 255 characters of `[A-Za-z0-9._@+:|~-]`, compared byte by byte (HTTP contract 1.2). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

/// Why a text is not a user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    /// The text is empty.
    #[error("user id is empty")]
    Empty,
    /// The text is longer than [`USER_ID_CHARS_MAX`].
    #[error("user id is longer than {USER_ID_CHARS_MAX} characters")]
    TooLong,
    /// The text holds a character outside `[A-Za-z0-9._@+:|~-]`.
    #[error("user id holds a character that is not allowed")]
    Character,
}

impl UserId {
    /// The id as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, UserIdError> {
        if text.is_empty() {
            return Err(UserIdError::Empty);
        }
        if !text.bytes().all(is_allowed) {
            return Err(UserIdError::Character);
        }
        if text.len() > USER_ID_CHARS_MAX {
            return Err(UserIdError::TooLong);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({})", self.0)
    }
}

impl AsRef<str> for UserId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._@+:|~-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_ids_are_accepted() {
        for text in [
            "auth0|test123",
            "google-oauth2|100000000000000000000",
            "test-user-1",
            "b4f3d1c2-1111-4222-8333-944445555666",
            "email|b4f3d1c2-1111-4222-8333-944445555666",
            "wechat|oGZUI0egBJY1zhBYw2KhdUfwVJJE",
            "a.b_c@d+e:f~g",
        ] {
            assert_eq!(text.parse::<UserId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!("".parse::<UserId>(), Err(UserIdError::Empty));
        assert_eq!("a".repeat(256).parse::<UserId>(), Err(UserIdError::TooLong));
        assert!("a".repeat(255).parse::<UserId>().is_ok());
        for text in ["a b", "a/b", "a\0", "ü", "a%7Cb", "a\"b", "a?b", "a#b"] {
            assert_eq!(text.parse::<UserId>(), Err(UserIdError::Character), "{text:?}");
        }
    }
}

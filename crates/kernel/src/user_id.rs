//! The external id of a user: opaque, case-sensitive, safe in paths, logs and SQL.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest accepted user id, in characters (all of them ASCII, so also bytes).
pub const USER_ID_CHARS_MAX: usize = 255;

/// Texts that are no user ids although their characters are allowed: a client that normalises a path turns
/// `/users/../usage` into `/usage`, and `/users/me` is the path of a route.
pub const USER_IDS_RESERVED: [&str; 4] = [".", "..", "me", "ensure"];

/// The id an identity provider gave a user: `auth0|test123`, `google-oauth2|1000`, `email|<uuid>`, a UUID.
///
/// 1 to 255 characters of `[A-Za-z0-9._@+:|~-]`, compared byte by byte, and none of [`USER_IDS_RESERVED`] (HTTP contract
/// 1.2). Cheap to clone.
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
    /// The text is one of [`USER_IDS_RESERVED`].
    #[error("user id is reserved: '.', '..', 'me' and 'ensure' are no user ids")]
    Reserved,
}

impl UserId {
    /// The id as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id read from a table. It may be one of [`USER_IDS_RESERVED`]: rows made before those were reserved are still
    /// listed and audited.
    ///
    /// # Errors
    /// [`UserIdError`] except [`UserIdError::Reserved`].
    pub fn stored(text: &str) -> Result<Self, UserIdError> {
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

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, UserIdError> {
        if USER_IDS_RESERVED.contains(&text) {
            return Err(UserIdError::Reserved);
        }
        Self::stored(text)
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
            "...",
            ".a",
            "Me",
            "ensured",
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

    #[test]
    fn reserved_texts_come_from_tables_only() {
        for text in USER_IDS_RESERVED {
            assert_eq!(text.parse::<UserId>(), Err(UserIdError::Reserved), "{text}");
            assert!(serde_json::from_value::<UserId>(text.into()).is_err(), "{text}");
            assert_eq!(UserId::stored(text).unwrap().as_str(), text);
        }
        assert_eq!(UserId::stored("a b"), Err(UserIdError::Character));
    }
}

//! Passwords: what may be one, and how they are hashed and checked.
//!
//! Argon2id with 19 MiB, two passes and one lane (OWASP Password Storage Cheat Sheet), in a bounded number of slots: a storm of
//! logins queues, is then refused, and takes no more memory than the slots do.

mod common;
mod pool;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization as _;

pub use pool::{PasswordCheck, PasswordError, PasswordPool};

/// Fewest characters of a new password.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Most characters of a new password.
pub const PASSWORD_CHARS_MAX: usize = 128;

/// Most characters of a presented password: each of a chosen one may come decomposed, into four at most (Unicode, UAX 15).
pub const PASSWORD_CHARS_PRESENTED_MAX: usize = 4 * PASSWORD_CHARS_MAX;

/// A password as it is hashed: in normalization form C, so that a letter with an accent is the same from every keyboard
/// (RFC 8265, 4.2.2), and otherwise as it was given. Spaces count, nothing is cut.
#[derive(Clone)]
pub struct Password(SecretString);

/// The reason that a password cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// It has fewer than [`PASSWORD_CHARS_MIN`] characters.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters")]
    TooShort,
    /// It has more than [`PASSWORD_CHARS_MAX`] characters.
    #[error("a password has at most {PASSWORD_CHARS_MAX} characters")]
    TooLong,
    /// It is one of the most common ones, compared without case.
    #[error("this password is among the most common ones")]
    Common,
}

impl Password {
    /// A password to be checked. One that could not have been chosen is wrong, and nothing else.
    #[must_use]
    pub fn presented(text: &SecretString) -> Self {
        Self(text.expose_secret().nfc().collect::<String>().into())
    }

    /// A new password: any 8 to 128 characters of Unicode, counted as they were given, except for the most common passwords
    /// (HTTP contract 9).
    ///
    /// # Errors
    /// [`PasswordFault`].
    pub fn chosen(text: &SecretString) -> Result<Self, PasswordFault> {
        let characters = text.expose_secret().chars().count();
        if characters < PASSWORD_CHARS_MIN {
            return Err(PasswordFault::TooShort);
        }
        if characters > PASSWORD_CHARS_MAX {
            return Err(PasswordFault::TooLong);
        }
        let password = Self::presented(text);
        if common::contains(password.0.expose_secret()) { Err(PasswordFault::Common) } else { Ok(password) }
    }

    fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Result<Password, PasswordFault> {
        Password::chosen(&text.into())
    }

    #[test]
    fn a_password_has_8_to_128_characters_of_any_kind() {
        for text in ["q8w.x:5z", "        ", "密码密码密码密码", "🐎🔋📎🐎🔋📎🐎🔋", &"ø-".repeat(64)]
        {
            assert!(chosen(text).is_ok(), "{text}");
        }
        for text in ["", "1234567", "密码密码密码密"] {
            assert_eq!(chosen(text), Err(PasswordFault::TooShort), "{text}");
        }
        assert_eq!(chosen(&"ab".repeat(64).replace('b', "é")), chosen(&"aé".repeat(64)));
        assert_eq!(chosen(&format!("{}x", "aé".repeat(64))), Err(PasswordFault::TooLong));
    }

    #[test]
    fn the_most_common_passwords_are_refused_in_any_case() {
        for text in ["password", "12345678", "iloveyou", "PassWord1", "QWERTYUIOP", "trustno1", "woaini1314"]
        {
            assert_eq!(chosen(text), Err(PasswordFault::Common), "{text}");
        }
        assert!(chosen("correct horse battery staple").is_ok());
    }

    #[test]
    fn composed_and_decomposed_letters_are_the_same_password_and_nothing_else_is_changed() {
        let presented = |text: &str| Password::presented(&text.into());
        assert_eq!(presented("cafe\u{301} au lait"), presented("caf\u{e9} au lait"));
        for (one, other) in [("Passphrase", "passphrase"), ("pass phrase", "pass phrase "), ("ﬁve", "five")]
        {
            assert_ne!(presented(one), presented(other), "{one}");
        }
    }

    #[test]
    fn the_longest_password_may_be_presented_decomposed() {
        // Decomposed into four, the most that there are.
        let longest = "\u{1f82}".repeat(PASSWORD_CHARS_MAX);
        let decomposed: String = longest.nfd().collect();
        assert_eq!(decomposed.chars().count(), PASSWORD_CHARS_PRESENTED_MAX);
        assert_eq!(Password::presented(&decomposed.into()), chosen(&longest).unwrap());
        let lengths = ('\0'..=char::MAX).map(|letter| [letter].into_iter().nfd().count());
        assert_eq!(lengths.max(), Some(PASSWORD_CHARS_PRESENTED_MAX / PASSWORD_CHARS_MAX));
    }

    #[test]
    fn debug_shows_nothing_of_the_password() {
        assert_eq!(format!("{:?}", chosen("q8w.x:5z").unwrap()), "Password([redacted])");
    }
}

//! Secrets that protect nothing: monotonous, printed in documentation, or used twice (HTTP contract 14).
//!
//! A reason never holds the value or a part of it.

/// Fewest different bytes. 32 random hexadecimal digits have fewer once in ten million.
const DISTINCT_MIN: usize = 8;
/// Largest share of neighbours that are the same or follow each other, as a fraction. 32 random hexadecimal digits have a larger
/// one once in a billion.
const STEPS_SHARE: (usize, usize) = (2, 3);

/// Secrets that a copied example brings along, as they are printed, and long enough for the rest of the rules.
const PUBLISHED: &[&str] = &[
    // Supabase: the command line, the containers for hosting it oneself.
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    // jwt.io: the present default and the earlier ones.
    "a-string-secret-at-least-256-bits-long",
    "a-string-secret-at-least-384-bits-long-or-so-for-hs384-signing",
    "a-string-secret-at-least-512-bits-long-which-is-very-long-for-hs512-signing",
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "your-256-bit-secret-your-256-bit-secret",
    "qwertyuiopasdfghjklzxcvbnm123456",
    // RFC 7515, appendix A.1.1.
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    // Tutorials of FastAPI, Flask, PostgREST and Spring Security.
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "reallyreallyreallyreallyverysafe",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
];

/// Words of placeholders, without the signs between words. No random text of a usual length holds one of them by chance.
const PLACEHOLDERS: &[&str] = &[
    "changeme",
    "changethis",
    "changeit",
    "replaceme",
    "replacethis",
    "placeholder",
    "insecure",
    "yoursupersecret",
    "yoursecret",
    "yourjwtsecret",
    "yourapikey",
    "yourservicekey",
    "yourservicesecret",
    "yourkeyhere",
    "supersecret",
    "examplekey",
    "examplesecret",
];

/// The reason why `secret` protects nothing, whatever its length; nothing if none is seen.
pub(super) fn weakness(secret: &str) -> Option<&'static str> {
    if is_published(secret) {
        Some("is printed in public documentation: make one with openssl rand -hex 32")
    } else if is_public_token(secret) {
        Some("is a token or a publishable key, which others see, and not a secret")
    } else if is_monotonous(secret.as_bytes()) {
        Some("has few different characters, or repeats or counts them: make one with openssl rand -hex 32")
    } else {
        None
    }
}

fn is_published(secret: &str) -> bool {
    let words: String = secret
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    PUBLISHED.iter().any(|published| secret.eq_ignore_ascii_case(published))
        || PLACEHOLDERS.iter().any(|placeholder| words.contains(placeholder))
}

/// Supabase shows the secret next to the key for browsers, which is a token that this secret signed.
fn is_public_token(secret: &str) -> bool {
    let is_jwt = secret.starts_with("eyJ") && secret.matches('.').count() == 2;
    is_jwt || secret.starts_with("sb_publishable_")
}

/// One character, a few, a text again and again, or characters in the order of the alphabet.
fn is_monotonous(secret: &[u8]) -> bool {
    let mut distinct = secret.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let is_repeated = (1..=secret.len() / 2).any(|period| {
        let later = secret.iter().skip(period);
        secret.iter().zip(later).all(|(one, next)| one == next)
    });
    distinct.len() < DISTINCT_MIN || is_repeated || is_sequence(secret)
}

/// Most neighbours are the same or follow each other, upwards or downwards; `9` and `a` do, as hexadecimal digits.
fn is_sequence(secret: &[u8]) -> bool {
    let places = secret.iter().map(|byte| match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => i32::from(letter) - i32::from(b'a') + i32::from(b'9') + 1,
        other => i32::from(other),
    });
    let steps = places.clone().zip(places.skip(1));
    let small = steps.filter(|(one, next)| one.abs_diff(*next) <= 1).count();
    let neighbours = secret.len().saturating_sub(1);
    let (of, all) = STEPS_SHARE;
    neighbours > 0 && small.saturating_mul(all) > neighbours.saturating_mul(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_makes_passes() {
        for secret in [
            "2f1f0a9c2b7d4e8863a5d1c0f4b79e12",
            "9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab",
            "Zk0u3m1yqC5p8w7JtX2bV6nR4sD9fG1hL0aQeWcYiTo=",
        ] {
            assert_eq!(weakness(secret), None, "{secret}");
        }
    }

    #[test]
    fn every_weak_secret_has_a_reason() {
        let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJyb2xlIjoiYW5vbiJ9.c2lnbmF0dXJlLW9mLXRoZS1rZXk";
        for (secret, reason) in [
            ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "few different"),
            ("abcabcabcabcabcabcabcabcabcabcabc", "few different"),
            ("passwordpasswordpasswordpassword", "few different"),
            ("12345678901234567890123456789012", "few different"),
            ("0123456789abcdef0123456789abcdef", "few different"),
            ("Zk0u3m1yqC5p8w7JtX2bZk0u3m1yqC5p8w7JtX2b", "few different"),
            ("abcdefghijklmnopqrstuvwxyz012345", "few different"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnop", "few different"),
            ("zyxwvutsrqponmlkjihgfedcba987654", "few different"),
            ("aabbccddeeffgghhiijjkkllmmnnoopp", "few different"),
            ("super-secret-jwt-token-with-at-least-32-characters-long", "public"),
            ("Super-Secret-JWT-Token-With-At-Least-32-Characters-Long", "public"),
            ("reallyreallyreallyreallyverysafe", "public"),
            ("please-CHANGE_ME-please-please-please-please", "public"),
            ("your-api-key-here-0123456789abcdefghij", "public"),
            ("django-insecure-0qg7z1m2x3c4v5b6n7a8s9d0f1g2h3j4", "public"),
            (jwt, "token or a publishable key"),
            ("sb_publishable_0123456789abcdefghijklmnop", "token or a publishable key"),
        ] {
            let told = weakness(secret).unwrap_or_default();
            assert!(told.contains(reason), "{secret}: {told:?}");
            assert!(!told.contains(secret), "{told}");
        }
    }
}

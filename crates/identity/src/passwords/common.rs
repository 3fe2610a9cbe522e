//! The most common passwords, from two published rankings (`common/NOTICE`).

use std::sync::LazyLock;

/// In lower case and in the order of their bytes; those that are too short to be chosen are left out.
static COMMON: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("common/passwords.txt").lines().collect());

/// Returns true if a password is on the list, whatever its case.
pub(super) fn contains(password: &str) -> bool {
    COMMON.binary_search(&password.to_lowercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passwords::PASSWORD_CHARS_MIN;

    #[test]
    fn the_list_is_in_order_and_every_entry_is_found() {
        assert!(COMMON.len() >= 10_000);
        assert!(COMMON.is_sorted() && COMMON.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(COMMON.iter().all(|entry| contains(entry) && entry.chars().count() >= PASSWORD_CHARS_MIN));
        assert!(!contains("") && !contains("~not a common one~"));
    }
}

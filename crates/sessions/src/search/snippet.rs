//! The part of a text that shows a hit.

use super::fold::fold;

/// Most characters of a snippet (HTTP contract 5).
const SNIPPET_CHARS_MAX: usize = 300;

/// The text around the first place that contains a folded one.
pub(crate) fn snippet(text: &str, wanted: &str) -> String {
    let folded = fold(text);
    let (before, _) = folded.split_once(wanted).unwrap_or_default();
    let around = SNIPPET_CHARS_MAX.saturating_sub(wanted.chars().count()).div_ceil(2);
    let last = folded.chars().count().saturating_sub(SNIPPET_CHARS_MAX);
    let start = before.chars().count().saturating_sub(around).min(last);
    // Folding keeps the number of characters.
    text.chars().skip(start).take(SNIPPET_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hit_stands_in_the_middle_or_at_an_end() {
        let text = [&"前".repeat(400), "The ΣΊΣΥΦΟΣ", &"後".repeat(400)].concat();
        let found = snippet(&text, "σίσυφοσ");
        assert_eq!(found.chars().count(), 300);
        assert_eq!(found.split_once("ΣΊΣΥΦΟΣ").unwrap().0.chars().count(), 147);
        assert_eq!(snippet(&text, "the"), text.chars().skip(251).take(300).collect::<String>());
        assert_eq!(snippet(&text, "前前"), ["前"; 300].concat());
        assert!(snippet(&format!("{}x", "a".repeat(400)), "x").ends_with("aax"));
        assert_eq!(snippet("Short", "o"), "Short");
    }

    proptest! {
        #[test]
        fn a_snippet_is_a_part_of_the_text_and_has_the_hit(
            before in "(?s).{0,400}", hit in "(?s).{1,200}", after in "(?s).{0,400}",
        ) {
            let (text, wanted) = ([before, hit.clone(), after].concat(), fold(&hit));
            let found = snippet(&text, &wanted);
            prop_assert!(found.chars().count() <= SNIPPET_CHARS_MAX);
            prop_assert!(text.contains(&found) && fold(&found).contains(&wanted));
        }
    }
}

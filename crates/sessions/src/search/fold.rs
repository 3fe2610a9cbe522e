//! Folding of case.

use icu_casemap::{CaseMapper, CaseMapperBorrowed};

const MAPPER: CaseMapperBorrowed<'static> = CaseMapper::new();

/// A text in which characters that differ only in case are the same. It has as many characters as the text.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    folded.extend(text.chars().map(fold_char));
    folded
}

/// Unicode's simple case folding of the simple lower-case mapping: each alone leaves some characters apart (ſ and s, İ and i).
fn fold_char(character: char) -> char {
    match character {
        '\0'..='\x7f' => character.to_ascii_lowercase(),
        // Chinese, Japanese and Korean characters have no case.
        '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => character,
        _ => fold_by_table(character),
    }
}

fn fold_by_table(character: char) -> char {
    MAPPER.simple_fold(MAPPER.simple_lowercase(character))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn characters_that_differ_only_in_case_are_the_same() {
        for (text, folded) in [
            ("Hello, WORLD", "hello, world"),
            ("ΟΔΥΣΣΕΥΣ Οδυσσευς", "οδυσσευσ οδυσσευσ"),
            ("STRASSE Straße STRAẞE", "strasse straße straße"),
            ("\u{212a}elvin ſ µ", "kelvin s μ"),
            ("İstanbul ISPARTA ısparta", "istanbul isparta ısparta"),
            ("Ǆ ǅ ǆ", "ǆ ǆ ǆ"),
            ("你好 ＡＢＣ ａｂｃ", "你好 ａｂｃ ａｂｃ"),
            ("E\u{301} e\u{301} É é", "e\u{301} e\u{301} é é"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }

    #[test]
    fn all_characters_keep_both_rules_of_unicode() {
        let (mut lower, mut simple) = (HashMap::new(), HashMap::new());
        for character in '\0'..=char::MAX {
            let folded = fold_char(character);
            assert_eq!(folded, fold_by_table(character), "{character:?}");
            assert_eq!(folded, fold_char(folded), "{character:?}");
            let of_lower = *lower.entry(MAPPER.simple_lowercase(character)).or_insert(folded);
            let of_simple = *simple.entry(MAPPER.simple_fold(character)).or_insert(folded);
            assert_eq!((of_lower, of_simple), (folded, folded), "{character:?}");
        }
    }
}

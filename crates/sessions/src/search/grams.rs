//! The features of messages that are indexed: characters in a row, role and session, each as a hash.
//!
//! A text that contains what is looked for has all of its features. The contrary need not hold, so the texts that are found by
//! their features are read.

use uuid::Uuid;

use crate::Role;

/// Hash of a feature.
pub(crate) type Gram = u32;

/// Most features of a query that are looked up.
const QUERY_MAX: usize = 8;

/// From here on, characters are mostly Chinese, Japanese and Korean. Two of them say as much as three letters, so no three
/// characters with one of them are indexed.
const WIDE: char = '\u{2e80}';

/// One, two or three characters in a row; those that are missing in front are zero, which is in no text.
#[derive(Clone, Copy)]
struct Run([u64; 3]);

impl Run {
    fn of(text: &str) -> impl Iterator<Item = Self> + '_ {
        let (mut before, mut last) = (0, 0);
        text.chars().flat_map(move |character| {
            let this = u64::from(character);
            let runs = [Self([0, 0, this]), Self([0, last, this]), Self([before, last, this])];
            (before, last) = (last, this);
            runs.into_iter().enumerate().filter_map(|(more, run)| (run.length() > more).then_some(run))
        })
    }

    fn length(self) -> usize {
        self.0.iter().filter(|character| **character != 0).count()
    }

    fn is_wide(self) -> bool {
        self.0.iter().any(|character| *character >= u64::from(WIDE))
    }

    /// Three characters of 21 bits each.
    fn gram(self) -> Gram {
        let Self([first, second, third]) = self;
        mix((first << 42) | (second << 21) | third)
    }
}

/// The features of a folded text, ascending, each once.
pub(crate) fn of_text(folded: &str) -> Vec<Gram> {
    let runs = Run::of(folded).filter(|run| run.length() < 3 || !run.is_wide());
    let mut grams: Vec<Gram> = runs.map(Run::gram).collect();
    grams.sort_unstable();
    grams.dedup();
    grams
}

/// Some features that each text has that contains this folded one, which is not empty.
pub(crate) fn of_query(folded: &str) -> Vec<Gram> {
    let length = folded.chars().take(3).count();
    // Of three characters: three letters, or two characters with a wide one.
    let is_strong = |run: &Run| match (length, run.length()) {
        (3, 3) => !run.is_wide(),
        (3, 2) => run.is_wide(),
        (whole, length) => whole == length && whole < 3,
    };
    let grams: Vec<Gram> = Run::of(folded).filter(is_strong).map(Run::gram).collect();
    spread(&grams)
}

/// The feature of messages of a speaker.
pub(crate) fn of_role(role: Role) -> Gram {
    mix(role.as_str().bytes().fold(u64::MAX, |sum, byte| sum.rotate_left(7) ^ u64::from(byte)))
}

/// The feature of messages of a session.
pub(crate) fn of_session(session_id: Uuid) -> Gram {
    let (first, second) = session_id.as_u64_pair();
    mix(first.rotate_left(32) ^ second ^ u64::MAX)
}

/// At most [`QUERY_MAX`] of them, from all over the text: neighbours mostly occur together.
fn spread(grams: &[Gram]) -> Vec<Gram> {
    let last = grams.len().saturating_sub(1);
    let stretched = |nth: usize| nth.saturating_mul(last).checked_div(QUERY_MAX - 1);
    let place = |nth| stretched(nth).filter(|_| last >= QUERY_MAX).unwrap_or(nth);
    let mut some: Vec<Gram> = (0..QUERY_MAX).filter_map(|nth| grams.get(place(nth))).copied().collect();
    some.sort_unstable();
    some.dedup();
    some
}

/// A hash that is the same in every version of this program, as it is stored. By the finalizer of SplitMix64.
fn mix(value: u64) -> Gram {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let bytes = (value ^ (value >> 31)).to_be_bytes();
    bytes.first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::{collection, prelude::*, sample};

    use super::*;
    use crate::search::fold::fold;

    /// Few different characters, so that parts repeat: letters of three scripts, signs of patterns, emoji, combining marks.
    const ALPHABET: &str = "aAbß ẞsſkK\u{212a}σςΣiİIı你好的%_\\é\u{301}😀👍🏽";

    fn text(length: Range<usize>) -> impl Strategy<Value = String> {
        let letters: Vec<char> = ALPHABET.chars().collect();
        collection::vec(sample::select(letters), length).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_text_has_all_features_of_its_parts(before in text(0..12), part in text(1..30), after in text(0..12)) {
            let text = of_text(&fold(&[before, part.clone(), after].concat()));
            let query = of_query(&fold(&part));
            prop_assert!(!query.is_empty() && query.len() <= QUERY_MAX);
            for gram in query {
                prop_assert!(text.binary_search(&gram).is_ok());
            }
        }
    }

    #[test]
    fn texts_are_told_apart_by_their_features() {
        for (text, query) in [
            ("hello world", "hellow"),
            ("hello world", "xy"),
            ("hello", "z"),
            ("我喜欢猫", "喜狗"),
            ("abc中文", "c文"),
            ("abc", "ab中"),
            ("", "a"),
        ] {
            let text = of_text(text);
            assert!(of_query(query).iter().any(|gram| text.binary_search(gram).is_err()), "{query}");
        }
        // Features of Chinese: each character and each pair; of letters, also three in a row.
        assert_eq!(of_text("我喜欢").len(), 5);
        assert_eq!(of_text("abc").len(), 6);
        assert_eq!(of_text("ab中").len(), 5);
    }

    #[test]
    fn long_queries_are_looked_up_by_features_from_all_over() {
        let alphabet: String = ('a'..='z').chain('A'..='Z').collect();
        assert_eq!(of_query(&alphabet).len(), QUERY_MAX);
        assert_eq!(of_query("aaaaaaaaaaaa").len(), 1);
    }

    #[test]
    fn stored_hashes_do_not_change() {
        assert_eq!(of_text("a中"), [0x31d6_e02f, 0xaeff_7d4b, 0xc8ce_53cb]);
        assert_eq!(of_role(Role::Tool), 0x21bf_65fe);
        assert_eq!(of_session(Uuid::from_u128(7)), 0x8716_bdb3);
    }
}

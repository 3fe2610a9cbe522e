//! The features of messages that are indexed: characters in a row, role and session, each as a hash.
//!
//! A text that contains what is looked for has all of its features. The contrary need not hold, so the texts that are found by
//! their features are read.

use uuid::Uuid;

use crate::Role;

/// Hash of a feature.
pub(crate) type Gram = u32;

/// Most features of a query that are looked up first.
const QUERY_MAX: usize = 32;
/// Most that are looked up further on: the rarest ones.
pub(crate) const RAREST_MAX: usize = 8;

/// From here on, characters are mostly Chinese, Japanese and Korean. Two of them say as much as four letters, so no three
/// characters with one of them are indexed.
const WIDE: char = '\u{2e80}';
/// Most characters in a row that are indexed at each place.
const LETTERS_MAX: usize = 4;
/// Most characters of a short word with its neighbours: the space and the letter before it, and those after it. Long texts have
/// most fours of letters, though not next to each other, and phrases of common words consist of short ones.
const NEIGHBOURS_MAX: usize = LETTERS_MAX + 4;

fn is_wide(run: &[char]) -> bool {
    run.iter().any(|character| *character >= WIDE)
}

/// The features among characters: up to four letters in a row, one or two with a wide one, and short words with their neighbours.
fn runs(characters: &[char]) -> impl Iterator<Item = &[char]> {
    let runs = (1..=NEIGHBOURS_MAX).flat_map(|length| characters.windows(length));
    runs.filter(|run| match run {
        [_] | [_, _] => true,
        [_, _, _] | [_, _, _, _] => !is_wide(run),
        [_, ' ', word @ .., ' ', _] => !word.contains(&' ') && !is_wide(run),
        _ => false,
    })
}

fn gram(run: &[char]) -> Gram {
    // Three characters of 21 bits each.
    let packed =
        |part: &[char]| part.iter().fold(0_u64, |sum, character| (sum << 21) | u64::from(*character));
    mix(run.rchunks(3).rev().fold(0, |sum, part| scatter(sum) ^ packed(part)))
}

/// The features of a folded text that `is_wanted`, ascending, each once.
pub(crate) fn of_text(folded: &str, is_wanted: impl Fn(Gram) -> bool) -> Vec<Gram> {
    let characters: Vec<char> = folded.chars().collect();
    let mut grams: Vec<Gram> = runs(&characters).map(gram).filter(|gram| is_wanted(*gram)).collect();
    grams.sort_unstable();
    grams.dedup();
    grams
}

/// Some features that each text has that contains this folded one, which is not empty: the first [`RAREST_MAX`] and all from all
/// over it, as neighbours mostly occur together.
pub(crate) fn of_query(folded: &str) -> Vec<Gram> {
    let characters: Vec<char> = folded.chars().collect();
    // Those that are in no longer one.
    let is_strong = |(place, run): &(usize, &[char])| {
        let end = place.saturating_add(run.len());
        let before = place.checked_sub(1).and_then(|place| characters.get(place));
        let is_in_longer = [before, characters.get(end)].into_iter().flatten().any(|next| {
            let has_wide = is_wide(run) || is_wide(&[*next]);
            run.len() < if has_wide { 2 } else { LETTERS_MAX }
        });
        !is_in_longer
    };
    let short = (1..=LETTERS_MAX).flat_map(|length| characters.windows(length).enumerate());
    let strong =
        short.filter(|(_, run)| run.len() < 3 || !is_wide(run)).filter(is_strong).map(|(_, run)| run);
    let with_neighbours = runs(&characters).filter(|run| run.len() > LETTERS_MAX);
    let strong: Vec<Gram> = strong.chain(with_neighbours).map(gram).collect();
    let mut some = spread(&strong, RAREST_MAX);
    for gram in spread(&strong, QUERY_MAX.saturating_sub(RAREST_MAX)) {
        if !some.contains(&gram) {
            some.push(gram);
        }
    }
    some
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

/// At most so many of them, from all over, each once.
fn spread(grams: &[Gram], most: usize) -> Vec<Gram> {
    let last = grams.len().saturating_sub(1);
    let steps = most.saturating_sub(1);
    let stretched = |nth: usize| nth.saturating_mul(last).checked_div(steps);
    let place = |nth| stretched(nth).filter(|_| last > steps).unwrap_or(nth);
    let mut some = Vec::new();
    for gram in (0..most).filter_map(|nth| grams.get(place(nth))) {
        if !some.contains(gram) {
            some.push(*gram);
        }
    }
    some
}

/// A hash that is the same in every version of this program, as it is stored. By the finalizer of SplitMix64.
fn mix(value: u64) -> Gram {
    first_bits(scatter(value))
}

fn scatter(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn first_bits(value: u64) -> Gram {
    value.to_be_bytes().first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
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
        collection::vec(prop_oneof![2 => sample::select(letters), 1 => Just(' ')], length)
            .prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_text_has_all_features_of_its_parts(before in text(0..12), part in text(1..30), after in text(0..12)) {
            let text = of_text(&fold(&[before, part.clone(), after].concat()), |_| true);
            let query = of_query(&fold(&part));
            prop_assert!(!query.is_empty() && query.len() <= QUERY_MAX);
            for gram in query {
                prop_assert!(text.binary_search(&gram).is_ok());
            }
        }

        #[test]
        fn parts_of_the_features_are_all_of_them(text in text(0..40)) {
            let text = fold(&text);
            let parts = [of_text(&text, |gram| gram % 3 == 0), of_text(&text, |gram| gram % 3 != 0)];
            let mut parts = parts.concat();
            parts.sort_unstable();
            prop_assert_eq!(parts, of_text(&text, |_| true));
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
            ("ether thin", "thing"),
            ("on the mat at the end", "on the end"),
            ("it is a hat, is it a cat", "is a cat"),
            ("", "a"),
        ] {
            let text = of_text(text, |_| true);
            assert!(of_query(query).iter().any(|gram| text.binary_search(gram).is_err()), "{query}");
        }
        // Features of Chinese: each character and each pair; of letters, also three and four in a
        // row, and short words with their neighbours.
        for (text, features, looked_up) in [
            ("我喜欢", 5, 2),
            ("abcd", 10, 1),
            ("abcde", 14, 2),
            ("ab中", 5, 2),
            ("abcd中", 12, 2),
            ("ab cde", 18, 3),
            ("b of it", 22, 5),
        ] {
            assert_eq!(of_text(text, |_| true).len(), features, "{text}");
            assert_eq!(of_query(text).len(), looked_up, "{text}");
        }
    }

    #[test]
    fn long_queries_are_looked_up_by_features_from_all_over() {
        let alphabet: String = ('a'..='z').chain('A'..='Z').collect();
        let some = of_query(&alphabet);
        assert!(some.len() > RAREST_MAX && some.len() <= QUERY_MAX, "{}", some.len());
        // The first ones are those of a shorter look as well.
        let shown = |nth: usize| gram(&alphabet.chars().skip(nth).take(4).collect::<Vec<_>>());
        assert_eq!((some[0], some[RAREST_MAX - 1]), (shown(0), shown(48)));
        assert_eq!(of_query("aaaaaaaaaaaa").len(), 1);
    }

    #[test]
    fn stored_hashes_do_not_change() {
        assert_eq!(of_text("a中", |_| true), [0x31d6_e02f, 0xaeff_7d4b, 0xc8ce_53cb]);
        assert_eq!(of_query("abcd"), [0xcb96_1416]);
        assert_eq!(of_query("b of it").last(), Some(&0x9c8e_9c6f));
        assert_eq!(of_role(Role::Tool), 0x21bf_65fe);
        assert_eq!(of_session(Uuid::from_u128(7)), 0x8716_bdb3);
    }
}

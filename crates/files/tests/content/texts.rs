//! Texts against whole decoders.

use encoding_rs::{GB18030, UTF_8};
use proptest::prelude::*;

use super::whole;

/// Characters of one to four bytes in either encoding, and bytes that are in none.
const PIECES: [&[u8]; 16] = [
    b"a",
    b"\n",
    b" ",
    b"<",
    b"html",
    b"!",
    b"\xd6\xd0",
    b"\x94\x39\xda\x33",
    b"\x84\x31\x95\x33",
    b"\xa1\xa1",
    b"\xe4\xb8\xad",
    b"\xf0\x9f\x98\x80",
    b"\xef\xbb\xbf",
    b"\xe3\x80\x80",
    b"\x80",
    b"\xff",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn texts_are_those_of_either_encoding(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..8)) {
        let content = pieces.concat();
        let readings: Vec<_> = [UTF_8, GB18030]
            .iter()
            .filter_map(|encoding| encoding.decode_without_bom_handling_and_without_replacement(&content))
            .collect();
        let begins_like_markup = |text: &str| {
            let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            text.strip_prefix('<').is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!'))
        };
        let expected = !readings.is_empty() && !readings.iter().any(|text| begins_like_markup(text));
        prop_assert_eq!(whole("a.txt", None, &content).is_ok(), expected);
    }

    #[test]
    fn any_text_after_a_letter_is_accepted(text in "[^\0]{0,40}") {
        let text = format!("a{text}");
        prop_assert!(whole("a.txt", None, text.as_bytes()).is_ok());
        let (encoded, _, has_failed) = GB18030.encode(&text);
        prop_assume!(!has_failed);
        prop_assert!(whole("a.csv", None, &encoded).is_ok());
    }
}

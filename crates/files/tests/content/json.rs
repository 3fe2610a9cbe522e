//! JSON against the parser of the house.

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::whole;

/// Pieces of JSON, right ones and wrong ones.
const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"a\"",
    "\"a\":",
    "\"\\n\"",
    "\"\\u00e9\"",
    "\"\\ud800\"",
    "\\u12",
    "\\x",
    "1",
    "0",
    "-",
    "-1",
    "1.5",
    "1.",
    ".",
    "e",
    "1e5",
    "1E-5",
    "e+",
    "+",
    "true",
    "false",
    "null",
    "nul",
    " ",
    "\n",
    "\t",
    "中",
    "\u{7f}",
    "\u{1}",
    "{}",
    "[]",
    "[1,{\"b\":[]}]",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn grammar_is_that_of_serde_json(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..9)) {
        agrees(&pieces.concat())?;
    }

    #[test]
    fn damaged_json_is_judged_like_serde_json_does(
        text in json(),
        at in any::<prop::sample::Index>(),
        piece in prop::sample::select(&PIECES[..]),
    ) {
        let text = text.to_string();
        agrees(&text)?;
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let (before, after) = text.split_at(places[at.index(places.len())]);
        agrees(&format!("{before}{piece}{after}"))?;
        agrees(before)?;
        agrees(&format!("{before}{piece}"))?;
    }
}

fn agrees(text: &str) -> Result<(), TestCaseError> {
    let expected = serde_json::from_str::<IgnoredAny>(text).is_ok();
    prop_assert_eq!(whole("a.json", None, text.as_bytes()).is_ok(), expected, "{:?}", text);
    Ok(())
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

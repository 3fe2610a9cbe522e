//! The parameters of a query string (`application/x-www-form-urlencoded`).

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The value of a query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// A decoded value.
    Utf8(String),
    /// A value whose bytes are not UTF-8, as it came.
    Other(String),
}

/// The parameters in the order in which they came. Bytes of a value that are not UTF-8 are kept as they were written: replaced,
/// two different values could become one. Such bytes of a name are replaced, since no parameter has them.
pub(super) fn parse(query: &str) -> Vec<(String, Text)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8_lossy(&decoded(name)).into_owned();
            let text = match String::from_utf8(decoded(value)) {
                Ok(text) => Text::Utf8(text),
                Err(_) => Text::Other(value.to_owned()),
            };
            (name, text)
        })
        .collect()
}

fn decoded(text: &str) -> Vec<u8> {
    let spaced = text.replace('+', " ");
    Cow::from(percent_decode(spaced.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_query_of_utf8_is_read_as_url_reads_it(query in "([a-c=&+ü订]|%[2-7][0-9A-F]|%zz|%C3%BC){0,12}") {
            let expected: Vec<(String, Text)> = url::form_urlencoded::parse(query.as_bytes())
                .map(|(name, text)| (name.into_owned(), Text::Utf8(text.into_owned())))
                .collect();
            prop_assert_eq!(parse(&query), expected);
        }
    }

    #[test]
    fn other_bytes_are_kept_as_they_were_written() {
        let other = |text: &str| Text::Other(text.to_owned());
        let read = parse("a=%FF&a=%fe+x&%ff=1");
        let expected = [("a", other("%FF")), ("a", other("%fe+x")), ("\u{fffd}", Text::Utf8("1".to_owned()))];
        assert_eq!(read, expected.map(|(name, text)| (name.to_owned(), text)));
    }
}

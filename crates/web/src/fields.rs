//! Reading a request so that all its faults are told at once (ADR 0006).
//!
//! Values come from the query, from the JSON body, or from either (HTTP contract 1.10). A parser turns one value into a
//! domain type or says what is wrong; the reader notes the place and goes on.

pub mod amounts;
pub mod dates;
pub mod double;
pub mod input;
pub mod json;
mod nested;
pub mod page;
pub mod parse;
pub mod parser;
mod query;
pub mod time;
pub mod words;

use std::sync::Arc;

pub use self::parser::{Parsed, Source, Value};
use self::{json::Object, parser::Parse, query::Text};
use super::{
    catalogue, echo,
    error::ApiError,
    fault::{Fault, Problem},
    isolation::isolate_pure,
};

/// Mark that some clients write before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Least likeness (Jaro-Winkler, 0 to 1) of a name that is taken for a misspelt one.
const LIKENESS_MIN: f64 = 0.8;

/// Most unknown query parameters that are listed.
const UNKNOWN_MAX: usize = 20;

/// The fields of one request, and the faults found so far.
#[derive(Debug, Default)]
pub struct Fields {
    query: Vec<(String, Text)>,
    body: Option<Arc<Object>>,
    faults: Vec<Fault>,
    /// Faults of parameters that nothing reads, listed with those of [`Fields::read`].
    unknown: Vec<Fault>,
}

/// The change of a value that may be absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch<T> {
    /// None: the field is absent.
    Keep,
    /// The value is removed: the field is null.
    Clear,
    /// Another value.
    Set(T),
}

impl Fields {
    /// Takes a query string and a body. An empty body counts as absent fields; a byte order mark before it is skipped.
    #[must_use]
    pub fn new(query: &str, body: &[u8]) -> Self {
        Self::parse(query, body.to_vec())
    }

    /// As [`Fields::new`], without a copy of the body.
    #[must_use]
    pub fn parse(query: &str, mut body: Vec<u8>) -> Self {
        let skipped = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        drop(body.drain(..skipped));
        let mut fields = Self { query: query::parse(query), ..Self::default() };
        if !body.iter().all(u8::is_ascii_whitespace) {
            match json::read_object(body) {
                Ok(object) => fields.body = Some(Arc::new(object)),
                Err(fault) => fields.faults.push(fault.after(skipped)),
            }
        }
        fields
    }

    /// Reads an input; fails with every fault that was found. Nothing is done while reading, so a panic in it is 500.
    ///
    /// # Errors
    /// 422 with the list of faults, 500 after a panic.
    pub fn read<T>(&mut self, input: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, ApiError> {
        isolate_pure(|| self.read_all(input))
    }

    fn read_all<T>(&mut self, input: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, ApiError> {
        let unreadable = !self.faults.is_empty();
        let value = if unreadable { None } else { input(self) };
        self.faults.append(&mut self.unknown);
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ if self.faults.is_empty() => {
                tracing::error!("a request reader gave up without a fault");
                Err(ApiError::new(&catalogue::INTERNAL))
            }
            _ => Err(ApiError::faults(std::mem::take(&mut self.faults))),
        }
    }

    /// Refuses query parameters other than these, with the next [`Fields::read`]; the first 20 are listed.
    pub fn allow_only(&mut self, known: &[&str]) {
        let strangers = self.query.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let fault = |(name, text): &(String, Text)| {
            let (Text::Utf8(text) | Text::Other(text)) = text;
            Fault::field("query", name, unknown(name, known), Some(echo::of_text(text)))
        };
        self.unknown = strangers.take(UNKNOWN_MAX).map(fault).collect();
    }

    /// A field that must be there.
    pub fn required<T: PartialEq>(
        &mut self,
        source: Source,
        name: &'static str,
        parser: impl Parse<Output = T>,
    ) -> Option<T> {
        let present = self.present(source, name);
        if present.is_empty() {
            let place = if source == Source::Query || (source == Source::Either && self.body.is_none()) {
                "query"
            } else {
                "body"
            };
            self.faults.push(Fault::missing(place, name));
            return None;
        }
        let (value, faults) = agreed(present, name, &parser);
        self.faults.extend(faults);
        value
    }

    /// A field that may be absent; JSON `null` counts as absent.
    pub fn optional<T: PartialEq>(
        &mut self,
        source: Source,
        name: &'static str,
        parser: impl Parse<Output = T>,
    ) -> Option<T> {
        let mut present = self.present(source, name);
        present.retain(|(_, value)| !matches!(value, Ok(Value::Json("null"))));
        let (value, faults) = agreed(present, name, &parser);
        self.faults.extend(faults);
        value
    }

    /// A field of the body that may be null, which is not the same as absent.
    pub fn patch<T: PartialEq>(
        &mut self,
        name: &'static str,
        parser: impl Parse<Output = T>,
    ) -> Option<Patch<T>> {
        let present = self.present(Source::Body, name);
        match present.as_slice() {
            [] => Some(Patch::Keep),
            [(_, Ok(Value::Json("null")))] => Some(Patch::Clear),
            _ => {
                let (value, faults) = agreed(present, name, &parser);
                self.faults.extend(faults);
                value.map(Patch::Set)
            }
        }
    }

    /// Notes a fault of one field that no single parser can see.
    pub fn fault(&mut self, source: &str, name: &str, problem: Problem) {
        self.faults.push(Fault::field(source, name, problem, None));
    }

    /// Notes a fault of one field where the field came from, that no single parser can see.
    pub fn fault_of(&mut self, name: &str, problem: Problem) {
        let source = self.present(Source::Either, name).first().map_or("body", |(source, _)| *source);
        self.fault(source, name, problem);
    }

    /// The query without paging, in a fixed order: what a list was filtered by.
    #[must_use]
    pub fn filters(&self) -> String {
        let mut pairs: Vec<(&str, &str)> = self
            .query
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "limit" | "offset" | "cursor"))
            .map(|(name, Text::Utf8(text) | Text::Other(text))| (name.as_str(), text.as_str()))
            .collect();
        pairs.sort_unstable();
        format!("{pairs:?}")
    }

    /// The text of a query field as it came, to be echoed.
    #[must_use]
    pub fn query_text(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(key, _)| key == name).and_then(|(_, value)| match value {
            Text::Utf8(text) => Some(text.as_str()),
            Text::Other(_) => None,
        })
    }

    /// The values of a field with their sources; an error for bytes that are not UTF-8.
    fn present(&self, source: Source, name: &str) -> Vec<(&'static str, Result<Value<'_>, Value<'_>>)> {
        let mut present = Vec::with_capacity(2);
        if source != Source::Body {
            let texts = self.query.iter().filter(|(key, _)| key == name);
            present.extend(texts.map(|(_, text)| match text {
                Text::Utf8(text) => ("query", Ok(Value::Text(text))),
                Text::Other(text) => ("query", Err(Value::Text(text))),
            }));
        }
        if source != Source::Query {
            let literal = self.body.as_ref().and_then(|body| body.get(name));
            present.extend(literal.map(|literal| ("body", Ok(Value::Json(literal)))));
        }
        present
    }
}

/// The value of a field that may come several times, and the faults.
fn agreed<T: PartialEq>(
    present: Vec<(&'static str, Result<Value<'_>, Value<'_>>)>,
    name: &'static str,
    parser: &impl Parse<Output = T>,
) -> (Option<T>, Vec<Fault>) {
    let (mut first, mut faults) = (None, Vec::new());
    for (source, value) in present {
        let (Ok(echoed) | Err(echoed)) = value;
        let value = value.map_err(|_| Problem::value("the percent-encoded bytes are not UTF-8"));
        match value.and_then(|value| parser.parse(value)) {
            Ok(parsed) if first.as_ref().is_some_and(|other| *other != parsed) => {
                let problem =
                    Problem::new("conflicting_values", "The request gives different values for this field");
                faults.push(Fault::field("query", name, problem, None));
            }
            Ok(parsed) => first = Some(parsed),
            Err(problem) => faults.push(Fault::field(source, name, problem, Some(echoed.echo()))),
        }
    }
    (first, faults)
}

/// The problem of a parameter that is not among those of its route.
fn unknown(name: &str, known: &[&str]) -> Problem {
    let likeness = |known: &&&str| strsim::jaro_winkler(name, known);
    let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let hint = match nearest {
        Some(nearest) if likeness(&nearest) >= LIKENESS_MIN => {
            format!("the nearest known parameter is '{nearest}'")
        }
        Some(_) => format!("the known parameters are '{}'", known.join("', '")),
        None => "there are no parameters".to_owned(),
    };
    Problem::new("extra_forbidden", format!("Extra inputs are not permitted, {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Step;
    use kernel::Credits;

    fn faults(fields: &mut Fields, read: impl FnOnce(&mut Fields) -> Option<()>) -> Vec<(String, String)> {
        let before = fields.faults.len();
        let _value = read(fields);
        fields.faults[before..].iter().map(|fault| (fault.kind.to_owned(), fault.summary())).collect()
    }

    #[test]
    fn every_fault_is_told() {
        let mut fields = Fields::new("", br#"{"amount":-1,"reason":5}"#);
        let found = faults(&mut fields, |fields| {
            let amount: Option<Credits> = fields.required(Source::Body, "amount", parse::credits_to_move());
            let reason = fields.optional(Source::Body, "reason", parse::text(0, 255));
            let name = fields.required(Source::Body, "name", parse::text(1, 255));
            amount.zip(reason).zip(name).map(|_| ())
        });
        let kinds: Vec<_> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["greater_than", "string_type", "missing"]);
    }

    #[test]
    fn query_and_body_must_agree_by_value() {
        let read = |fields: &mut Fields| fields.required(Source::Either, "amount", parse::credits_to_move());
        let mut same = Fields::new("amount=25.50", br#"{"amount":25.5}"#);
        assert_eq!(same.read(read).unwrap(), "25.5".parse().unwrap());
        let mut other = Fields::new("amount=25", br#"{"amount":25.5}"#);
        let found = faults(&mut other, |fields| read(fields).map(|_| ()));
        assert_eq!(found[0].0, "conflicting_values");
    }

    #[test]
    fn a_missing_field_is_placed_where_the_caller_writes() {
        let read = |fields: &mut Fields| {
            fields.required(Source::Either, "amount", parse::credits_to_move());
            fields.faults[0].loc[0].clone()
        };
        assert_eq!(read(&mut Fields::new("", b"")), Step::from("query"));
        assert_eq!(read(&mut Fields::new("", b"{}")), Step::from("body"));
    }

    #[test]
    fn a_byte_order_mark_before_the_body_is_skipped() {
        let read = |fields: &mut Fields| fields.required(Source::Body, "amount", parse::credits_to_move());
        let mut marked = Fields::new("", "\u{feff}{\"amount\":2}".as_bytes());
        assert_eq!(marked.read(read).unwrap(), "2".parse().unwrap());
        let empty = Fields::new("", "\u{feff}".as_bytes());
        assert!(empty.body.is_none() && empty.faults.is_empty());
        let broken = Fields::new("", "\u{feff}{\n \"a\": x}".as_bytes());
        assert_eq!(broken.faults[0].loc, [Step::from("body"), Step::Position(11)]);
        let twice = Fields::new("", "\u{feff}\u{feff}{}".as_bytes());
        assert_eq!(twice.faults[0].kind, "json_invalid");
    }

    #[test]
    fn absent_and_null_are_different_changes() {
        let read = |body: &[u8]| Fields::new("", body).patch("url", parse::text(1, 3));
        assert_eq!(read(b"{}"), Some(Patch::Keep));
        assert_eq!(read(br#"{"url":null}"#), Some(Patch::Clear));
        assert_eq!(read(br#"{"url":"abc"}"#), Some(Patch::Set("abc".to_owned())));
        assert_eq!(read(br#"{"url":"abcd"}"#), None);
    }

    #[test]
    fn a_fault_does_not_repeat_a_secret() {
        for body in [r#"{"password":"canary"}"#, r#"{"password":["canary"]}"#] {
            let mut fields = Fields::new("", body.as_bytes());
            let parser = parse::secret(8, 9);
            assert_eq!(fields.required(Source::Body, "password", parser), None);
            assert_eq!(fields.faults[0].input, None, "{body}");
            assert!(!fields.faults[0].summary().contains("canary"));
        }
    }

    #[test]
    fn a_repeated_parameter_must_agree_with_itself() {
        let read = |fields: &mut Fields| fields.required(Source::Query, "limit", parse::integer::<i64>(0, 9));
        assert_eq!(Fields::new("limit=5&limit=5.0", b"").read(read).unwrap(), 5);
        let mut other = Fields::new("limit=5&limit=6", b"");
        let found = faults(&mut other, |fields| read(fields).map(|_| ()));
        assert_eq!(found[0].0, "conflicting_values");
    }
}

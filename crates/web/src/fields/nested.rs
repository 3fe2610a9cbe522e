//! Lists and objects inside a body: each item is read like a body of its own, and its faults are told where they are.

use std::ops::RangeInclusive;

use super::{Fields, Value, json, json::Object};
use crate::fault::{Fault, Problem, Step};

impl Fields {
    /// A list of objects that must be there, of so many items; the list of what `read` makes of them.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        sizes: RangeInclusive<usize>,
        read: impl Fn(&mut Fields) -> Option<T>,
    ) -> Option<Vec<T>> {
        let body = self.body.clone();
        let literal = self.nested(body.as_deref(), name)?;
        let Some(items) = json::items(literal, *sizes.end()) else {
            let problem = Problem::new("list_type", "Input should be a valid list");
            self.nested_fault(name, problem, literal);
            return None;
        };
        if !self.fits(name, "List", &sizes, items.len()) {
            return None;
        }
        let items = items.into_iter().enumerate();
        // All are read, so that every fault is found.
        let found: Vec<_> = items
            .map(|(index, item)| self.inner(vec![name.into(), Step::Position(index)], item, &read))
            .collect();
        found.into_iter().collect()
    }

    /// An object that must be there, of so many members, each of them an object; the list of what `read` makes of them and
    /// their names.
    pub fn members<T>(
        &mut self,
        name: &'static str,
        sizes: RangeInclusive<usize>,
        read: impl Fn(&mut Fields, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let body = self.body.clone();
        let literal = self.nested(body.as_deref(), name)?;
        let members = match json::read_object(literal.into()) {
            Ok(members) => members,
            Err(fault) => {
                self.nested_fault(name, Problem::new(fault.kind, fault.msg), literal);
                return None;
            }
        };
        if !self.fits(name, "Dictionary", &sizes, members.iter().count()) {
            return None;
        }
        let found: Vec<_> = members
            .iter()
            .map(|(key, member)| {
                self.inner(vec![name.into(), key.into()], member, |fields| read(fields, key))
            })
            .collect();
        found.into_iter().collect()
    }

    /// An object that may be absent; `null` counts as absent. What `read` makes of it, or a fault.
    pub fn object<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&mut Fields) -> Option<T>,
    ) -> Option<Option<T>> {
        let body = self.body.clone();
        match body.as_deref().and_then(|body| body.get(name)) {
            None | Some("null") => Some(None),
            Some(literal) => self.inner(vec![name.into()], literal, read).map(Some),
        }
    }

    /// A fault of the whole object that is read.
    pub fn fault_here(&mut self, problem: Problem) {
        self.faults.push(Fault {
            kind: problem.kind,
            loc: vec!["body".into()],
            msg: problem.msg,
            input: None,
        });
    }

    /// The literal text of a field of the body that must be there.
    fn nested<'b>(&mut self, body: Option<&'b Object>, name: &'static str) -> Option<&'b str> {
        let literal = body.and_then(|body| body.get(name));
        if literal.is_none() {
            self.faults.push(Fault::missing("body", name));
        }
        literal
    }

    fn nested_fault(&mut self, name: &str, problem: Problem, literal: &str) {
        let echo = Some(Value::Json(literal).echo());
        self.faults.push(Fault::field("body", name, problem, echo));
    }

    fn fits(&mut self, name: &str, what: &str, sizes: &RangeInclusive<usize>, size: usize) -> bool {
        let (kind, bound, limit) = if size < *sizes.start() {
            ("too_short", "least", *sizes.start())
        } else if size > *sizes.end() {
            ("too_long", "most", *sizes.end())
        } else {
            return true;
        };
        let items = if limit == 1 { "item" } else { "items" };
        // Of a list that is too long the rest was not counted.
        let size = match what {
            "List" if size > limit => "more".to_owned(),
            _ => size.to_string(),
        };
        let msg = format!("{what} should have at {bound} {limit} {items} after validation, not {size}");
        self.fault("body", name, Problem::new(kind, msg));
        false
    }

    /// Reads an object at this place.
    fn inner<T>(
        &mut self,
        place: Vec<Step>,
        literal: &str,
        read: impl FnOnce(&mut Fields) -> Option<T>,
    ) -> Option<T> {
        let mut inner = Self::new("", literal.as_bytes());
        let value = if inner.faults.is_empty() { read(&mut inner) } else { None };
        self.faults.extend(inner.faults.into_iter().map(|fault| moved(fault, &place)));
        value
    }
}

/// The fault of an inner object, told from the outer one: `["body", "amount"]` at `items.0` is `["body", "items", 0, "amount"]`.
fn moved(fault: Fault, place: &[Step]) -> Fault {
    let mut inner = fault.loc.into_iter();
    let mut loc: Vec<Step> = inner.next().into_iter().collect();
    loc.extend_from_slice(place);
    loc.extend(inner);
    Fault { loc, ..fault }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{Source, parse};

    type Parts = Vec<(String, i64)>;

    fn read(fields: &mut Fields) -> Option<Vec<(i64, Parts)>> {
        fields.objects("items", 1..=2, |item| {
            let size = item.required(Source::Body, "size", parse::integer(0, 9));
            let parts = item.members("parts", 1..=2, |part, name| {
                if name == "x" {
                    part.fault_here(Problem::value("no part"));
                }
                let count = part.required(Source::Body, "count", parse::integer(0, 9))?;
                Some((name.to_owned(), count))
            });
            Some((size?, parts?))
        })
    }

    fn faults(body: &str) -> Vec<(String, String)> {
        let mut fields = Fields::new("", body.as_bytes());
        let value = read(&mut fields);
        assert!(value.is_none() || !fields.faults.is_empty(), "{body}");
        fields.faults.iter().map(|fault| (fault.kind.to_owned(), fault.summary())).collect()
    }

    fn one(kind: &str, summary: &str) -> Vec<(String, String)> {
        vec![(kind.to_owned(), summary.to_owned())]
    }

    #[test]
    fn objects_are_read_item_by_item_and_member_by_member() {
        let body = r#"{"items":[{"size":1,"parts":{"a":{"count":2},"b":{"count":3}}},{"size":4,"parts":{"c":{"count":5}}}]}"#;
        let found = Fields::new("", body.as_bytes()).read(read).unwrap();
        let part = |name: &str, count| (name.to_owned(), count);
        assert_eq!(found, [(1, vec![part("a", 2), part("b", 3)]), (4, vec![part("c", 5)])]);
    }

    #[test]
    fn every_fault_is_told_where_it_is() {
        let found =
            faults(r#"{"items":[{"parts":{"a":{"count":-1}}},{"size":1,"parts":{"x":{"count":1},"b":5}}]}"#);
        let places: Vec<&str> =
            found.iter().map(|(_, summary)| summary.split(": ").next().unwrap()).collect();
        assert_eq!(
            places,
            [
                "body.items.0.size",
                "body.items.0.parts.a.count",
                "body.items.1.parts.x",
                "body.items.1.parts.b"
            ]
        );
    }

    #[test]
    fn other_shapes_are_refused() {
        assert_eq!(faults("{}"), one("missing", "body.items: Field required"));
        assert_eq!(faults(r#"{"items":null}"#), one("list_type", "body.items: Input should be a valid list"));
        assert_eq!(faults(r#"{"items":{}}"#), one("list_type", "body.items: Input should be a valid list"));
        assert_eq!(
            faults(r#"{"items":[]}"#),
            one("too_short", "body.items: List should have at least 1 item after validation, not 0")
        );
        assert_eq!(
            faults(r#"{"items":[{},{},{}]}"#),
            one("too_long", "body.items: List should have at most 2 items after validation, not more")
        );
        assert_eq!(
            faults(r#"{"items":[5]}"#),
            one("dict_type", "body.items.0: Input should be a valid dictionary")
        );
        assert_eq!(
            faults(r#"{"items":[{"size":1,"parts":[]}]}"#),
            one("dict_type", "body.items.0.parts: Input should be a valid dictionary")
        );
        assert_eq!(
            faults(r#"{"items":[{"size":1,"parts":{}}]}"#),
            one(
                "too_short",
                "body.items.0.parts: Dictionary should have at least 1 item after validation, not 0"
            )
        );
    }
}

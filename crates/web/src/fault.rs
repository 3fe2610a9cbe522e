//! One fault in the shape of a request, worded as the documents show (HTTP contract 1.6).

use serde::Serialize;
use serde_json::Value as Json;

/// One entry of `detail` in a 422.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// The problem, for machines: `missing`, `decimal_parsing`, ...
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where: `["body", "amount"]`.
    pub loc: Vec<Step>,
    /// The problem, for people.
    pub msg: String,
    /// The wrong value, shortened; left out for secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
}

/// One step of a location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Step {
    /// A name.
    Name(String),
    /// A position in a list, or a byte offset.
    Position(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

/// Result of a parser for a value; the reader adds the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Type of the fault.
    pub kind: &'static str,
    /// Sentence about it.
    pub msg: String,
    /// The value is not repeated in the answer.
    pub hides_value: bool,
}

impl Problem {
    /// A problem of this type.
    #[must_use]
    pub fn new(kind: &'static str, msg: impl Into<String>) -> Self {
        Self { kind, msg: msg.into(), hides_value: false }
    }

    /// The value has the right type but not the right meaning.
    #[must_use]
    pub fn value(msg: &str) -> Self {
        Self::new("value_error", format!("Value error, {msg}"))
    }
}

impl Fault {
    /// A required field is absent.
    #[must_use]
    pub fn missing(source: &str, field: &str) -> Self {
        Self {
            kind: "missing",
            loc: vec![source.into(), field.into()],
            msg: "Field required".to_owned(),
            input: None,
        }
    }

    /// A problem with one field; `input` is the echo of its value (see `echo`).
    #[must_use]
    pub fn field(source: &str, field: &str, problem: Problem, input: Option<Json>) -> Self {
        let input = input.filter(|_| !problem.hides_value);
        Self { kind: problem.kind, loc: vec![source.into(), field.into()], msg: problem.msg, input }
    }

    /// The same fault in a text that begins `bytes` later.
    #[must_use]
    pub fn after(mut self, bytes: usize) -> Self {
        if let Some(Step::Position(offset)) = self.loc.get_mut(1) {
            *offset = offset.saturating_add(bytes);
        }
        self
    }

    /// The fault in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let place: Vec<String> = self
            .loc
            .iter()
            .map(|place| match place {
                Step::Name(name) => name.clone(),
                Step::Position(position) => position.to_string(),
            })
            .collect();
        format!("{}: {}", place.join("."), self.msg)
    }
}

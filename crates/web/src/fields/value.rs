//! One value of a request as it came, and its source.

use serde_json::Value as Json;

use crate::{echo, fault::Problem};

/// One value as it came.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// The literal text of a JSON value.
    Json(&'a str),
    /// A decoded query value.
    Text(&'a str),
}

/// The outcome of reading a value.
pub type Parsed<T> = Result<T, Problem>;

impl Value<'_> {
    /// The value as a fault shows it, shortened.
    #[must_use]
    pub fn echo(self) -> Json {
        match self {
            Self::Json(literal) => echo::of_json(literal),
            Self::Text(text) => echo::of_text(text),
        }
    }
}

/// Sources of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The query only.
    Query,
    /// The JSON body only.
    Body,
    /// Either; both must agree.
    Either,
}

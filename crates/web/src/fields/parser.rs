//! Parser of one value of a request, with the schema of the values it accepts.

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

/// Reads one value of a request, and describes in OpenAPI what it accepts.
pub trait Parse {
    /// The type of what was read.
    type Output;

    /// Reads a value.
    ///
    /// # Errors
    /// Its fault.
    fn parse(&self, value: Value<'_>) -> Parsed<Self::Output>;

    /// The JSON schema of the accepted values.
    fn schema(&self) -> Json;
}

/// A parser from a schema and a function.
pub fn parser<T>(
    schema: impl Fn() -> Json,
    parse: impl Fn(Value<'_>) -> Parsed<T>,
) -> impl Parse<Output = T> {
    (schema, parse)
}

impl<T, S: Fn() -> Json, P: Fn(Value<'_>) -> Parsed<T>> Parse for (S, P) {
    type Output = T;

    fn parse(&self, value: Value<'_>) -> Parsed<T> {
        (self.1)(value)
    }

    fn schema(&self) -> Json {
        (self.0)()
    }
}

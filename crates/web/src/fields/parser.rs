//! Parser of one value of a request, with the schema of the values it accepts.

use serde_json::Value as Json;

use super::value::{Parsed, Value};

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

struct Parser<S, P> {
    schema: S,
    parse: P,
}

/// A parser from a schema and a function.
pub fn parser<T>(
    schema: impl Fn() -> Json,
    parse: impl Fn(Value<'_>) -> Parsed<T>,
) -> impl Parse<Output = T> {
    Parser { schema, parse }
}

impl<T, S: Fn() -> Json, P: Fn(Value<'_>) -> Parsed<T>> Parse for Parser<S, P> {
    type Output = T;

    fn parse(&self, value: Value<'_>) -> Parsed<T> {
        (self.parse)(value)
    }

    fn schema(&self) -> Json {
        (self.schema)()
    }
}

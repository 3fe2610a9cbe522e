//! Numbers that no amount type holds, as exact decimals.

use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;

/// The text of a decimal, written as a JSON number, digit by digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact(pub String);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.clone()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

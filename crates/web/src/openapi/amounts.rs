//! Amounts in the schemas of answers: exact decimals, not doubles (HTTP contract 1.8).

use serde_json::{Map, Value};

/// Makes a number of every schema that is derived as a double.
pub(super) fn describe(schemas: &mut Map<String, Value>) {
    schemas.values_mut().for_each(rewrite);
}

fn rewrite(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("format").is_some_and(|format| format == "double") {
                members.remove("format");
            }
            members.values_mut().for_each(rewrite);
        }
        Value::Array(items) => items.iter_mut().for_each(rewrite),
        _ => {}
    }
}

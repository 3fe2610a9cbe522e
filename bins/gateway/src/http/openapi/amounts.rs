//! Amounts in schemas: exact decimals, not doubles (HTTP contract 1.8).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const COMPONENT: &str = "#/components/schemas/";
/// What a string amount looks like.
const PATTERN: &str = r"^[0-9]+(\.[0-9]+)?$";

/// Makes a number of every schema that is derived as a double, and a number or a string of those that requests have. A number
/// with a maximum is a share and no amount.
pub(super) fn describe(schemas: &mut Map<String, Value>, of_requests: &[Value]) {
    let mut requests = BTreeSet::new();
    for schema in of_requests {
        collect(schema, schemas, &mut requests);
    }
    for (name, schema) in schemas {
        rewrite(schema, requests.contains(name));
    }
}

/// The names of the schemas that a schema refers to, also from one to the next.
fn collect(schema: &Value, schemas: &Map<String, Value>, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str);
            if let Some(name) = target.and_then(|target| target.strip_prefix(COMPONENT))
                && names.insert(name.to_owned())
                && let Some(referred) = schemas.get(name)
            {
                collect(referred, schemas, names);
            }
            members.values().for_each(|member| collect(member, schemas, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, schemas, names)),
        _ => {}
    }
}

fn rewrite(schema: &mut Value, is_request: bool) {
    match schema {
        Value::Object(members) => {
            let is_double = members.get("format").is_some_and(|format| format == "double");
            if is_double {
                members.remove("format");
            }
            if is_double && is_request && !members.contains_key("maximum") {
                let types = match members.get("type") {
                    Some(Value::Array(_)) => json!(["number", "string", "null"]),
                    _ => json!(["number", "string"]),
                };
                members.insert("type".to_owned(), types);
                members.insert("pattern".to_owned(), PATTERN.into());
            }
            members.values_mut().for_each(|member| rewrite(member, is_request));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, is_request)),
        _ => {}
    }
}

//! The OpenAPI document tells the truth.

use std::collections::{BTreeMap, BTreeSet};

use gateway::http::{
    catalogue::CATALOGUE,
    openapi_json,
    route::{Access, BodyRule, Route},
};
use web::{AccessRule as _, RouteLimit};

use crate::prelude::*;
use crate::{examples, own_logins};

#[tokio::test]
async fn every_documented_example_is_answered_in_the_documented_shape() {
    let app = TestApp::start().await;
    let user = app.user("auth0|example").await;
    let mut schemas = ClosedSchemas::new();
    let others = |route: &&Route| {
        !examples::UNCONFIGURED.contains(&route.operation) && route.operation != "change_password"
    };
    for route in examples::routes().filter(others) {
        let request = examples::request(&app, route, &user).await;
        let request = match route.access {
            Access::StaffForPathUser | Access::Staff | Access::Admin => request.service(),
            Access::OwnLogin => request.by(&own_logins::log_in(&app, "email|example").await.user),
            _ => request.by(&user),
        };
        let reply = request.await;
        assert_eq!(reply.status, 200, "{} {}: {}", route.method, route.path, reply.text);
        if let Some(example) = examples::success_example(route) {
            examples::assert_same_shape(route.operation, &example, &reply.json());
            schemas.assert_valid(&answer_schema(route), &reply.json());
        }
    }
}

/// Every member of an example is documented and has a documented value.
#[test]
fn every_example_is_valid_by_its_schema() {
    let mut schemas = ClosedSchemas::new();
    let mut checked = 0;
    for route in examples::routes() {
        let operation = examples::operation(route);
        let body = &operation["requestBody"]["content"]["application/json"]["example"];
        let pairs = [(request_schema(route), body.clone())];
        let answer = examples::success_example(route).map(|example| (answer_schema(route), example));
        let pairs = pairs.into_iter().filter(|(_, body)| !body.is_null()).chain(answer);
        for (schema, example) in pairs {
            schemas.assert_valid(&schema, &example);
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

/// A schema that is broken on purpose finds nothing to be valid, so the checks above can fail.
#[test]
fn a_member_that_is_not_documented_is_found() {
    let mut schemas = ClosedSchemas::new();
    let schema = "/components/schemas/ConsumeCredits";
    assert!(schemas.error_of(schema, &json!({"amount": 1.5})).is_none());
    for wrong in [json!({"amount": 1.5, "x": 1}), json!({"amount": true}), json!({}), json!({"amount": "-1"})]
    {
        assert!(schemas.error_of(schema, &wrong).is_some(), "{wrong}");
    }
}

/// The schemas of the document, in which no object has members that are not documented.
struct ClosedSchemas {
    compiler: boon::Compiler,
    compiled: boon::Schemas,
}

impl ClosedSchemas {
    const DOCUMENT: &str = "http://localhost/openapi.json";

    fn new() -> Self {
        let mut document: Value = serde_json::from_str(&openapi_json()).unwrap();
        close(&mut document);
        let mut compiler = boon::Compiler::new();
        compiler.add_resource(Self::DOCUMENT, document).unwrap();
        Self { compiler, compiled: boon::Schemas::new() }
    }

    fn error_of(&mut self, schema: &str, value: &Value) -> Option<String> {
        let place = format!("{}#{schema}", Self::DOCUMENT);
        let schema = self.compiler.compile(&place, &mut self.compiled).unwrap();
        self.compiled.validate(value, schema).err().map(|error| format!("{error:#}"))
    }

    fn assert_valid(&mut self, schema: &str, value: &Value) {
        if let Some(error) = self.error_of(schema, value) {
            panic!("{schema}: {error}\n{value:#}");
        }
    }
}

fn close(document: &mut Value) {
    let mut parts = BTreeSet::new();
    close_inner(document, &mut parts);
    for part in parts {
        let schema = document.pointer_mut(part.trim_start_matches('#')).unwrap();
        schema.as_object_mut().unwrap().remove("additionalProperties");
    }
}

/// The parts of an `allOf` have the members of one another, so the whole is closed, not the parts.
fn close_inner(schema: &mut Value, parts: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(all) = members.get("allOf").and_then(Value::as_array) {
                parts.extend(all.iter().filter_map(|part| part["$ref"].as_str()).map(str::to_owned));
                members.insert("unevaluatedProperties".to_owned(), false.into());
            } else if members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(false.into());
            }
            for (name, member) in members.iter_mut().filter(|(name, _)| *name != "properties") {
                match (name.as_str(), member) {
                    ("allOf", Value::Array(all)) => all
                        .iter_mut()
                        .filter_map(|part| part.get_mut("properties"))
                        .for_each(|properties| close_members(properties, parts)),
                    (_, member) => close_inner(member, parts),
                }
            }
            if let Some(properties) = members.get_mut("properties") {
                close_members(properties, parts);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close_inner(item, parts)),
        _ => {}
    }
}

fn close_members(properties: &mut Value, parts: &mut BTreeSet<String>) {
    properties.as_object_mut().unwrap().values_mut().for_each(|member| close_inner(member, parts));
}

fn operation_pointer(route: &Route) -> String {
    let path = route.path.replace('/', "~1").replace('{', "%7B").replace('}', "%7D");
    format!("/paths/{path}/{}", route.method.as_str().to_ascii_lowercase())
}

fn request_schema(route: &Route) -> String {
    format!("{}/requestBody/content/application~1json/schema", operation_pointer(route))
}

fn answer_schema(route: &Route) -> String {
    let accepted = examples::operation(route)["responses"].get("202").is_some();
    let status = if accepted { 202 } else { 200 };
    format!("{}/responses/{status}/content/application~1json/schema", operation_pointer(route))
}

#[test]
fn the_document_is_openapi_3_1_and_lists_exactly_the_routes() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_ascii_uppercase()))
        })
        .collect();
    let served: BTreeSet<(String, String)> =
        examples::routes().map(|route| (route.path.to_owned(), route.method.to_string())).collect();
    assert_eq!(documented, served);
    assert_eq!(served.len(), examples::routes().count(), "a route is listed twice");
    let operations: BTreeSet<_> = examples::routes().map(|route| route.operation).collect();
    assert_eq!(operations.len(), served.len(), "an operation id is used twice");
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap_or_default();
        assert!(schemas.contains_key(name), "{reference} leads nowhere");
    }
    let codes = schemas["Error"]["properties"]["error_code"]["enum"].list();
    assert_eq!(codes.len(), CATALOGUE.len());
}

/// A name stands for one schema, wherever it comes from.
#[test]
fn no_schema_hides_another_one() {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for route in examples::routes() {
        for (name, schema) in (route.doc)().schemas() {
            let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
            // The detail of an error is written by hand where it is documented.
            assert!(*first == *schema || name == "ErrorDetail", "two schemas are called {name}");
        }
    }
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let fault = &document["components"]["schemas"]["ErrorDetail"]["oneOf"][1]["items"]["properties"];
    assert!(fault["loc"].is_object() && fault["msg"].is_object(), "{fault}");
    let answers = document["components"]["schemas"].as_object().unwrap().keys();
    let answers = answers.filter(|name| name.ends_with("Answer"));
    assert!(answers.clone().all(|name| !known.contains_key(name)) && answers.count() > 20);
}

#[test]
fn every_path_parameter_has_a_description_and_an_example() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().values().map(move |operation| (path, operation))
    });
    let mut found = 0;
    for (path, operation) in operations {
        let parameters = operation["parameters"].list();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "path") {
            found += 1;
            for member in ["description", "example"] {
                let text = parameter[member].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{path}: {parameter}");
            }
        }
    }
    assert!(found > 20, "{found}");
}

fn collect_references(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "$ref" => references.push(text.clone()),
                    _ => collect_references(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, references)),
        _ => {}
    }
}

/// HTTP contract 1.8: an amount is a number or a string with a pattern, and no double.
#[test]
fn amounts_are_no_doubles_and_may_be_sent_as_strings() {
    let text = openapi_json();
    assert!(!text.contains("\"double\""));
    let document: Value = serde_json::from_str(&text).unwrap();
    let schemas = &document["components"]["schemas"];
    let amount = &schemas["ConsumeCredits"]["properties"]["amount"];
    assert_eq!(amount["type"], serde_json::json!(["number", "string"]), "{amount}");
    assert!(amount["pattern"].is_string(), "{amount}");
    let optional = &schemas["RecordUsage"]["properties"]["credits_charged"];
    assert_eq!(optional["type"], serde_json::json!(["number", "string", "null"]), "{optional}");
    let share = &schemas["AddMessage"]["properties"]["importance_score"];
    assert!(share.get("pattern").is_none(), "{share}");
    let answered = &schemas["Transaction"]["properties"]["amount"];
    assert_eq!(answered["type"], "number", "{answered}");
}

/// Errors of the layers around a handler are documented at every route that they may answer for.
#[test]
fn answers_of_the_layers_are_listed() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    for route in examples::routes() {
        let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
        let lists = |status: &str, code: &str| {
            let description = operation["responses"][status]["description"].as_str();
            description.is_some_and(|text| text.contains(&format!("`{code}`")))
        };
        let name = format!("{} {}", route.method, route.path);
        let writes = !["GET", "HEAD"].contains(&route.method.as_str());
        assert_eq!(lists("503", "OutcomeUnknownException"), writes, "{name}");
        let reads_body = route.body != BodyRule::Ignored;
        assert_eq!(lists("408", "RequestTimeoutException"), reads_body, "{name}");
        let is_counted = route.access.limit() != RouteLimit::Unlimited;
        assert_eq!(lists("429", "RateLimitExceededException"), is_counted, "{name}");
        if writes || route.access.is_authenticated() {
            assert!(lists("503", "ServiceUnavailableException"), "{name}");
        }
        if route.access == Access::Metrics || route.access.is_authenticated() {
            assert!(lists("401", "AuthenticationException"), "{name}");
            assert!(lists("403", "PermissionDeniedException"), "{name}");
        }
    }
    for path in ["/health", "/readyz"] {
        let responses = &document["paths"][path]["get"]["responses"];
        let schema = |status: &str| responses[status]["content"]["application/json"]["schema"].clone();
        assert!(schema("503").is_object(), "{path}: {responses}");
        assert_eq!(schema("503"), schema("200"), "{path}");
    }
}

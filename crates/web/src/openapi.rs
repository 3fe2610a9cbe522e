//! OpenAPI 3.1, generated from the route table and the types it answers with.

mod amounts;

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    catalogue::{self, Entry},
    dispatch::is_safe,
    doc::{Doc, Media, Parameter},
    route::{Access, BodyRule, Route},
    routes::{known_parameters, served, table},
};
use crate::config::Config;

/// The document as JSON text, under the name and version that the configuration gives the service.
///
/// It lists exactly the routes that are served.
#[must_use]
pub fn json(config: &Config) -> String {
    document(&config.app.name, &config.app.version, served(config)).to_string()
}

/// The document, indented, as it stands in `docs/openapi.json`.
#[must_use]
pub fn pretty_json() -> String {
    let mut text = serde_json::to_string_pretty(&document(NAME, env!("CARGO_PKG_VERSION"), table().iter()))
        .unwrap_or_default();
    text.push('\n');
    text
}

fn document(name: &str, version: &str, routes: impl Iterator<Item = &'static Route>) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for route in routes {
        let doc = (route.doc)();
        for (name, schema) in &doc.schemas {
            schemas.insert(name.clone(), schema.clone());
        }
        let operation = operation(route, &doc, &mut schemas);
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    schemas.insert("Error".to_owned(), error_schema());
    schemas.insert("ErrorDetail".to_owned(), error_detail_schema());
    amounts::describe(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [
            {"name": "users", "description": "Who the user is."},
            {"name": "credits", "description": "What the user may spend."},
            {"name": "usage", "description": "What the user's calls cost."},
            {"name": "prices", "description": "What models cost."},
            {"name": "sessions", "description": "What the user said."},
            {"name": "subscriptions", "description": "Plans."},
            {"name": "auth", "description": "Tokens for development."},
            {"name": "system", "description": "Health, metrics and documentation."},
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "A token of a configured issuer; in development one from `POST /auth/dev-token`.",
                },
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A service key."},
            },
        },
    })
}

/// Name of the service where no configuration is at hand.
const NAME: &str = "User Management Service";

const DESCRIPTION: &str = "Users, credits, usage and sessions of an AI product, behind one HTTP API.\n\n\
Errors have the shape of `Error`, whose `error_code` lists the codes, except a 503 of `/health` and `/readyz`, which has the shape of \
their 200. A JSON body has at most 32 levels of nesting, no key twice in one object, and numbers between -1.8e308 and \
1.8e308. Amounts are exact decimal \
numbers. Times are UTC with microseconds. `message` follows `Accept-Language` (English, Chinese). A list that goes on \
answers `X-Next-Cursor`. Unknown query parameters are ignored on the documented routes; where `x-closed-query` is true they \
are 422 `extra_forbidden`.";

fn operation(route: &Route, doc: &Doc, schemas: &mut Map<String, Value>) -> Value {
    let mut responses = Map::new();
    let mut success = json!({"description": "Success", "headers": headers(doc)});
    if let Some(media) = &doc.reply {
        let schema = named(&media.schema, route.operation, schemas);
        success["content"] = content(media, &schema);
    }
    responses.insert("200".to_owned(), success);
    for (status, description) in errors(route, doc) {
        let body = json!({"schema": {"$ref": "#/components/schemas/Error"}});
        responses.insert(status, json!({"description": description, "content": {"application/json": body}}));
    }
    if let Some(description) = doc.unavailable {
        let mut unavailable = json!({"description": description});
        if let Some(media) = &doc.reply {
            unavailable["content"] = json!({media.content_type: {"schema": media.schema}});
        }
        responses.insert("503".to_owned(), unavailable);
    }
    let description = [doc.description, route.access.words()].join("\n\n").trim().to_owned();
    let mut operation = json!({
        "operationId": route.operation,
        "tags": [doc.tag],
        "summary": doc.summary,
        "description": description,
        "parameters": path_parameters(route).chain(doc.parameters.iter().map(parameter)).collect::<Vec<_>>(),
        "responses": responses,
        "security": security(route.access),
    });
    if known_parameters(route).is_some() {
        operation["x-closed-query"] = true.into();
    }
    if let Some(media) = &doc.body {
        operation["requestBody"] =
            json!({"required": media.required, "content": content(media, &media.schema)});
    }
    operation
}

fn security(access: Access) -> Value {
    if access.is_authenticated() { json!([{"bearer": []}, {"apiKey": []}]) } else { json!([]) }
}

fn headers(doc: &Doc) -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    let mut headers = json!({"X-Request-Id": text("Id of the request, for logs and support.")});
    if doc.parameters.iter().any(|parameter| parameter.name == "cursor") {
        headers["X-Next-Cursor"] = text("Pass it as `cursor` for the next page; absent on the last one.");
    }
    headers
}

/// The schema of an answer: an object without a name gets that of its operation, so that generated clients have a type for it.
fn named(schema: &Value, operation: &str, schemas: &mut Map<String, Value>) -> Value {
    if schema.get("properties").is_none() {
        return schema.clone();
    }
    let name: String = operation.split('_').map(capitalized).chain(["Answer".to_owned()]).collect();
    schemas.insert(name.clone(), schema.clone());
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

fn content(media: &Media, schema: &Value) -> Value {
    let mut body = json!({"schema": schema});
    if !media.example.is_null() {
        body["example"] = media.example.clone();
    }
    let mut content = Map::new();
    content.insert(media.content_type.to_owned(), body);
    Value::Object(content)
}

fn parameter(parameter: &Parameter) -> Value {
    let mut value = json!({
        "name": parameter.name, "in": parameter.place, "description": parameter.description,
        "required": parameter.required, "schema": parameter.schema,
    });
    if !parameter.example.is_null() {
        value["example"] = parameter.example.clone();
    }
    value
}

fn path_parameters(route: &Route) -> impl Iterator<Item = Value> {
    route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(|name| {
        let (description, example) = match name {
            "user_id" => ("The user's external id, raw or percent-encoded.", "auth0|test123"),
            "hold_id" => ("The hold's id.", "0b6f2a9e-5a3e-4f57-9f0e-6a4c1f8f6f10"),
            "session_id" => ("The session's id.", "4da97cfa-b95f-4898-8b7d-2786ff703ce0"),
            "id" => ("The number of the usage record.", "123"),
            "file" => ("A file of the pages `/docs` and `/redoc`.", "swagger-ui.css"),
            _ => ("", ""),
        };
        json!({"name": name, "in": "path", "required": true, "description": description,
            "schema": {"type": "string"}, "example": example})
    })
}

/// The errors of a route by status: those it names and those that follow from its access rule and its body.
fn errors(route: &Route, doc: &Doc) -> Vec<(String, String)> {
    let mut entries: Vec<&'static Entry> = doc.errors.clone();
    if route.access.is_authenticated() {
        entries.extend([
            &catalogue::AUTHENTICATION,
            &catalogue::TOKEN_EXPIRED,
            &catalogue::PERMISSION_DENIED,
            &catalogue::ACCOUNT_DISABLED,
            &catalogue::SERVICE_UNAVAILABLE,
            &catalogue::INTERNAL,
        ]);
    }
    if route.access == Access::Metrics {
        entries.extend([
            &catalogue::AUTHENTICATION,
            &catalogue::TOKEN_EXPIRED,
            &catalogue::PERMISSION_DENIED,
        ]);
    }
    if !is_safe(&route.method) {
        entries.extend([&catalogue::SERVICE_UNAVAILABLE, &catalogue::OUTCOME_UNKNOWN, &catalogue::INTERNAL]);
    }
    if matches!(
        route.access,
        Access::PathUser
            | Access::Recharge
            | Access::Metering
            | Access::HiddenPathUser
            | Access::StaffForPathUser
            | Access::NamedUser
            | Access::OwnThings
            | Access::AnyCaller
    ) {
        entries.push(&catalogue::USER_NOT_FOUND);
    }
    if route.body != BodyRule::Ignored {
        entries.extend([
            &catalogue::REQUEST_TIMEOUT,
            &catalogue::PAYLOAD_TOO_LARGE,
            &catalogue::UNSUPPORTED_MEDIA_TYPE,
            &catalogue::RATE_LIMIT_EXCEEDED,
            &catalogue::VALIDATION,
        ]);
    } else if !doc.parameters.is_empty() || known_parameters(route).is_some() {
        entries.push(&catalogue::VALIDATION);
    }
    entries.sort_by_key(|entry| (entry.status, entry.code));
    entries.dedup();
    let mut by_status: Vec<(String, String)> = Vec::new();
    for entry in entries {
        let line = format!("`{}`: {}", entry.code, entry.meaning);
        let status = entry.status.to_string();
        match by_status.last_mut() {
            Some((last, text)) if *last == status => {
                text.push_str("\n\n");
                text.push_str(&line);
            }
            _ => by_status.push((status, line)),
        }
    }
    by_status
}

/// The member `detail` of an error in the schemas of answers.
#[derive(Debug)]
pub struct ErrorDetail;

impl PartialSchema for ErrorDetail {
    fn schema() -> RefOr<Schema> {
        serde_json::from_value(error_detail_schema()).unwrap_or_default()
    }
}

impl ToSchema for ErrorDetail {}

/// `detail`: a sentence, or the faults of a request.
fn error_detail_schema() -> Value {
    json!({"oneOf": [
        {"type": "string"},
        {"type": "array", "description": "Every fault of a 422.", "items": {
            "type": "object", "required": ["type", "loc", "msg"],
            "properties": {
                "type": {"type": "string"},
                "loc": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]}},
                "msg": {"type": "string"},
                "input": {},
            },
        }},
    ]})
}

/// `error_details`: every member that some code has, and room for others.
fn error_details_schema() -> Value {
    let mut properties = Map::new();
    for name in catalogue::CATALOGUE.iter().flat_map(|entry| entry.details) {
        properties.insert((*name).to_owned(), json!({}));
    }
    properties.insert("operation".to_owned(), json!({"type": "string"}));
    properties.insert("timestamp".to_owned(), json!({"type": "string", "format": "date-time"}));
    properties.insert("user_id".to_owned(), json!({"type": "string"}));
    json!({
        "type": "object",
        "description": "The facts of the error; which there are beside `operation` and `timestamp`, depends on `error_code`.",
        "required": ["operation", "timestamp"],
        "properties": properties,
        "additionalProperties": true,
    })
}

fn error_schema() -> Value {
    let codes: Vec<_> = catalogue::CATALOGUE.iter().map(|entry| entry.code).collect();
    json!({
        "type": "object",
        "description": "Every error, from every layer.",
        "required": ["success", "status", "message", "error_code", "error_details", "timestamp", "detail", "request_id"],
        "properties": {
            "success": {"type": "boolean", "const": false},
            "status": {"type": "string", "const": "error"},
            "message": {"type": "string", "description": "The text in the caller's language."},
            "error_code": {"type": "string", "enum": codes},
            "error_details": error_details_schema(),
            "timestamp": {"type": "string", "format": "date-time"},
            "detail": {"$ref": "#/components/schemas/ErrorDetail"},
            "request_id": {"type": "string"},
        },
    })
}

//! OpenAPI 3.1, generated from a route table and the types it answers with.

mod amounts;

use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{
    bodies::BodyRule,
    catalogue::{self, Entry},
    doc::{Doc, Media, Parameter},
    rate_limit::RouteLimit,
    route::Route,
    service::{AccessRule, Service},
};

/// The texts of a document about its service as a whole.
#[derive(Debug)]
pub struct About<'a> {
    /// Name of the service.
    pub title: &'a str,
    /// Version of the service.
    pub version: &'a str,
    /// Purpose and conventions of its API, in Markdown.
    pub description: &'a str,
    /// The groups of routes, each with a description.
    pub tags: &'a [(&'a str, &'a str)],
    /// The parameters of paths: name, description, example.
    pub parameters: &'a [(&'a str, &'a str, &'a str)],
    /// Source of bearer tokens.
    pub tokens: &'a str,
}

/// The document. It lists exactly these routes.
pub fn document<S: Service>(about: &About<'_>, routes: impl IntoIterator<Item = &'static Route<S>>) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for route in routes {
        let doc = (route.doc)();
        for (name, schema) in &doc.schemas {
            schemas.insert(name.clone(), schema.clone());
        }
        let operation = operation(about, route, &doc, &mut schemas);
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    schemas.insert("Error".to_owned(), error_schema(S::CATALOGUE));
    schemas.insert("ErrorDetail".to_owned(), error_detail_schema());
    amounts::describe(&mut schemas);
    let tag = |(name, description): &(&str, &str)| json!({"name": name, "description": description});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": about.version,
            "description": about.description,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": about.tags.iter().map(tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": about.tokens,
                },
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A service key."},
            },
        },
    })
}

fn operation<S: Service>(
    about: &About<'_>,
    route: &Route<S>,
    doc: &Doc,
    schemas: &mut Map<String, Value>,
) -> Value {
    let mut responses = Map::new();
    let mut success = json!({"description": "Success", "headers": headers(doc)});
    if let Some(media) = &doc.reply {
        let schema = named(&media.schema, route.operation, schemas);
        success["content"] = content(media, &schema);
    }
    responses.insert(doc.status.to_string(), success);
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
        "parameters": path_parameters(about, route).chain(doc.parameters.iter().map(parameter)).collect::<Vec<_>>(),
        "responses": responses,
        "security": security(route.access),
    });
    if route.known_parameters().is_some() {
        operation["x-closed-query"] = true.into();
    }
    if let Some(media) = &doc.body {
        operation["requestBody"] =
            json!({"required": media.required, "content": content(media, &media.schema)});
    }
    operation
}

fn security(access: impl AccessRule) -> Value {
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

fn path_parameters<S: Service>(about: &About<'_>, route: &Route<S>) -> impl Iterator<Item = Value> {
    route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(|name| {
        let known = about.parameters.iter().find(|(known, ..)| *known == name);
        let (description, example) =
            known.map_or(("", ""), |(_, description, example)| (*description, *example));
        json!({"name": name, "in": "path", "required": true, "description": description,
            "schema": {"type": "string"}, "example": example})
    })
}

/// The errors of a route by status: those it names and those that follow from its access rule and its body.
fn errors<S: Service>(route: &Route<S>, doc: &Doc) -> Vec<(String, String)> {
    let mut entries: Vec<&'static Entry> = doc.errors.clone();
    entries.extend(route.access.errors());
    if route.access.is_authenticated() {
        entries.extend([
            &catalogue::AUTHENTICATION,
            &catalogue::PERMISSION_DENIED,
            &catalogue::SERVICE_UNAVAILABLE,
            &catalogue::INTERNAL,
        ]);
    }
    if route.access.limit() != RouteLimit::Unlimited {
        entries.push(&catalogue::RATE_LIMIT_EXCEEDED);
    }
    if !route.only_reads() {
        entries.extend([&catalogue::SERVICE_UNAVAILABLE, &catalogue::OUTCOME_UNKNOWN, &catalogue::INTERNAL]);
    }
    if route.body != BodyRule::Ignored {
        entries.extend([
            &catalogue::REQUEST_TIMEOUT,
            &catalogue::PAYLOAD_TOO_LARGE,
            &catalogue::UNSUPPORTED_MEDIA_TYPE,
            &catalogue::VALIDATION,
        ]);
    } else if !doc.parameters.is_empty() || route.known_parameters().is_some() {
        entries.push(&catalogue::VALIDATION);
    }
    // A service may have more to say about a code.
    let mut entries: Vec<_> =
        entries.into_iter().map(|entry| catalogue::find(S::CATALOGUE, entry.code)).collect();
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
fn error_details_schema(catalogue: &[&Entry]) -> Value {
    let mut properties = Map::new();
    for name in catalogue.iter().flat_map(|entry| entry.details) {
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

fn error_schema(catalogue: &[&Entry]) -> Value {
    let codes: Vec<_> = catalogue.iter().map(|entry| entry.code).collect();
    json!({
        "type": "object",
        "description": "Every error, from every layer.",
        "required": ["success", "status", "message", "error_code", "error_details", "timestamp", "detail", "request_id"],
        "properties": {
            "success": {"type": "boolean", "const": false},
            "status": {"type": "string", "const": "error"},
            "message": {"type": "string", "description": "The text in the caller's language."},
            "error_code": {"type": "string", "enum": codes},
            "error_details": error_details_schema(catalogue),
            "timestamp": {"type": "string", "format": "date-time"},
            "detail": {"$ref": "#/components/schemas/ErrorDetail"},
            "request_id": {"type": "string"},
        },
    })
}

//! The documentation of a route, of which `openapi` makes OpenAPI 3.1.

use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

use super::{
    catalogue::{self, Entry},
    fields::{
        Source,
        input::{Declared, Input, reference},
        page::PageInput,
    },
};

/// Documentation of one route.
pub struct Doc {
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Media>,
    pub(super) reply: Option<Media>,
    /// Status of the success.
    pub(super) status: u16,
    pub(super) errors: Vec<&'static Entry>,
    /// Reason for a 503 that has the members of the success.
    pub(super) unavailable: Option<&'static str>,
    pub(super) schemas: Vec<(String, Value)>,
}

/// A parameter of the query or a header.
pub(super) struct Parameter {
    pub(super) place: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) schema: Value,
    pub(super) example: Value,
    pub(super) required: bool,
}

/// A body with its type and an example that is really sent and answered.
pub(super) struct Media {
    pub(super) content_type: &'static str,
    pub(super) schema: Value,
    pub(super) example: Value,
    pub(super) required: bool,
}

impl Doc {
    /// Documentation with a one-line summary, in a group of routes.
    #[must_use]
    pub fn new(tag: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            summary,
            description: "",
            parameters: Vec::new(),
            body: None,
            reply: None,
            status: 200,
            errors: Vec::new(),
            unavailable: None,
            schemas: Vec::new(),
        }
    }

    /// More than the summary can say.
    #[must_use]
    pub fn description(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// The query parameters of an input.
    #[must_use]
    pub fn query<T: Input<Context = ()>>(self) -> Self {
        self.query_for::<T>(&())
    }

    /// The query parameters of an input that depends on a context.
    #[must_use]
    pub fn query_for<T: Input>(mut self, context: &T::Context) -> Self {
        let declared = T::declared(context).into_iter().filter(|field| field.source != Source::Body);
        self.parameters.extend(declared.map(Parameter::from));
        self
    }

    /// The schemas that this documentation brings along, by name.
    #[must_use]
    pub fn schemas(&self) -> &[(String, Value)] {
        &self.schemas
    }

    /// The names of the query parameters.
    pub fn query_names(&self) -> impl Iterator<Item = &'static str> {
        let query = self.parameters.iter().filter(|parameter| parameter.place == "query");
        query.map(|parameter| parameter.name)
    }

    /// The header by which a service names its user.
    #[must_use]
    pub fn named_user(mut self) -> Self {
        self.parameters.push(Parameter {
            place: "header",
            name: "X-User-Id",
            description: "The user a service or administrator acts for.",
            schema: json!({"type": "string"}),
            example: Value::Null,
            required: false,
        });
        self
    }

    /// The header that makes a request safe to repeat.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.parameters.push(Parameter {
            place: "header",
            name: "Idempotency-Key",
            description: "Makes the request safe to repeat: the same key with the same request gets the first answer again, \
                          with `Idempotency-Replayed: true`, and changes nothing.",
            schema: json!({"type": "string", "minLength": 1, "maxLength": 255}),
            example: Value::Null,
            required: false,
        });
        self.errors(&[&catalogue::IDEMPOTENCY_CONFLICT, &catalogue::IDEMPOTENCY_IN_PROGRESS])
    }

    /// `limit`, `offset` and `cursor`.
    #[must_use]
    pub fn paged(mut self, limit_default: i64) -> Self {
        for mut field in PageInput::declared(&()) {
            if field.name == "limit" {
                field.schema["default"] = limit_default.into();
            }
            self.parameters.push(field.into());
        }
        self
    }

    /// A JSON body with this input. Fields that may come from the query instead are parameters too.
    #[must_use]
    pub fn body<T: Input<Context = ()>>(self, example: Value) -> Self {
        self.body_for::<T>(&(), true, example)
    }

    /// Like [`Doc::body`], for an optional body.
    #[must_use]
    pub fn optional_body<T: Input<Context = ()>>(self, example: Value) -> Self {
        self.body_for::<T>(&(), false, example)
    }

    /// Like [`Doc::body`], for an input that depends on a context.
    #[must_use]
    pub fn body_for<T: Input>(self, context: &T::Context, required: bool, example: Value) -> Self {
        let mut doc = self.query_for::<T>(context);
        let (schema, components) = reference::<T>(T::NAME, context);
        doc.schemas.extend(components);
        doc.body = Some(Media { content_type: "application/json", schema, example, required });
        doc
    }

    /// A form (`multipart/form-data`) with one file in this field.
    #[must_use]
    pub fn file(mut self, field: &'static str, description: &'static str) -> Self {
        let file = json!({"type": "string", "format": "binary", "description": description});
        self.body = Some(Media {
            content_type: "multipart/form-data",
            schema: json!({"type": "object", "properties": {field: file}, "required": [field]}),
            example: Value::Null,
            required: true,
        });
        self
    }

    /// A body of plain bytes.
    #[must_use]
    pub fn bytes(mut self) -> Self {
        self.body = Some(Media {
            content_type: "application/octet-stream",
            schema: json!({"type": "string", "format": "binary"}),
            example: Value::Null,
            required: true,
        });
        self
    }

    /// The documented envelope around data of this type.
    #[must_use]
    pub fn reply_envelope<T: ToSchema>(mut self, message: &str, data: Value) -> Self {
        let schema = self.component::<T>();
        self.reply = Some(enveloped(schema, message, data));
        self
    }

    /// The documented envelope around a list.
    #[must_use]
    pub fn reply_list<T: ToSchema>(mut self, message: &str, item: Value) -> Self {
        let items = self.component::<T>();
        self.reply = Some(enveloped(json!({"type": "array", "items": items}), message, json!([item])));
        self
    }

    /// The documented envelope around a plain value.
    #[must_use]
    pub fn reply_plain_envelope(mut self, schema: Value, message: &str, data: Value) -> Self {
        self.reply = Some(enveloped(schema, message, data));
        self
    }

    /// A JSON answer of this type.
    #[must_use]
    pub fn reply<T: ToSchema>(mut self, example: Value) -> Self {
        let schema = self.component::<T>();
        self.reply = Some(Media { content_type: "application/json", schema, example, required: true });
        self
    }

    /// A JSON answer of this type, with status 202: what was asked for is done later.
    #[must_use]
    pub fn reply_accepted<T: ToSchema>(self, example: Value) -> Self {
        Self { status: 202, ..self.reply::<T>(example) }
    }

    /// An answer that is not JSON of a known type.
    #[must_use]
    pub fn reply_as(mut self, content_type: &'static str, schema: Value, example: Value) -> Self {
        self.reply = Some(Media { content_type, schema, example, required: true });
        self
    }

    /// The errors that are particular to this route; those of every route are added.
    #[must_use]
    pub fn errors(mut self, errors: &[&'static Entry]) -> Self {
        self.errors.extend(errors);
        self
    }

    /// A 503 that has the members of the success.
    #[must_use]
    pub fn unavailable(mut self, description: &'static str) -> Self {
        self.unavailable = Some(description);
        self
    }

    fn component<T: ToSchema>(&mut self) -> Value {
        let name = T::name().into_owned();
        let mut schemas = vec![(name.clone(), T::schema())];
        T::schemas(&mut schemas);
        let plain = |(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default());
        self.schemas.extend(schemas.into_iter().map(plain));
        json!({"$ref": format!("#/components/schemas/{name}")})
    }
}

/// A declared field as a parameter of the query. One that may come from the body as well is not required there, and a query
/// has no null.
impl From<Declared> for Parameter {
    fn from(mut field: Declared) -> Self {
        if let Some(Value::Array(types)) = field.schema.get_mut("type") {
            types.retain(|one| one != "null");
            if let [one] = types.as_slice() {
                field.schema["type"] = one.clone();
            }
        }
        Self {
            place: "query",
            name: field.name,
            description: field.description,
            required: field.is_required && field.source == Source::Query,
            example: if field.source == Source::Query { field.example } else { Value::Null },
            schema: field.schema,
        }
    }
}

fn enveloped(data: Value, message: &str, example: Value) -> Media {
    let mut properties = Map::new();
    properties.insert("success".to_owned(), json!({"type": "boolean", "const": true}));
    properties.insert("status".to_owned(), json!({"type": "string", "const": "success"}));
    properties.insert("message".to_owned(), json!({"type": "string"}));
    properties.insert("timestamp".to_owned(), json!({"type": "string", "format": "date-time"}));
    properties.insert("data".to_owned(), data);
    Media {
        content_type: "application/json",
        schema: json!({
            "type": "object",
            "required": ["success", "status", "message", "timestamp", "data"],
            "properties": properties,
        }),
        example: json!({
            "success": true, "status": "success", "message": message,
            "timestamp": "2025-07-27T00:53:36.553629Z", "data": example,
        }),
        required: true,
    }
}

/// The schema of a closed set of words.
#[must_use]
pub fn words(words: &[&'static str]) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied())).into()
}

/// Declares a type that stands in the schemas of answers for a closed set of words.
#[macro_export]
macro_rules! words {
    ($($(#[doc = $about:literal])+ $Words:ident = $words:expr;)+) => {$(
        $(#[doc = $about])+
        #[derive(Debug)]
        pub struct $Words;

        impl utoipa::PartialSchema for $Words {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::doc::words(&$words)
            }
        }

        impl utoipa::ToSchema for $Words {}
    )+};
}

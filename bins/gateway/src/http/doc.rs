//! What a route says about itself; `openapi` turns it into OpenAPI 3.1.

use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use super::catalogue::{self, Entry};

/// Documentation of one route.
pub struct Doc {
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Media>,
    pub(super) reply: Option<Media>,
    pub(super) errors: Vec<&'static Entry>,
    /// When the route answers 503 with the members of its success.
    pub(super) unavailable: Option<&'static str>,
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
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

    /// A query parameter that may be absent.
    #[must_use]
    pub fn query(
        mut self,
        name: &'static str,
        description: &'static str,
        schema: Value,
        example: Value,
    ) -> Self {
        self.parameters.push(Parameter {
            place: "query",
            name,
            description,
            schema,
            example,
            required: false,
        });
        self
    }

    /// A query parameter that must be there.
    #[must_use]
    pub fn required_query(
        mut self,
        name: &'static str,
        description: &'static str,
        schema: Value,
        example: Value,
    ) -> Self {
        self.parameters.push(Parameter {
            place: "query",
            name,
            description,
            schema,
            example,
            required: true,
        });
        self
    }

    /// The names of the query parameters.
    pub fn query_names(&self) -> impl Iterator<Item = &'static str> {
        let query = self
            .parameters
            .iter()
            .filter(|parameter| parameter.place == "query");
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
        self.errors(&[
            &catalogue::IDEMPOTENCY_CONFLICT,
            &catalogue::IDEMPOTENCY_IN_PROGRESS,
        ])
    }

    /// `limit`, `offset` and `cursor`.
    #[must_use]
    pub fn paged(self, limit_default: i64) -> Self {
        self.query(
            "limit",
            "Most items of a page; above 500 counts as 500. A page of large items ends earlier: go on by cursor, or by \
             offset plus items received.",
            json!({"type": "integer", "minimum": 1, "default": limit_default}),
            json!(10),
        )
        .query(
            "offset",
            "Items to skip.",
            json!({"type": "integer", "minimum": 0, "default": 0}),
            json!(0),
        )
        .query(
            "cursor",
            "`X-Next-Cursor` of the page before, with the same filters; excludes `offset`.",
            json!({"type": "string"}),
            Value::Null,
        )
    }

    /// `start_date` and `end_date`, both inclusive. Dates are days of UTC, or of `tz` where the route has it.
    #[must_use]
    pub fn dated(self) -> Self {
        let schema = || json!({"type": "string", "format": "date-time"});
        self.query(
            "start_date",
            "From this instant on, inclusive; a bare date is its midnight, in `tz` where the route has one, else UTC.",
            schema(),
            Value::Null,
        )
        .query(
            "end_date",
            "Up to this instant, inclusive; a bare date is that whole day.",
            schema(),
            Value::Null,
        )
    }

    /// A JSON body.
    #[must_use]
    pub fn body<T: ToSchema>(mut self, example: Value) -> Self {
        let schema = self.component::<T>();
        self.body = Some(Media {
            content_type: "application/json",
            schema,
            example,
            required: true,
        });
        self
    }

    /// A JSON body that may be left out.
    #[must_use]
    pub fn optional_body<T: ToSchema>(mut self, example: Value) -> Self {
        let schema = self.component::<T>();
        self.body = Some(Media {
            content_type: "application/json",
            schema,
            example,
            required: false,
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
        self.reply = Some(enveloped(
            json!({"type": "array", "items": items}),
            message,
            json!([item]),
        ));
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
        self.reply = Some(Media {
            content_type: "application/json",
            schema,
            example,
            required: true,
        });
        self
    }

    /// An answer that is not JSON of a known type.
    #[must_use]
    pub fn reply_as(mut self, content_type: &'static str, schema: Value, example: Value) -> Self {
        self.reply = Some(Media {
            content_type,
            schema,
            example,
            required: true,
        });
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
        self.schemas.push((name.clone(), T::schema()));
        T::schemas(&mut self.schemas);
        json!({"$ref": format!("#/components/schemas/{name}")})
    }
}

fn enveloped(data: Value, message: &str, example: Value) -> Media {
    let mut properties = Map::new();
    properties.insert("success".to_owned(), json!({"type": "boolean", "const": true}));
    properties.insert("status".to_owned(), json!({"type": "string", "const": "success"}));
    properties.insert("message".to_owned(), json!({"type": "string"}));
    properties.insert(
        "timestamp".to_owned(),
        json!({"type": "string", "format": "date-time"}),
    );
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

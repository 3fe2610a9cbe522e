//! The names that nearly every route needs.

pub use actix_web::http::Method;
pub use serde::Serialize;
pub use serde_json::json;
pub use utoipa::ToSchema;

pub use super::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fields::parse,
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
};
pub use crate::{input, words};

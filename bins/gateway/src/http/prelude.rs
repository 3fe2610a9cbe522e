//! The names that nearly every route needs.

pub use actix_web::http::Method;
pub use serde::Serialize;
pub use serde_json::json;
pub use utoipa::ToSchema;
pub use web::{ApiError, BodyRule, Doc, Origin, Reply, Text, input, words};

pub(crate) use super::call::AppCall as _;
pub use super::{
    call::Call,
    catalogue,
    error::{Answered as _, Errors as _},
    parse,
    route::{Access, Route},
};

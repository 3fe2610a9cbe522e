//! The names that nearly every route needs.

pub use serde::Serialize;
pub use serde_json::json;
pub use utoipa::ToSchema;
pub use web::{ApiError, Doc, Reply, Text, input, words};

pub(crate) use super::call::AppCall as _;
pub use super::{
    call::Call,
    catalogue,
    error::{Answered as _, Errors as _},
    parse,
};

//! The small types that answers share.

use kernel::rfc3339;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::words;

words! {
    /// Class of a caller.
    CallerClassName = kernel::CallerClass::ALL.map(kernel::CallerClass::as_str);
    /// Always `success`.
    SuccessWord = ["success"];
}

/// An instant as every answer writes it: RFC 3339, UTC, microseconds, `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2025-07-27T00:32:57.736450Z")]
pub struct Timestamp(pub OffsetDateTime);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

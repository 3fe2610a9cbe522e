//! `GET /api/v1/users/{user_id}/usage/export`: a user's records as a file (HTTP contract 4.9).

use usage::RecordFilter;

use super::{export_format::Format, export_stream, filter::FilterInput};
use crate::http::prelude::*;

const FORMATS: &[(&str, Format)] = &[("csv", Format::Csv), ("ndjson", Format::Ndjson)];

input! {
    /// Selection and format of an export.
    pub struct ExportInput {
        /// Format of the file.
        format: Option<Format> = optional(Query, parse::one_of(FORMATS)), default("csv"), example("csv");
        /// Selection of the records.
        filter: FilterInput = flat(FilterInput, &());
    }
}

impl ExportInput {
    /// The filter and the format.
    #[must_use]
    pub fn split(self) -> (RecordFilter, Format) {
        (self.filter.into(), self.format.unwrap_or(Format::Csv))
    }
}

pub fn doc() -> Doc {
    described(
        Doc::new("usage", "Usage records as a file").description(
            "Streamed, oldest first. CSV by RFC 4180, with a header; texts that a spreadsheet would take for a formula \
             have an apostrophe in front. NDJSON has the records of the list, one a line. When the export breaks off, the \
             connection breaks, and the last line says so. Records made meanwhile may be in it.",
        ),
    )
}

/// The parameters and the answer, described.
pub fn described(doc: Doc) -> Doc {
    doc.query::<ExportInput>().reply_as(
        "text/csv",
        json!({"type": "string", "description": "The file; `application/x-ndjson` for `format=ndjson`."}),
        json!("id,user_id,session_id,...\r\n1001,auth0|test123,sess_abc123def456,...\r\n"),
    )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let (filter, format) = call.fields.input::<ExportInput>()?.split();
    let user_id = call.user().await?;
    export_stream::reply(&call, Some(user_id), filter, format).await
}

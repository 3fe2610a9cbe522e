//! `GET /api/v1/usage/export`: everybody's records as a file (HTTP contract 4.9).

use super::{
    export::{ExportInput, described},
    export_stream,
};
use crate::http::prelude::*;

pub fn doc() -> Doc {
    described(
        Doc::new("usage", "Usage records of all users as a file")
            .description("As the export of one user, in the order of user and time."),
    )
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let (filter, format) = call.fields.input::<ExportInput>()?.split();
    call.known()?;
    export_stream::reply(&call, None, filter, format).await
}

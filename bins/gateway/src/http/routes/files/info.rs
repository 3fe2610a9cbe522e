//! `GET /api/v1/users/{user_id}/files/info`: a file (HTTP contract 7).

use super::body::{FOUND_ERRORS, FileBody, FileInput, file_example, files_of, found, refuse_foreign};
use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("files", "A file")
        .query::<FileInput>()
        .reply_envelope::<FileBody>("File info retrieved successfully", file_example())
        .errors(FOUND_ERRORS)
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let FileInput { file_path } = call.fields.input()?;
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    refuse_foreign(&file_path, &user_id)?;
    let file = FileBody::new(&files, found(&call, &user_id, &file_path).await?).await?;
    call.envelope(&Text::new("File info retrieved successfully", "文件信息获取成功"), file)
}

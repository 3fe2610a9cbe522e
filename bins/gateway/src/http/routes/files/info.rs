//! `GET /api/v1/users/{user_id}/files/info`: a file (HTTP contract 7).

use super::body::{FileBody, FileInput, file_example, files_of, not_found, refuse_foreign};
use crate::http::prelude::*;

pub fn doc() -> Doc {
    Doc::new("files", "A file")
        .query::<FileInput>()
        .reply_envelope::<FileBody>("File info retrieved successfully", file_example())
        .errors(&[
            &catalogue::FILE_NOT_FOUND,
            &catalogue::PROVIDER_NOT_CONFIGURED,
            &catalogue::PROVIDER_UNAVAILABLE,
        ])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let FileInput { file_path } = call.fields.input()?;
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    refuse_foreign(&file_path, &user_id)?;
    let found = call.look_up(async |conn| files::find_by_path(conn, &user_id, &file_path).await).await?;
    let file = FileBody::new(&files, found.ok_or_else(not_found)?).await?;
    call.envelope(&Text::new("File info retrieved successfully", "文件信息获取成功"), file)
}

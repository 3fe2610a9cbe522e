//! `DELETE /api/v1/users/{user_id}/files`: deletes a file (HTTP contract 7).

use super::body::{FileInput, files_of, not_found, refuse_foreign};
use crate::http::prelude::*;

/// A file that was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedFile {
    file_path: String,
    deleted: bool,
}

pub fn doc() -> Doc {
    Doc::new("files", "Delete a file")
        .description("Links to it end at once.")
        .query::<FileInput>()
        .reply_envelope::<DeletedFile>(
            "File deleted successfully",
            json!({
                "file_path": "users/auth0|test123/files/2025/07/document_20250727001126_0a1b2c3d.pdf", "deleted": true,
            }),
        )
        .errors(&[&catalogue::FILE_NOT_FOUND, &catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let FileInput { file_path } = call.fields.input()?;
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    refuse_foreign(&file_path, &user_id)?;
    let deleted = files.delete(&user_id, &file_path).await.map_err(ApiError::answered)?;
    deleted.ok_or_else(not_found)?;
    let message = Text::new("File deleted successfully", "文件删除成功");
    call.envelope(&message, DeletedFile { file_path, deleted: true })
}

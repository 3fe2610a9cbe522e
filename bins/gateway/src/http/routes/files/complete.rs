//! `POST /api/v1/users/{user_id}/files/uploads/{upload_id}/complete`: completes a direct upload (HTTP contract 7).

use std::time::Duration;

use uuid::Uuid;

use super::body::{ERRORS, UploadedFile, decided, files_of, uploaded, uploaded_example};
use crate::http::prelude::*;

/// Time to read what was uploaded.
const TIME_MAX: Duration = Duration::from_mins(5);

pub fn doc() -> Doc {
    Doc::new("files", "Complete a direct upload")
        .description(
            "Checks size, hash and content of what was uploaded. What does not fit is deleted, and the upload is over. A repeat \
             answers with the same file.",
        )
        .reply_envelope::<UploadedFile>("File uploaded successfully", uploaded_example())
        .errors(ERRORS)
        .errors(&[&catalogue::UPLOAD_NOT_FOUND, &catalogue::UPLOAD_INCOMPLETE])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    let upload_id: Uuid = call.id_of_path("upload_id", &catalogue::UPLOAD_NOT_FOUND)?;
    call.allow(TIME_MAX);
    let file = decided(files.complete(&user_id, upload_id).await)?;
    uploaded(&call, &files, file).await
}

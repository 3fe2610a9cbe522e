//! `PUT /files/uploads/{upload_id}`: the bytes of a direct upload, by a signed link (HTTP contract 7).

use files::{FileRefusal, links::LinkUse};
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{
    body::{decided, files_of},
    link::{self, LinkInput},
    reading::{Reading, hold},
};
use crate::http::prelude::*;

/// The bytes were stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct Received {
    success: bool,
}

pub fn doc() -> Doc {
    Doc::new("files", "Send the bytes of a direct upload")
        .description("Only with local storage. They are judged when the upload is completed.")
        .query::<LinkInput>()
        .bytes()
        .reply::<Received>(json!({"success": true}))
        .errors(&[
            &catalogue::PERMISSION_DENIED,
            &catalogue::UPLOAD_NOT_FOUND,
            &catalogue::UPLOAD_INCOMPLETE,
            &catalogue::FILE_TOO_LARGE,
            &catalogue::PROVIDER_NOT_CONFIGURED,
            &catalogue::PROVIDER_UNAVAILABLE,
        ])
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let input: LinkInput = call.fields.input()?;
    let files = files_of(&call)?.clone();
    let upload_id: Uuid = call.id_of_path("upload_id", &catalogue::UPLOAD_NOT_FOUND)?;
    link::check(&call, &files, LinkUse::Upload, upload_id, &input)?;
    let offer = call.look_up(async |conn| files::offer(conn, upload_id).await).await?;
    let offer = offer.ok_or_else(|| ApiError::from_failure(&FileRefusal::UploadNotFound))?;
    let size = usize::try_from(offer.size_bytes).unwrap_or_default();
    match call.declared_length() {
        Some(length) if length > size => {
            return Err(ApiError::from_failure(&FileRefusal::TooLarge { limit: offer.size_bytes }));
        }
        Some(length) if length < size => return Err(ApiError::from_failure(&FileRefusal::UploadIncomplete)),
        _ => {}
    }
    let _held = hold(&call, &files, &offer.user_id, Some(size))?;
    let mut reading = Reading::begin(&call);
    let mut body = call.take_body();
    let mut upload = files.receive(&offer).map_err(|refusal| ApiError::from_failure(&refusal))?;
    while let Some(bytes) = reading.next(body.try_next()).await?.map_err(|_| web::bodies::broke_off(0))? {
        reading.received(bytes.len());
        if !reading.pause(upload.write(bytes)).await? {
            break;
        }
    }
    call.body_was_read();
    decided(upload.finish().await)?;
    Reply::json(&Received { success: true })
}

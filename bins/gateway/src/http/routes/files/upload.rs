//! `POST /api/v1/users/{user_id}/files/upload`: a file in a form (HTTP contract 7).

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::header;
use flows::files::{NewUpload, Upload};
use futures_util::{StreamExt as _, TryStreamExt as _};
use web::fault::Fault;

use super::{
    body::{ERRORS, UploadedFile, decided, files_of, uploaded, uploaded_example},
    reading::{Reading, hold},
};
use crate::http::prelude::*;

/// Most bytes of other fields of the form, and of what separates them.
const OTHER_BYTES_MAX: usize = 64 * 1024;

pub fn doc() -> Doc {
    Doc::new("files", "Upload a file")
        .description(
            "Types: pdf, csv, txt, json, xls, xlsx, jpg, png, gif, webp. The declared type, the extension of the name and the content \
             must agree. At most `FILE_MAX_BYTES` (52,428,800). The file is stored when the answer comes, or not at all.",
        )
        .file("file", "The file, with its name.")
        .reply_envelope::<UploadedFile>("File uploaded successfully", uploaded_example())
        .errors(ERRORS)
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    let limit = usize::try_from(files.limits().file_bytes).unwrap_or(usize::MAX);
    let declared = call.declared_length();
    if declared.is_some_and(|length| length > limit.saturating_add(OTHER_BYTES_MAX)) {
        return Err(too_large(files.limits().file_bytes));
    }
    let _held = hold(&call, &files, &user_id, declared)?;
    let mut reading = Reading::begin(&call);
    let headers = call.request.headers().clone();
    let mut form = Multipart::new(&headers, call.take_body());
    let mut upload: Option<Upload<files::File>> = None;
    let mut others = 0_usize;
    while let Some(mut field) =
        reading.next(form.next()).await?.transpose().map_err(|error| malformed(&error))?
    {
        let (name, filename) = names(&field);
        match filename.filter(|_| name.as_deref() == Some("file")) {
            Some(_) if upload.is_some() => {
                return Err(fault("value_error", "Value error, only one file is allowed"));
            }
            Some(filename) => {
                let new = NewUpload {
                    user_id: user_id.clone(),
                    filename,
                    // As it was sent: also one that is no type is declared.
                    declared_type: field
                        .headers()
                        .get(header::CONTENT_TYPE)
                        .map(|declared| String::from_utf8_lossy(declared.as_bytes()).into_owned()),
                    bytes_max: declared.and_then(|length| u64::try_from(length).ok()),
                };
                let mut begun = decided(files.upload(new).await)?;
                while let Some(bytes) =
                    reading.next(field.try_next()).await?.map_err(|error| malformed(&error))?
                {
                    reading.received(bytes.len());
                    if !reading.pause(begun.write(bytes)).await? {
                        decided(begun.finish().await)?;
                        return Err(ApiError::new(&catalogue::INTERNAL));
                    }
                }
                upload = Some(begun);
            }
            None => {
                while let Some(bytes) =
                    reading.next(field.try_next()).await?.map_err(|error| malformed(&error))?
                {
                    reading.received(bytes.len());
                    others = others.saturating_add(bytes.len());
                    if others > OTHER_BYTES_MAX {
                        return Err(ApiError::new(&catalogue::PAYLOAD_TOO_LARGE));
                    }
                }
            }
        }
    }
    let upload = upload.ok_or_else(|| fault("missing", "Field required"))?;
    call.body_was_read();
    let file = decided(upload.finish().await)?;
    uploaded(&call, &files, file).await
}

/// The names of a field and of its file.
fn names(field: &Field) -> (Option<String>, Option<String>) {
    let filename = field.content_disposition().and_then(|disposition| {
        let extended = disposition.get_filename_ext();
        let extended = extended.map(|name| String::from_utf8_lossy(&name.value).into_owned());
        extended.or_else(|| disposition.get_filename().map(str::to_owned))
    });
    (field.name().map(str::to_owned), filename)
}

/// 413 for a file.
fn too_large(limit: i64) -> ApiError {
    ApiError::from_failure(&files::FileRefusal::TooLarge { limit })
}

fn fault(kind: &'static str, msg: &str) -> ApiError {
    ApiError::faults(vec![Fault {
        kind,
        loc: vec!["body".into(), "file".into()],
        msg: msg.to_owned(),
        input: None,
    }])
}

fn malformed(error: &MultipartError) -> ApiError {
    match error {
        MultipartError::ContentTypeMissing
        | MultipartError::ContentTypeParse
        | MultipartError::ContentTypeIncompatible => ApiError::new(&catalogue::UNSUPPORTED_MEDIA_TYPE),
        _ => fault("value_error", "Value error, the form is malformed or broke off"),
    }
}

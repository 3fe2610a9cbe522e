//! `POST /api/v1/users/{user_id}/files/uploads`: offers a direct upload (HTTP contract 7).

use std::collections::BTreeMap;

use files::Sha256;
use flows::files::NewDirectUpload;
use uuid::Uuid;
use web::{
    fault::Problem,
    fields::{
        Value,
        parser::{Parse, parser},
    },
};

use super::body::{ERRORS, decided, files_of};
use crate::http::{prelude::*, wire::Timestamp};

input! {
    /// A file that is to be uploaded directly.
    pub struct OfferUpload {
        /// Name of the file, with its extension.
        filename: String = required(Body, parse::text(1, 255));
        /// Bytes.
        file_size: i64 = required(Body, parse::integer(0, i64::MAX));
        /// Type.
        content_type: String = required(Body, parse::text(1, 255));
        /// SHA-256 of the bytes, in hexadecimal digits: then nothing else can be uploaded.
        sha256: Option<Sha256> = optional(Body, sha256());
    }
}

/// A SHA-256 hash in hexadecimal digits.
fn sha256() -> impl Parse<Output = Sha256> {
    parser(
        || json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}),
        |value: Value<'_>| {
            let text = parse::text(0, 255).parse(value)?;
            let mut hash = [0; 32];
            match hex::decode_to_slice(&text, &mut hash) {
                Ok(()) => Ok(Sha256(hash)),
                Err(_) => {
                    Err(Problem::new("string_pattern_mismatch", "String should be 64 hexadecimal digits"))
                }
            }
        },
    )
}

/// A direct upload that is offered.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferedUpload {
    upload_id: Uuid,
    /// Always `PUT`.
    method: &'static str,
    /// Where to send the bytes; needs no credential.
    upload_url: String,
    /// Headers that must come with them.
    headers: BTreeMap<&'static str, String>,
    expires_at: Timestamp,
}

pub fn doc() -> Doc {
    Doc::new("files", "Offer a direct upload")
        .description(
            "Send the bytes to `upload_url` by PUT with these headers, then complete the upload, within one hour. The bytes are \
             reserved meanwhile.",
        )
        .body::<OfferUpload>(json!({
            "filename": "document.pdf", "file_size": 2_048_576, "content_type": "application/pdf",
        }))
        .reply_envelope::<OfferedUpload>(
            "Upload created",
            json!({
                "upload_id": "f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f", "method": "PUT",
                "upload_url": "http://127.0.0.1:8100/files/uploads/f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f?e=1753578686&d=none&s=...",
                "headers": {}, "expires_at": "2025-07-27T01:11:26.479685Z",
            }),
        )
        .errors(ERRORS)
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let OfferUpload { filename, file_size, content_type, sha256 } = call.input().await?;
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    let new = NewDirectUpload { user_id, filename, declared_type: content_type, size: file_size, sha256 };
    let offered = decided(files.offer(&new).await)?;
    let data = OfferedUpload {
        upload_id: offered.upload_id,
        method: "PUT",
        upload_url: offered.url,
        headers: offered.headers.into_iter().collect(),
        expires_at: Timestamp(offered.expires_at),
    };
    call.envelope(&Text::new("Upload created", "上传已创建"), data)
}

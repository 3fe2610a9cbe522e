//! `GET /api/v1/users/{user_id}/files/download`: a fresh link to a file (HTTP contract 7).

use actix_web::http::{StatusCode, header};

use super::body::{
    FOUND_ERRORS, FileInput, LINK_SECONDS, files_of, found, is_foreign, not_found, unavailable,
};
use crate::http::prelude::*;

/// A link to a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct DownloadLink {
    file_path: String,
    /// A link that needs no credential.
    download_url: String,
    /// Its validity in seconds.
    expires_in: u64,
}

pub fn doc() -> Doc {
    Doc::new("files", "Download a file")
        .description("302 to a fresh link. With `Accept: application/json` the link in a body.")
        .query::<FileInput>()
        .reply_envelope::<DownloadLink>(
            "Download link created",
            json!({
                "file_path": "users/auth0|test123/files/2025/07/document_20250727001126_0a1b2c3d.pdf",
                "download_url": "http://127.0.0.1:8100/files/raw/f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f?e=1753578686&d=attachment&s=...",
                "expires_in": 3600,
            }),
        )
        .errors(FOUND_ERRORS)
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let FileInput { file_path } = call.fields.input()?;
    let user_id = call.user().await?;
    let files = files_of(&call)?.clone();
    if is_foreign(&file_path, &user_id) {
        return Err(not_found());
    }
    let download_url = files.link(&found(&call, &user_id, &file_path).await?).await.map_err(unavailable)?;
    let wants_body = call.header(&header::ACCEPT).is_some_and(|accept| accept.contains("application/json"));
    if wants_body {
        let data = DownloadLink { file_path, download_url, expires_in: LINK_SECONDS };
        return call.envelope(&Text::new("Download link created", "下载链接已生成"), data);
    }
    Ok(Reply::new("text/plain", "").status(StatusCode::FOUND).header(header::LOCATION, &download_url))
}

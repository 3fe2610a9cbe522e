//! Files in answers, and the paths that requests name.

use flows::files::{Files, FilesError, FilesRefusal, Outcome};
use kernel::{Detail, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{prelude::*, wire::Timestamp};

/// Validity of links, in seconds.
pub const LINK_SECONDS: u64 = flows::files::LINK_VALID.as_secs();

/// A file.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileBody {
    /// The handle of the file.
    file_path: String,
    /// Bytes.
    file_size: i64,
    /// The type that was detected.
    content_type: &'static str,
    last_modified: Timestamp,
    /// A link that needs no credential, valid for one hour.
    download_url: String,
    /// SHA-256 of the bytes, in hexadecimal digits.
    etag: String,
    file_id: Uuid,
    /// The name that the client gave.
    filename: String,
}

impl FileBody {
    /// A file with a fresh link.
    ///
    /// # Errors
    /// 503.
    pub async fn new(files: &Files, file: files::File) -> Result<Self, ApiError> {
        let download_url = files.link(&file).await.map_err(unavailable)?;
        Ok(Self::with_link(file, download_url))
    }

    /// A file in an export; without a link if none can be made.
    pub async fn exported(files: Option<&Files>, file: files::File) -> Self {
        let link = match files {
            Some(files) => files.link(&file).await.unwrap_or_default(),
            None => String::new(),
        };
        Self::with_link(file, link)
    }

    fn with_link(file: files::File, download_url: String) -> Self {
        Self {
            file_path: file.file_path,
            file_size: file.size_bytes,
            content_type: file.file_type.content_type(),
            last_modified: Timestamp(file.uploaded_at),
            download_url,
            etag: file.sha256.to_string(),
            file_id: file.file_id,
            filename: file.filename,
        }
    }
}

/// A file that was uploaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadedFile {
    file_id: Uuid,
    /// The handle of the file.
    file_path: String,
    /// A link that needs no credential, valid for one hour.
    download_url: String,
    /// Bytes.
    file_size: i64,
    /// The type that was detected.
    content_type: &'static str,
    uploaded_at: Timestamp,
}

/// The answer to an upload.
///
/// # Errors
/// 503.
pub async fn uploaded(call: &Call, files: &Files, file: files::File) -> Result<Reply, ApiError> {
    let at = file.uploaded_at;
    let file = FileBody::new(files, file).await?;
    let data = UploadedFile {
        file_id: file.file_id,
        file_path: file.file_path,
        download_url: file.download_url,
        file_size: file.file_size,
        content_type: file.content_type,
        uploaded_at: file.last_modified,
    };
    call.envelope_at(at, &Text::new("File uploaded successfully", "文件上传成功"), data)
}

/// An uploaded file in the documents.
pub fn uploaded_example() -> Value {
    json!({
        "file_id": "f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f",
        "file_path": "users/auth0|test123/files/2025/07/document_20250727001126_0a1b2c3d.pdf",
        "download_url": "http://127.0.0.1:8100/files/raw/f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f?e=1753578686&d=attachment&s=...",
        "file_size": 2048576, "content_type": "application/pdf", "uploaded_at": "2025-07-27T00:11:26.479685Z",
    })
}

/// A file in the documents.
pub fn file_example() -> Value {
    json!({
        "file_path": "users/auth0|test123/files/2025/07/document_20250727001126_0a1b2c3d.pdf",
        "file_size": 2048576, "content_type": "application/pdf", "last_modified": "2025-07-27T00:11:26.479685Z",
        "download_url": "http://127.0.0.1:8100/files/raw/f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f?e=1753578686&d=attachment&s=...",
        "etag": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "file_id": "f7d8e9a1-3f7c-4c9e-9a51-0a1b2c3d4e5f", "filename": "document.pdf",
    })
}

/// Errors of routes that store a file.
pub const ERRORS: &[&web::catalogue::Entry] = &[
    &catalogue::QUOTA_EXCEEDED,
    &catalogue::FILE_TOO_LARGE,
    &catalogue::UNSUPPORTED_FILE_TYPE,
    &catalogue::PROVIDER_NOT_CONFIGURED,
    &catalogue::PROVIDER_UNAVAILABLE,
];

/// Errors of routes that find a file and link to it.
pub const FOUND_ERRORS: &[&web::catalogue::Entry] =
    &[&catalogue::FILE_NOT_FOUND, &catalogue::PROVIDER_NOT_CONFIGURED, &catalogue::PROVIDER_UNAVAILABLE];

/// The file of a user with this path.
///
/// # Errors
/// 404, 503.
pub async fn found(call: &Call, user_id: &UserId, file_path: &str) -> Result<files::File, ApiError> {
    let found = call.look_up(async |conn| files::find_by_path(conn, user_id, file_path).await).await?;
    found.ok_or_else(not_found)
}

/// Files, where they can be kept.
///
/// # Errors
/// 503.
pub fn files_of(call: &Call) -> Result<&Files, ApiError> {
    call.app.files.as_ref().ok_or_else(|| ApiError::not_configured("storage"))
}

/// The result of work on files.
///
/// # Errors
/// A refusal of the rules; 503 when database or store do not answer.
pub fn decided<T>(outcome: Outcome<T>) -> Result<T, ApiError> {
    match outcome {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(FilesRefusal::NoUser(user_id))) => Err(ApiError::user_not_found(&user_id)),
        Ok(Err(FilesRefusal::File(refusal))) => Err(ApiError::from_failure(&refusal)),
        Err(FilesError::Database(error)) => Err(ApiError::answered(error)),
        Err(FilesError::Storage(error)) => Err(unavailable(error)),
    }
}

/// 503: the store does not answer.
pub fn unavailable(error: files::objects::StorageError) -> ApiError {
    tracing::error!(error = %pg::pool::chain(&error), "the file storage does not do what it should");
    ApiError::new(&catalogue::PROVIDER_UNAVAILABLE).detail("provider", Detail::Text("storage".to_owned()))
}

/// 404 for a file.
pub fn not_found() -> ApiError {
    ApiError::from_failure(&files::FileRefusal::NotFound)
}

/// Beginning of the paths of a user.
pub fn prefix_of(user_id: &UserId) -> String {
    format!("users/{user_id}/files/")
}

/// True for a path below the files of another user, whether there is one or not.
pub fn is_foreign(path: &str, user_id: &UserId) -> bool {
    let owner = path.strip_prefix("users/").and_then(|rest| rest.split_once('/'));
    owner.is_some_and(|(owner, rest)| rest.starts_with("files/") && owner != user_id.as_str())
}

/// 403 for a path below the files of another user, as the documented routes answer.
///
/// # Errors
/// 403.
pub fn refuse_foreign(path: &str, user_id: &UserId) -> Result<(), ApiError> {
    if !is_foreign(path, user_id) {
        return Ok(());
    }
    let text = Text::new("Access denied: File does not belong to user", "拒绝访问: 文件不属于该用户");
    Err(ApiError::new(&catalogue::PERMISSION_DENIED).text(text))
}

input! {
    /// A file.
    pub struct FileInput {
        /// Its path, as an upload or a list answered it.
        file_path: String = required(Query, parse::text(1, 1024)),
            example("users/auth0|test123/files/2025/07/document_20250727001126_0a1b2c3d.pdf");
    }
}

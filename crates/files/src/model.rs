//! The things of this domain. No SQL.

use std::fmt;

use kernel::{TimePlace, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::FileType;

/// A file that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its id.
    pub file_id: Uuid,
    /// Its owner.
    pub user_id: UserId,
    /// Orders files of one instant.
    pub number: i64,
    /// Names its object, which is never written again.
    pub object_id: Uuid,
    /// The handle of the documented routes (HTTP contract 7).
    pub file_path: String,
    /// The name that the client gave, without folders and control characters.
    pub filename: String,
    /// The type that was detected.
    pub file_type: FileType,
    /// Bytes.
    pub size_bytes: i64,
    /// Hash of the bytes.
    pub sha256: Sha256,
    /// Time at which it became ready.
    pub uploaded_at: OffsetDateTime,
}

impl File {
    /// Its place in a list, newest first.
    #[must_use]
    pub fn place(&self) -> TimePlace {
        TimePlace { at: self.uploaded_at, id: self.number }
    }
}

/// A file that is to be uploaded.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its owner.
    pub user_id: UserId,
    /// Its id.
    pub file_id: Uuid,
    /// The path (HTTP contract 7).
    pub file_path: String,
    /// The name to show.
    pub filename: String,
    /// Most bytes that it may have.
    pub bytes: ReservedAs,
    /// Time until which it must be ready.
    pub valid: time::Duration,
}

/// Bytes of a file that is to come.
#[derive(Debug, Clone)]
pub enum ReservedAs {
    /// At most this many bytes; fewer, if the quota leaves no more.
    AtMost(i64),
    /// Exactly what an offer says: a direct upload.
    Offered {
        /// Bytes.
        size: i64,
        /// The type that the client declared.
        declared_type: String,
        /// The hash that is expected.
        sha256: Option<Sha256>,
    },
}

/// A direct upload that was offered and is not complete.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Id of the upload and of its file.
    pub file_id: Uuid,
    /// Its owner.
    pub user_id: UserId,
    /// The path that the file gets.
    pub file_path: String,
    /// The name to show.
    pub filename: String,
    /// The type that the client declared.
    pub declared_type: Option<String>,
    /// Bytes that were declared.
    pub size_bytes: i64,
    /// The hash that was declared.
    pub sha256: Option<Sha256>,
    /// End of the offer.
    pub expires_at: OffsetDateTime,
}

/// Facts about bytes that were stored.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// Names the object.
    pub object_id: Uuid,
    /// The type that was detected.
    pub file_type: FileType,
    /// Bytes.
    pub size_bytes: i64,
    /// Hash of the bytes.
    pub sha256: Sha256,
}

/// Limits of files (`FILE_MAX_BYTES`, `FILE_QUOTA_BYTES`, `FILE_QUOTA_FILES`).
#[derive(Debug, Clone, Copy)]
pub struct FileLimits {
    /// Most bytes of a file.
    pub file_bytes: i64,
    /// Most bytes of all files of a user.
    pub user_bytes: i64,
    /// Most files of a user.
    pub user_files: i64,
}

/// Use of the quota of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of files.
    pub used_bytes: i64,
    /// Files.
    pub used_files: i64,
    /// Bytes of uploads that are not complete.
    pub reserved_bytes: i64,
    /// Uploads that are not complete.
    pub reserved_files: i64,
}

/// Restricts a list.
#[derive(Debug, Clone, Default)]
pub struct FileFilter {
    /// Beginning of the path.
    pub path_prefix: Option<String>,
}

/// A SHA-256 hash. Shown in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

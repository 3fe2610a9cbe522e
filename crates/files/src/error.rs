//! Refusals of this domain. Nothing was kept.

use kernel::{Detail, Failure, Kind};

use crate::content::{FileType, Unsupported};

/// Why a file was not stored or given out (HTTP contract 1.6 and 7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileRefusal {
    /// The quota of the user is used up.
    #[error("the quota of {limit} {unit} is used up: {used} are used, {requested} more were asked for")]
    QuotaExceeded {
        /// `bytes` or `files`.
        unit: &'static str,
        /// Used and reserved.
        used: i64,
        /// The quota.
        limit: i64,
        /// Asked for.
        requested: i64,
    },
    /// More bytes than a file may have.
    #[error("a file has at most {limit} bytes")]
    TooLarge {
        /// Most bytes.
        limit: i64,
    },
    /// Name, declared type and content do not agree, or the type is not served.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// No such file.
    #[error("there is no such file")]
    NotFound,
    /// No such direct upload.
    #[error("there is no such upload")]
    UploadNotFound,
    /// Nothing, or something else, lies at the upload URL.
    #[error("nothing, or something else, was uploaded")]
    UploadIncomplete,
}

impl Failure for FileRefusal {
    fn code(&self) -> &'static str {
        match self {
            Self::QuotaExceeded { .. } => "QuotaExceededException",
            Self::TooLarge { .. } => "FileTooLargeException",
            Self::Unsupported(_) => "UnsupportedFileTypeException",
            Self::NotFound => "FileNotFoundException",
            Self::UploadNotFound => "UploadNotFoundException",
            Self::UploadIncomplete => "UploadIncompleteException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::QuotaExceeded { .. } => Kind::Refused,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::NotFound | Self::UploadNotFound => Kind::NotFound,
            Self::UploadIncomplete => Kind::Conflict,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::QuotaExceeded { unit, used, limit, requested } => vec![
                ("unit", Detail::Text((*unit).to_owned())),
                ("used", Detail::Integer(*used)),
                ("limit", Detail::Integer(*limit)),
                ("requested", Detail::Integer(*requested)),
            ],
            Self::TooLarge { limit } => {
                vec![("limit", Detail::Integer(*limit)), ("max_size", Detail::Text(in_words(*limit)))]
            }
            Self::Unsupported(Unsupported { declared, detected }) => {
                let allowed: Vec<_> = FileType::ALL.into_iter().map(FileType::content_type).collect();
                let text = |text: &Option<String>| Detail::Text(text.clone().unwrap_or_default());
                vec![
                    ("declared", text(declared)),
                    ("detected", text(detected)),
                    ("allowed", Detail::Text(allowed.join(", "))),
                ]
            }
            Self::NotFound | Self::UploadNotFound | Self::UploadIncomplete => Vec::new(),
        }
    }
}

/// Bytes as the documents write them: `50MB`.
fn in_words(bytes: i64) -> String {
    const MEBIBYTE: i64 = 1024 * 1024;
    match (bytes.checked_div(MEBIBYTE), bytes.checked_rem(MEBIBYTE)) {
        (Some(whole), Some(0)) if whole > 0 => format!("{whole}MB"),
        _ => format!("{bytes} bytes"),
    }
}

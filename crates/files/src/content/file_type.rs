//! The types of files, and what clients say of them.

use crate::names;

/// Longest declared type that a refusal repeats, in characters: two names of RFC 6838 and the slash.
const DECLARED_CHARS_MAX: usize = 255;

/// A type that may be stored (HTTP contract 7). No browser runs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// Portable Document Format.
    Pdf,
    /// Comma-separated values.
    Csv,
    /// Plain text.
    Text,
    /// JSON.
    Json,
    /// A spreadsheet in an OLE compound file.
    Xls,
    /// A spreadsheet of Office Open XML, without macros.
    Xlsx,
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
}

impl FileType {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 10] = [
        Self::Pdf,
        Self::Csv,
        Self::Text,
        Self::Json,
        Self::Xls,
        Self::Xlsx,
        Self::Jpeg,
        Self::Png,
        Self::Gif,
        Self::Webp,
    ];

    /// The content type, without parameters.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Csv => "text/csv",
            Self::Text => "text/plain",
            Self::Json => "application/json",
            Self::Xls => "application/vnd.ms-excel",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }

    /// The type with this content type.
    #[must_use]
    pub fn by_content_type(content_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.content_type() == content_type)
    }

    /// The extensions of its names, in lower case, without dot.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Pdf => &["pdf"],
            Self::Csv => &["csv"],
            Self::Text => &["txt"],
            Self::Json => &["json"],
            Self::Xls => &["xls"],
            Self::Xlsx => &["xlsx"],
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Png => &["png"],
            Self::Gif => &["gif"],
            Self::Webp => &["webp"],
        }
    }

    fn may_be_declared(self, declared: &str) -> bool {
        declared == self.content_type()
            || match self {
                Self::Csv => declared == Self::Xls.content_type(),
                Self::Jpeg => declared == "image/jpg",
                _ => false,
            }
    }
}

/// The type that the name of a file claims, with which the declared type agrees.
#[derive(Debug, Clone)]
pub struct Claim {
    file_type: FileType,
    declared: Option<String>,
}

impl Claim {
    /// The claim of an upload: the name and the `Content-Type` that the client gave. Parameters and case of the declared
    /// type do not matter; an absent or empty one, or `application/octet-stream`, agrees with every name.
    ///
    /// # Errors
    /// [`Unsupported`] if the extension is not one of a [`FileType`], or the declared type is another one.
    pub fn new(filename: &str, declared: Option<&str>) -> Result<Self, Unsupported> {
        let declared = declared.map(essence).filter(|declared| !declared.is_empty());
        let extension = names::extension(filename).unwrap_or_default();
        let claimed = FileType::ALL.into_iter().find(|one| one.extensions().contains(&extension.as_str()));
        let agrees = |claimed: &FileType| match declared.as_deref() {
            None | Some("application/octet-stream") => true,
            Some(declared) => claimed.may_be_declared(declared),
        };
        match claimed.filter(agrees) {
            Some(file_type) => Ok(Self { file_type, declared }),
            None => Err(Unsupported { declared, detected: None }),
        }
    }

    /// The type, if the content agrees.
    #[must_use]
    pub const fn file_type(&self) -> FileType {
        self.file_type
    }

    /// The refusal of the content. It names no type that was claimed: then the content is a faulty file of that type.
    pub(super) fn unsupported(&self, detected: Option<&str>) -> Unsupported {
        let detected = detected.filter(|detected| *detected != self.file_type.content_type());
        Unsupported { declared: self.declared.clone(), detected: detected.map(str::to_owned) }
    }
}

fn essence(declared: &str) -> String {
    let essence = declared.split(';').next().unwrap_or_default().trim();
    essence.chars().take(DECLARED_CHARS_MAX).collect::<String>().to_ascii_lowercase()
}

/// The refusal of a file whose name, declared type and content do not agree on a [`FileType`] (HTTP contract 7: 415).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("file type not supported")]
pub struct Unsupported {
    /// The declared type as the client gave it, without parameters, in lower case; at most 255 characters.
    pub declared: Option<String>,
    /// The content type that was found instead, if it is known and content was looked at.
    pub detected: Option<String>,
}

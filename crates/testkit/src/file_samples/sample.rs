//! A file, and what must become of it.

/// A file as a client uploads it, and what must become of it.
#[derive(Debug, Clone)]
pub struct FileSample {
    /// The name that the client gives, not checked in any way.
    pub name: String,
    /// The declared type, if any.
    pub declared: Option<String>,
    /// The content.
    pub content: Vec<u8>,
    /// The content type under which it is stored; nothing if it is refused.
    pub accepted: Option<&'static str>,
    /// The reason.
    pub why: String,
}

/// The ten types: extension, content type.
pub(super) const TYPES: [(&str, &str); 10] = [
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("txt", "text/plain"),
    ("json", "application/json"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("jpg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];

impl FileSample {
    /// Accepted as the type of its name, which is declared too.
    pub(super) fn good(name: &str, content: impl Into<Vec<u8>>, why: &str) -> Self {
        let declared = Some(content_type(name));
        Self {
            name: name.to_owned(),
            declared: declared.map(str::to_owned),
            content: content.into(),
            accepted: declared,
            why: why.to_owned(),
        }
    }

    /// Refused, although the declared type is that of its name.
    pub(super) fn bad(name: &str, content: impl Into<Vec<u8>>, why: &str) -> Self {
        Self { accepted: None, ..Self::good(name, content, why) }
    }
}

/// The content type of a name with a known extension.
pub(super) fn content_type(name: &str) -> &'static str {
    let extension = name.rsplit('.').next().unwrap_or_default().to_lowercase();
    let known = TYPES.iter().find(|(one, _)| *one == extension.replace("jpeg", "jpg"));
    known.unwrap_or_else(|| panic!("no type for {name}")).1
}

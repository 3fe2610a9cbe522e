//! Names of files: shown, in paths, and in headers.

use kernel::UserId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::{OffsetDateTime, UtcOffset};

/// Longest name that is shown, in characters.
pub const NAME_CHARS_MAX: usize = 255;
/// Longest stem in a `file_path`, in characters (HTTP contract 7).
const STEM_CHARS_MAX: usize = 80;
/// A longer text after the last dot is no extension, so that it is not kept when a name is cut.
const EXTENSION_CHARS_MAX: usize = 16;
/// The name of a file whose client gave none.
const NAMELESS: &str = "file";
/// Names of devices on Windows, with any extension; `COM` and `LPT` have a digit after them.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
/// All bytes except `attr-char` of RFC 8187 are encoded.
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The name under which a file is shown and saved, from the name of a client.
///
/// The last component of a path of either system, without control, bidirectional and invisible characters, dots at its
/// ends, and white space around it; at most [`NAME_CHARS_MAX`] characters, with the extension kept. A name of a device
/// begins with `_`; an empty one is `file`. Its own result is not changed again.
#[must_use]
pub fn display_name(name: &str) -> String {
    let visible: String = last_component(name).chars().filter(|c| !is_hidden(*c)).collect();
    let visible = visible.trim_end_matches(is_edge);
    let (stem, extension) = split(visible);
    let stem = stem.trim_start_matches(is_edge);
    let mark = if is_device(stem) { "_" } else { "" };
    let stem = if stem.is_empty() { NAMELESS } else { stem };
    let dotted = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
    let room = NAME_CHARS_MAX.saturating_sub(dotted.chars().count());
    let stem: String = mark.chars().chain(stem.chars()).take(room).collect();
    if dotted.is_empty() { stem.trim_end_matches(is_edge).to_owned() } else { stem + &dotted }
}

/// The text after the last dot of a [`display_name`], in lower case; nothing if that is empty or above 16 characters.
#[must_use]
pub fn extension(name: &str) -> Option<String> {
    split(&display_name(name)).1.map(str::to_lowercase)
}

/// The `file_path` of a new file (HTTP contract 7): a handle that is looked up, never a path on a disk.
///
/// `users/{user_id}/files/{YYYY}/{MM}/{stem}_{YYYYMMDDHHMMSS}_{8hex}{ext}` in UTC. Letters and digits of the stem are
/// those of Unicode; the extension is in lower case.
#[must_use]
pub fn file_path(user: &UserId, name: &str, at: OffsetDateTime, random: u32) -> String {
    let at = at.checked_to_offset(UtcOffset::UTC).unwrap_or(at);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    let stem = split(last_component(name).trim_end_matches(is_edge)).0;
    let stem: String = stem.chars().take(STEM_CHARS_MAX).map(path_character).collect();
    let stem = if stem.is_empty() { NAMELESS } else { &stem };
    let extension = extension(name).map(|extension| format!(".{extension}")).unwrap_or_default();
    format!(
        "users/{user}/files/{year:04}/{month:02}/{stem}_{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}_\
         {random:08x}{extension}",
        user = user.as_str(),
    )
}

/// The header `Content-Disposition` of a download (RFC 6266): an ASCII name for old clients, and the whole one (RFC 8187).
#[must_use]
pub fn content_disposition(name: &str) -> String {
    let name = display_name(name);
    let ascii: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, ATTRIBUTE))
}

fn last_component(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// Stem and extension; the stem may be empty.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if (1..=EXTENSION_CHARS_MAX).contains(&extension.chars().count()) => {
            (stem, Some(extension))
        }
        _ => (name, None),
    }
}

fn is_edge(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// Characters that hide or reorder others. Joiners stay: emoji and Persian need them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
}

fn is_device(stem: &str) -> bool {
    let name = stem.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let numbered = ["com", "lpt"].iter().find_map(|port| name.strip_prefix(port));
    let is_number = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(|c| matches!(c, '0'..='9' | '¹' | '²' | '³'))
            && characters.next().is_none()
    };
    DEVICES.contains(&name.as_str()) || numbered.is_some_and(is_number)
}

fn path_character(c: char) -> char {
    if c.is_alphanumeric() || c == '-' { c } else { '_' }
}

/// Characters of a quoted file name that all clients read alike; some decode `%`.
fn is_plain(c: char) -> bool {
    (c == ' ' || c.is_ascii_graphic()) && !matches!(c, '"' | '\\' | '%')
}

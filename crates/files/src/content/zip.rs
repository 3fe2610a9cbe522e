//! Spreadsheets, by their zip directory (APPNOTE 6.3.10; ECMA-376 part 2).
//!
//! Own code: libraries accept what is before, between and after the entries of a zip file. Here all readers must see the
//! same entries, so the file is nothing but entries, directory and end record.

mod record;

use std::{collections::BTreeSet, io::Read, ops::Range};

use bytes::Bytes;
use flate2::read::DeflateDecoder;

use super::{Claim, FileType, Unsupported};
use record::{END_BYTES_MAX, End, Entry, Method};

/// Most entries (HTTP contract 7).
const ENTRIES_MAX: usize = 5000;
/// Longest directory that is read, in bytes.
const DIRECTORY_BYTES_MAX: u64 = 2 << 20;
/// Most bytes unpacked for one packed (HTTP contract 7).
const RATIO_MAX: u64 = 100;
/// Unpacked bytes up to which any ratio is harmless: small parts of many spreadsheets are above 100.
const UNPACKED_BYTES_FREE: u64 = 100 << 10;
/// Most bytes from the start of the list of content types to the next entry.
const TYPES_BYTES_MAX: u64 = 256 << 10;
/// Longest list of content types, in bytes.
const TYPES_UNPACKED_BYTES_MAX: u64 = 1 << 20;

const WORKBOOK: &str = "xl/workbook.xml";
const TYPES: &str = "[content_types].xml";
const WORKBOOK_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml";
/// In names of entries and in content types, in lower case.
const MACROS: [&str; 4] = ["vbaproject", "vbadata", "macrosheet", "macroenabled"];

/// A zip file whose directory decides: it must be read from the stored object.
#[derive(Debug)]
pub struct Directory {
    claim: Claim,
}

impl Directory {
    pub(super) fn new(claim: Claim) -> Self {
        Self { claim }
    }

    /// Judges an object of `size` bytes, of which `read` returns ranges: three at most, together less than 3 MiB.
    ///
    /// # Errors
    /// Outside, the first error of `read`; inside, [`Unsupported`] if the object is not a spreadsheet without macros.
    pub async fn judge<E, R, F>(self, size: u64, read: R) -> Result<Result<FileType, Unsupported>, E>
    where
        R: Fn(Range<u64>) -> F,
        F: Future<Output = Result<Bytes, E>>,
    {
        let tail = read(size.saturating_sub(END_BYTES_MAX)..size).await?;
        let Some(end) = End::parse(&tail, size).filter(End::is_bounded) else {
            return Ok(Err(self.unsupported()));
        };
        let directory = read(end.directory.clone()).await?;
        let Some(types) = spreadsheet(&directory, &end) else {
            return Ok(Err(self.unsupported()));
        };
        let part = read(types.span.clone()).await?;
        Ok(if types.list(&part).is_some_and(|list| is_workbook(&list)) {
            Ok(FileType::Xlsx)
        } else {
            Err(self.unsupported())
        })
    }

    fn unsupported(&self) -> Unsupported {
        self.claim.unsupported(Some("application/zip"))
    }
}

impl End {
    fn is_bounded(&self) -> bool {
        let bytes = self.directory.end.saturating_sub(self.directory.start);
        (1..=ENTRIES_MAX).contains(&self.entries) && bytes <= DIRECTORY_BYTES_MAX
    }
}

/// The list of content types: where it is, and up to where it may be.
struct Types<'a> {
    entry: Entry<'a>,
    span: Range<u64>,
}

/// Judges the directory.
fn spreadsheet<'a>(directory: &'a [u8], end: &End) -> Option<Types<'a>> {
    let mut entries = Vec::with_capacity(end.entries);
    let mut rest = directory;
    while !rest.is_empty() {
        let (entry, after) = Entry::parse(rest)?;
        entries.push(entry);
        rest = after;
    }
    let names: BTreeSet<String> = entries.iter().filter_map(|entry| plain_name(entry.name)).collect();
    let is_macro = |name: &String| MACROS.iter().any(|mark| name.contains(mark));
    // A name that is not plain, or there twice, is missing.
    let is_listed = entries.len() == end.entries && names.len() == end.entries;
    if !is_listed || names.iter().any(is_macro) || !names.contains(WORKBOOK) || !is_small(&entries) {
        return None;
    }
    entries.sort_by_key(|entry| entry.offset);
    let starts = entries.iter().map(|entry| entry.offset);
    let ends = starts.clone().skip(1).chain([end.directory.start]);
    // The first begins the file, and none covers a part of the next.
    if entries.first()?.offset != 0 {
        return None;
    }
    let mut types = None;
    for (entry, next) in entries.iter().zip(ends) {
        if entry.least_end()? > next {
            return None;
        }
        if entry.name.eq_ignore_ascii_case(TYPES.as_bytes()) {
            types = Some(Types { entry: *entry, span: entry.offset..next });
        }
    }
    types.filter(|types| types.span.end.saturating_sub(types.span.start) <= TYPES_BYTES_MAX)
}

/// The name in lower case, as names of parts are compared; nothing if it is no relative path of plain components.
fn plain_name(name: &[u8]) -> Option<String> {
    let name = str::from_utf8(name).ok()?.to_lowercase();
    let path = name.strip_suffix('/').unwrap_or(&name);
    let is_plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !name.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'));
    is_plain.then_some(name)
}

fn is_small(entries: &[Entry<'_>]) -> bool {
    let is_within = |unpacked: u64, packed: u64| {
        unpacked <= UNPACKED_BYTES_FREE || unpacked <= packed.saturating_mul(RATIO_MAX)
    };
    let (unpacked, packed) = entries.iter().fold((0_u64, 0_u64), |(unpacked, packed), entry| {
        (unpacked.saturating_add(entry.unpacked), packed.saturating_add(entry.packed))
    });
    is_within(unpacked, packed) && entries.iter().all(|entry| is_within(entry.unpacked, entry.packed))
}

impl Types<'_> {
    /// The list, from the bytes of its span.
    fn list(&self, part: &[u8]) -> Option<String> {
        let packed = self.entry.packed_in(part)?;
        let mut list = String::new();
        let limit = TYPES_UNPACKED_BYTES_MAX;
        match self.entry.method {
            Method::Stored => packed.take(limit).read_to_string(&mut list),
            Method::Deflated => DeflateDecoder::new(packed).take(limit).read_to_string(&mut list),
        }
        .ok()?;
        (u64::try_from(list.len()) == Ok(self.entry.unpacked)).then_some(list)
    }
}

/// Returns true if the content types are those of a workbook without macros. References and declarations are refused: with them
/// one type can be written in several ways.
fn is_workbook(types: &str) -> bool {
    let types = types.to_ascii_lowercase();
    types.contains(WORKBOOK_TYPE)
        && !types.contains('&')
        && !types.contains("<!")
        && !MACROS.iter().any(|mark| types.contains(mark))
}

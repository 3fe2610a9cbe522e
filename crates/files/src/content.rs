//! The type of a file: name, declared type and content must agree (HTTP contract 7).
//!
//! A [`Claim`] is made of name and declared type before the first byte. A [`Judge`] sees the content while it streams
//! through, in flat memory, and refuses as soon as it is sure. A spreadsheet is known by its zip directory, which is at
//! its end: [`Directory`] reads that from the stored object.
//!
//! An accepted file may still do harm when it is opened in an office program: formulas of CSV files, JavaScript of PDF files and
//! macros of `.xls` files are not looked for, and sizes in a zip directory are those it declares.

mod file_type;
mod image;
mod json;
mod text;
mod zip;

use file_format::FileFormat;

use image::Jpeg;
use text::Text;

pub use file_type::{Claim, FileType, Unsupported};
pub use zip::Directory;

/// Bytes by which a type is known: as many as browsers look at (WHATWG MIME Sniffing, resource header).
const HEAD_BYTES: usize = 1445;
/// Texts in a head that some reader might take as markup although the file is a PDF, a table or an image.
const MARKUP: [&[u8]; 8] =
    [b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<iframe", b"<svg", b"<?php"];
/// The header of an OLE compound file takes its first sector.
const OLE_HEADER_BYTES: usize = 512;

/// Judges content while it streams through. Any division into chunks gives the same verdict.
#[derive(Debug)]
pub struct Judge {
    claim: Claim,
    head: Vec<u8>,
    size: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The head is not complete.
    Head,
    Text(Box<Text>),
    Jpeg(Jpeg),
    /// The head decided.
    Accepted,
    Refused,
}

/// The verdict on the whole content.
#[derive(Debug)]
pub enum Judged {
    /// The file has this type.
    Final(FileType),
    /// A zip file that may be a spreadsheet.
    Directory(Directory),
}

impl Judge {
    /// A judge of the content of a file.
    #[must_use]
    pub fn new(claim: Claim) -> Self {
        Self { claim, head: Vec::new(), size: 0, state: State::Head }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Unsupported`] as soon as it is certain, and at every call after that.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Unsupported> {
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        if self.head.len() < HEAD_BYTES {
            return Ok(());
        }
        if matches!(self.state, State::Head) {
            self.judge_head();
        }
        self.advance(|state| match state {
            State::Text(text) => text.feed(rest),
            State::Jpeg(jpeg) => jpeg.feed(rest),
            State::Head | State::Accepted => true,
            State::Refused => false,
        })
    }

    /// The verdict on the whole content.
    ///
    /// # Errors
    /// [`Unsupported`] if the content is not what the claim says.
    pub fn finish(mut self) -> Result<Judged, Unsupported> {
        if matches!(self.state, State::Head) {
            self.judge_head();
        }
        let size = self.size;
        let whole = self.claim.file_type() != FileType::Webp || image::webp_bytes(&self.head) <= size;
        self.advance(|state| match state {
            State::Text(text) => text.finish(),
            State::Jpeg(jpeg) => jpeg.is_framed(),
            State::Head | State::Accepted => whole,
            State::Refused => false,
        })?;
        Ok(match self.claim.file_type() {
            FileType::Xlsx => Judged::Directory(Directory::new(self.claim)),
            decided => Judged::Final(decided),
        })
    }

    fn advance(&mut self, step: impl FnOnce(&mut State) -> bool) -> Result<(), Unsupported> {
        if step(&mut self.state) {
            return Ok(());
        }
        self.state = State::Refused;
        Err(self.claim.unsupported(detected(&self.head).as_deref()))
    }

    fn judge_head(&mut self) {
        let head = self.head.as_slice();
        let header =
            |matches: bool| if matches && !has_markup(head) { State::Accepted } else { State::Refused };
        let text =
            |mut text: Text| if text.feed(head) { State::Text(Box::new(text)) } else { State::Refused };
        self.state = match self.claim.file_type() {
            // The content of no text: a PDF may be all ASCII.
            FileType::Csv | FileType::Text | FileType::Json if head.starts_with(b"%PDF-") => State::Refused,
            FileType::Csv | FileType::Text => text(Text::plain()),
            FileType::Json => text(Text::json()),
            FileType::Pdf => header(head.starts_with(b"%PDF-")),
            FileType::Xls => header(is_ole(head)),
            FileType::Xlsx => header(head.starts_with(b"PK\x03\x04")),
            FileType::Png => header(image::is_png(head)),
            FileType::Gif => header(image::is_gif(head)),
            FileType::Webp => header(image::is_webp(head)),
            FileType::Jpeg => {
                let mut jpeg = Jpeg::new();
                if image::is_jpeg(head) && jpeg.feed(head) && !has_markup(head) {
                    State::Jpeg(jpeg)
                } else {
                    State::Refused
                }
            }
        };
    }
}

fn is_ole(head: &[u8]) -> bool {
    let byte_order = head.get(28..30);
    head.len() >= OLE_HEADER_BYTES
        && head.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
        && byte_order == Some(b"\xfe\xff")
}

fn has_markup(head: &[u8]) -> bool {
    MARKUP.iter().any(|tag| head.windows(tag.len()).any(|window| window.eq_ignore_ascii_case(tag)))
}

/// The content type of what begins like this, as well as it can be known. Only for the answer: `FileFormat` takes any
/// text that begins with `BM` for an image.
fn detected(head: &[u8]) -> Option<String> {
    let named = |bytes: &[u8]| {
        let format = FileFormat::from_bytes(bytes);
        Some(format.media_type().to_owned()).filter(|media_type| media_type != "application/octet-stream")
    };
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let plain = if start.starts_with(b"<") {
        return named(start).or_else(|| Some("text/html".to_owned()));
    } else if has_markup(head) {
        "text/html"
    } else if start.starts_with(b"#!") {
        "text/x-shellscript"
    } else if head.starts_with(b"%PDF-") {
        "application/pdf"
    } else if text::is_utf8(head) {
        "text/plain"
    } else {
        return named(head);
    };
    Some(plain.to_owned())
}

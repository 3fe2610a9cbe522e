//! Texts: UTF-8 or GB18030 throughout, and nothing that a browser or a shell would run.

use encoding_rs::{Decoder, DecoderResult, Encoding, GB18030, UTF_8};

use super::json::Json;

/// Decoded at a time.
const BUFFER_BYTES: usize = 4096;

/// A text, read in both encodings as long as both are possible.
///
/// Text that is UTF-8 is that, so JSON must parse so. It is refused if it begins like markup in either encoding that is
/// possible at its end, as a browser may take the other one.
#[derive(Debug)]
pub(super) struct Text {
    /// Only the first while all bytes are ASCII, which is the same in both.
    readings: Vec<Reading>,
    is_ascii: bool,
}

struct Reading {
    decoder: Decoder,
    content: Content,
}

#[derive(Debug, Clone)]
struct Content {
    beginning: Beginning,
    /// If it must be JSON.
    json: Option<Json>,
}

/// The first visible characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Blank,
    /// `<`
    Less,
    /// `#`
    Hash,
    /// HTML, XML, SVG or a script.
    Markup,
    Plain,
}

impl Text {
    pub(super) fn plain() -> Self {
        Self::new(None)
    }

    pub(super) fn json() -> Self {
        Self::new(Some(Json::new()))
    }

    fn new(json: Option<Json>) -> Self {
        let content = Content { beginning: Beginning::Blank, json };
        Self { readings: vec![Reading::new(UTF_8, content)], is_ascii: true }
    }

    /// Takes the next bytes; false if the text is refused whatever follows.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        let ascii = if self.is_ascii { Encoding::ascii_valid_up_to(bytes) } else { 0 };
        let (ascii, rest) = bytes.split_at(ascii);
        self.read(ascii, false);
        if self.is_ascii && !rest.is_empty() {
            self.is_ascii = false;
            if let Some(content) = self.readings.first().map(|reading| reading.content.clone()) {
                self.readings.push(Reading::new(GB18030, content));
            }
        }
        self.read(rest, false);
        self.readings.iter().any(|reading| reading.content.is_possible())
    }

    /// The verdict on the whole text.
    pub(super) fn finish(&mut self) -> bool {
        self.read(b"", true);
        let is_complete = |first: &Reading| first.content.json.as_ref().is_none_or(Json::is_complete);
        self.readings.first().is_some_and(is_complete)
            && self.readings.iter().all(|reading| reading.content.beginning != Beginning::Markup)
    }

    fn read(&mut self, bytes: &[u8], last: bool) {
        let has_nul = bytes.contains(&0);
        self.readings.retain_mut(|reading| !has_nul && reading.feed(bytes, last));
    }
}

impl Reading {
    fn new(encoding: &'static Encoding, content: Content) -> Self {
        Self { decoder: encoding.new_decoder_without_bom_handling(), content }
    }

    /// False if the bytes are not of this encoding.
    fn feed(&mut self, mut bytes: &[u8], last: bool) -> bool {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut buffer, last);
            let decoded = buffer.get(..written).unwrap_or_default();
            self.content.feed(decoded);
            match result {
                DecoderResult::InputEmpty => return true,
                DecoderResult::Malformed(..) => return false,
                DecoderResult::OutputFull => {}
            }
            bytes = bytes.get(read..).unwrap_or_default();
        }
    }
}

impl Content {
    fn feed(&mut self, decoded: &[u8]) {
        if !matches!(self.beginning, Beginning::Plain | Beginning::Markup) {
            // A decoder writes whole characters.
            let text = str::from_utf8(decoded).unwrap_or_default();
            self.beginning = text.chars().fold(self.beginning, Beginning::after);
        }
        if let Some(json) = &mut self.json {
            json.feed(decoded);
        }
    }

    fn is_possible(&self) -> bool {
        self.beginning != Beginning::Markup && self.json.as_ref().is_none_or(|json| !json.is_broken())
    }
}

impl Beginning {
    fn after(self, next: char) -> Self {
        match (self, next) {
            (Self::Blank, '<') => Self::Less,
            (Self::Blank, '#') => Self::Hash,
            (Self::Blank, blank) if is_blank(blank) => Self::Blank,
            (Self::Less, 'a'..='z' | 'A'..='Z' | '!' | '?' | '/' | '%') | (Self::Hash, '!') => Self::Markup,
            (Self::Markup, _) => Self::Markup,
            _ => Self::Plain,
        }
    }
}

/// White space, byte order marks, and whatever else shows nothing.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Returns true if the beginning of a file is a text in UTF-8; its last character may be cut.
pub(super) fn is_utf8(head: &[u8]) -> bool {
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            head.get(..error.valid_up_to()).and_then(|valid| str::from_utf8(valid).ok()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| c.is_whitespace() || !c.is_control())
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("encoding", &self.decoder.encoding().name()).finish_non_exhaustive()
    }
}

//! Headers of images: of the type they claim, with a width and a height.

/// Bytes of a JPEG marker, its length, and width and height of a frame.
const JPEG_HEADER_BYTES: usize = 9;

/// ISO 15948: signature, then a chunk IHDR with dimensions from 1 to 2^31 - 1.
pub(super) fn is_png(head: &[u8]) -> bool {
    let side = |at| bytes_at(head, at).map(u32::from_be_bytes);
    let is_side = |side: Option<u32>| side.is_some_and(|side| (1..1 << 31).contains(&side));
    // The signature, the length of the chunk and its name; then two sides, five bytes and a sum.
    head.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")
        && head.len() >= 33
        && is_side(side(16))
        && is_side(side(20))
}

/// GIF89a: signature, then a screen of at least one pixel.
pub(super) fn is_gif(head: &[u8]) -> bool {
    let side = |at| bytes_at(head, at).map_or(0, u16::from_le_bytes);
    (head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a"))
        && head.len() >= 13
        && side(6) > 0
        && side(8) > 0
}

/// The start of a JPEG image and of its first marker.
pub(super) fn is_jpeg(head: &[u8]) -> bool {
    head.starts_with(b"\xff\xd8\xff")
}

/// RFC 9649: a RIFF container whose first chunk is an image of one of three kinds.
pub(super) fn is_webp(head: &[u8]) -> bool {
    let is_riff = head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP");
    let side = |at| bytes_at(head, at).map_or(0, u16::from_le_bytes) & 0x3fff;
    is_riff
        && match head.get(12..16) {
            // A key frame, its start code, width and height.
            Some(b"VP8 ") => {
                head.get(20).is_some_and(|tag| tag & 1 == 0)
                    && head.get(23..26) == Some(b"\x9d\x01\x2a")
                    && side(26) > 0
                    && side(28) > 0
            }
            // Both others store the dimensions less 1.
            Some(b"VP8L") => head.get(20) == Some(&0x2f) && head.len() >= 25,
            Some(b"VP8X") => bytes_at(head, 16).map(u32::from_le_bytes) == Some(10) && head.len() >= 30,
            _ => false,
        }
}

/// The size that a RIFF container declares.
pub(super) fn webp_bytes(head: &[u8]) -> u64 {
    bytes_at(head, 4).map_or(0, |size| u64::from(u32::from_le_bytes(size)).saturating_add(8))
}

/// Looks for the header of the frame, which follows segments of any length (ITU T.81, annex B).
#[derive(Debug)]
pub(super) enum Jpeg {
    Segments {
        skip: usize,
        /// The next bytes after the skipped ones, less than [`JPEG_HEADER_BYTES`].
        window: Vec<u8>,
    },
    Framed,
    Broken,
}

impl Jpeg {
    /// The first two bytes are known: the start of the image.
    pub(super) fn new() -> Self {
        Self::Segments { skip: 2, window: Vec::with_capacity(JPEG_HEADER_BYTES) }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while let Self::Segments { skip, window } = self {
            let skipped = (*skip).min(bytes.len());
            *skip = skip.saturating_sub(skipped);
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { break };
            bytes = rest;
            window.push(*byte);
            let Some(header) = window.first_chunk::<JPEG_HEADER_BYTES>() else { continue };
            match segment(header) {
                Segment::Bytes(length) => {
                    *skip = length.saturating_sub(window.len());
                    window.drain(..length.min(JPEG_HEADER_BYTES));
                }
                Segment::Frame => *self = Self::Framed,
                Segment::Other => *self = Self::Broken,
            }
        }
        !matches!(self, Self::Broken)
    }

    pub(super) fn is_framed(&self) -> bool {
        matches!(self, Self::Framed)
    }
}

enum Segment {
    /// To be skipped, with its marker.
    Bytes(usize),
    /// The frame, with a width and a height.
    Frame,
    Other,
}

fn segment(header: &[u8; JPEG_HEADER_BYTES]) -> Segment {
    match *header {
        // Fill bytes before a marker.
        [0xff, 0xff, ..] => Segment::Bytes(1),
        [0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, _, _, _, high, low, wide, narrow]
            if (high, low) != (0, 0) && (wide, narrow) != (0, 0) =>
        {
            Segment::Frame
        }
        // Tables, restart intervals, application segments and comments.
        [0xff, 0xc4 | 0xcc | 0xdb | 0xdd | 0xe0..=0xef | 0xfe, high, low, ..] => {
            match usize::from(u16::from_be_bytes([high, low])) {
                0 | 1 => Segment::Other,
                length => Segment::Bytes(length.saturating_add(2)),
            }
        }
        _ => Segment::Other,
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

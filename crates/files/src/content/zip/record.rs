//! Records of a zip file: its end, the entries of its directory, the header of an entry.

use std::ops::Range;

const END: u32 = 0x0605_4b50;
const END_BYTES: u64 = 22;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_END: u32 = 0x0606_4b50;
/// Both records of Zip64.
const ZIP64_BYTES: u64 = 56 + 20;
const ENTRY: u32 = 0x0201_4b50;
const HEADER: u32 = 0x0403_4b50;
const HEADER_BYTES: u64 = 30;
const ZIP64_FIELD: u16 = 1;
/// Encrypted, patched, strongly encrypted, or with a masked header.
const FLAGS_REFUSED: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;

/// The records after the directory, the longest with those of Zip64.
pub(super) const END_BYTES_MAX: u64 = ZIP64_BYTES + END_BYTES;

/// The end of a zip file.
pub(super) struct End {
    pub(super) entries: usize,
    pub(super) directory: Range<u64>,
}

impl End {
    /// Reads the last [`END_BYTES_MAX`] bytes of a file of `size` bytes: the end record without a comment, and before it
    /// the directory, or the records of Zip64, which must say the same. (Some writers add those to small files.)
    pub(super) fn parse(tail: &[u8], size: u64) -> Option<Self> {
        let end_bytes = usize::try_from(END_BYTES).ok()?;
        let (zip64, end) = tail.split_at_checked(tail.len().checked_sub(end_bytes)?)?;
        let mut fields = Fields(end);
        fields.expect32(END)?;
        // No other disk.
        fields.expect16(0)?;
        fields.expect16(0)?;
        let entries = fields.u16()?;
        fields.expect16(entries)?;
        let bytes = u64::from(fields.u32()?);
        let start = u64::from(fields.u32()?);
        fields.expect16(0)?;
        let directory = start..start.checked_add(bytes)?;
        let between = size.checked_sub(END_BYTES)?.checked_sub(directory.end)?;
        if between != 0 {
            let is_same = zip64_says(zip64, u64::from(entries), &directory).is_some();
            (between == ZIP64_BYTES && is_same).then_some(())?;
        }
        Some(Self { entries: usize::from(entries), directory })
    }
}

fn zip64_says(records: &[u8], entries: u64, directory: &Range<u64>) -> Option<()> {
    let mut fields = Fields(records);
    fields.expect32(ZIP64_END)?;
    // The bytes after this field, so that there is no more.
    fields.expect64(44)?;
    // Versions.
    fields.u32()?;
    // No other disk.
    fields.expect64(0)?;
    fields.expect64(entries)?;
    fields.expect64(entries)?;
    fields.expect64(directory.end.checked_sub(directory.start)?)?;
    fields.expect64(directory.start)?;
    fields.expect32(ZIP64_LOCATOR)?;
    fields.expect32(0)?;
    fields.expect64(directory.end)?;
    fields.expect32(1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflated,
}

/// An entry, as the directory says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) method: Method,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
    /// Of its header.
    pub(super) offset: u64,
}

impl<'a> Entry<'a> {
    /// The first entry and what follows it; nothing if it is encrypted, on another disk, or packed in another way than
    /// spreadsheets are.
    pub(super) fn parse(directory: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut fields = Fields(directory);
        fields.expect32(ENTRY)?;
        fields.u32()?;
        let method = fields.method()?;
        // Time and checksum.
        fields.u64()?;
        let (packed, unpacked) = (fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let disk = fields.u16()?;
        // Attributes.
        fields.u16()?;
        fields.u32()?;
        let offset = fields.u32()?;
        let name = fields.bytes(name.into())?;
        let extra = fields.bytes(extra.into())?;
        fields.bytes(comment.into())?;
        let mut large = Fields(zip64_field(extra));
        let unpacked = large.or_large(unpacked)?;
        let packed = large.or_large(packed)?;
        let offset = large.or_large(offset)?;
        let disk = if disk == u16::MAX { large.u32()? } else { disk.into() };
        let is_sound = disk == 0 && (method == Method::Deflated || packed == unpacked);
        is_sound.then_some((Self { name, method, packed, unpacked, offset }, fields.0))
    }

    /// The end of its packed bytes, if its header has no extra fields.
    pub(super) fn least_end(&self) -> Option<u64> {
        let name = u64::try_from(self.name.len()).ok()?;
        self.offset.checked_add(HEADER_BYTES)?.checked_add(name)?.checked_add(self.packed)
    }

    /// Its packed bytes, in the bytes from its header on; nothing if the header says otherwise than the directory.
    pub(super) fn packed_in<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let mut fields = Fields(bytes);
        fields.expect32(HEADER)?;
        fields.u16()?;
        let is_same_method = fields.method()? == self.method;
        // Time and checksum, then sizes, which may follow the content instead.
        fields.u64()?;
        fields.u64()?;
        let (name, extra) = (fields.u16()?, fields.u16()?);
        let is_same = is_same_method && fields.bytes(name.into())? == self.name;
        fields.bytes(extra.into())?;
        is_same.then_some(())?;
        fields.bytes(usize::try_from(self.packed).ok()?)
    }
}

/// The extra field with the numbers that need 64 bits, or nothing.
fn zip64_field(extra: &[u8]) -> &[u8] {
    let mut fields = Fields(extra);
    loop {
        let field =
            fields.u16().zip(fields.u16()).and_then(|(id, bytes)| Some((id, fields.bytes(bytes.into())?)));
        match field {
            Some((ZIP64_FIELD, content)) => return content,
            Some(_) => {}
            None => return &[],
        }
    }
}

/// Little-endian fields, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.first_chunk().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    fn expect16(&mut self, expected: u16) -> Option<()> {
        (self.u16()? == expected).then_some(())
    }

    fn expect32(&mut self, expected: u32) -> Option<()> {
        (self.u32()? == expected).then_some(())
    }

    fn expect64(&mut self, expected: u64) -> Option<()> {
        (self.u64()? == expected).then_some(())
    }

    /// Flags and method.
    fn method(&mut self) -> Option<Method> {
        (self.u16()? & FLAGS_REFUSED == 0).then_some(())?;
        match self.u16()? {
            0 => Some(Method::Stored),
            8 => Some(Method::Deflated),
            _ => None,
        }
    }

    /// A number, which is here if it does not fit into its own field.
    fn or_large(&mut self, number: u32) -> Option<u64> {
        if number == u32::MAX { self.u64() } else { Some(number.into()) }
    }
}

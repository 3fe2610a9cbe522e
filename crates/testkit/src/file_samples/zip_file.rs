//! Zip files, right and wrong ones.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};

/// An entry. What a directory says of it can be changed.
#[derive(Clone)]
pub(super) struct ZipEntry {
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) packed: Vec<u8>,
    pub(super) sum: u32,
    pub(super) packed_bytes: u32,
    pub(super) unpacked_bytes: u32,
    /// Sizes follow the content.
    pub(super) has_descriptor: bool,
    /// Sizes of 64 bits, although they are small.
    pub(super) is_zip64: bool,
    /// Where the directory says it is.
    pub(super) offset: Option<u32>,
    /// What its own header calls it.
    pub(super) header_name: Option<Vec<u8>>,
}

/// What is around the entries.
#[derive(Clone, Default)]
pub(super) struct ZipLayout {
    pub(super) before: Vec<u8>,
    /// The offsets count from the start of the file, not from that of the first entry.
    pub(super) counts_before: bool,
    pub(super) after_entries: Vec<u8>,
    pub(super) after_directory: Vec<u8>,
    pub(super) comment: Vec<u8>,
    pub(super) has_zip64_end: bool,
    /// What the records of Zip64 say instead.
    pub(super) zip64_entries: Option<u64>,
    /// What the end says instead.
    pub(super) entries: Option<u16>,
    pub(super) start: Option<u32>,
}

impl ZipEntry {
    pub(super) fn deflated(name: &str, content: &[u8]) -> Self {
        Self::packed(name, &mut |encoder| encoder.write_all(content).unwrap())
    }

    /// Zeros, never held all at once.
    pub(super) fn zeros(name: &str, kibibytes: usize) -> Self {
        Self::packed(name, &mut |encoder| (0..kibibytes).for_each(|_| encoder.write_all(&[0; 1024]).unwrap()))
    }

    pub(super) fn stored(name: &str, content: &[u8]) -> Self {
        let mut sum = Crc::new();
        sum.update(content);
        Self::new(name, 0, content.to_vec(), &sum)
    }

    pub(super) fn with_descriptor(self) -> Self {
        Self { has_descriptor: true, flags: self.flags | 1 << 3, ..self }
    }

    fn packed(name: &str, write: &mut dyn FnMut(&mut Summed)) -> Self {
        let encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        let mut summed = Summed { encoder, sum: Crc::new() };
        write(&mut summed);
        Self::new(name, 8, summed.encoder.finish().unwrap(), &summed.sum)
    }

    fn new(name: &str, method: u16, packed: Vec<u8>, sum: &Crc) -> Self {
        Self {
            name: name.into(),
            flags: 0,
            method,
            packed_bytes: u32::try_from(packed.len()).unwrap(),
            packed,
            sum: sum.sum(),
            unpacked_bytes: sum.amount(),
            has_descriptor: false,
            is_zip64: false,
            offset: None,
            header_name: None,
        }
    }

    fn common(&self) -> Vec<u8> {
        let fields = [20, self.flags, self.method, 0, 0x21];
        fields.iter().flat_map(|field| field.to_le_bytes()).collect()
    }

    fn sizes(&self, packed: u32, unpacked: u32) -> Vec<u8> {
        [self.sum, packed, unpacked].iter().flat_map(|field| field.to_le_bytes()).collect()
    }

    fn write(&self, file: &mut Vec<u8>) {
        let name = self.header_name.as_ref().unwrap_or(&self.name);
        file.extend(b"PK\x03\x04");
        file.extend(self.common());
        if self.has_descriptor {
            file.extend([0; 12]);
        } else {
            file.extend(self.sizes(self.packed_bytes, self.unpacked_bytes));
        }
        file.extend([short(name), 0].iter().flat_map(|length| length.to_le_bytes()));
        file.extend(name);
        file.extend(&self.packed);
        if self.has_descriptor {
            file.extend(b"PK\x07\x08");
            file.extend(self.sizes(self.packed_bytes, self.unpacked_bytes));
        }
    }

    fn list(&self, directory: &mut Vec<u8>, offset: u32) {
        let mut extra = Vec::new();
        if self.is_zip64 {
            extra.extend([1_u16, 16].iter().flat_map(|field| field.to_le_bytes()));
            for size in [self.unpacked_bytes, self.packed_bytes] {
                extra.extend(u64::from(size).to_le_bytes());
            }
        }
        let size = |size| if self.is_zip64 { u32::MAX } else { size };
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(self.common());
        directory.extend(self.sizes(size(self.packed_bytes), size(self.unpacked_bytes)));
        let fields = [short(&self.name), short(&extra), 0, 0, 0, 0, 0];
        directory.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        directory.extend(self.offset.unwrap_or(offset).to_le_bytes());
        directory.extend(&self.name);
        directory.extend(extra);
    }
}

/// A file of these entries.
pub(super) fn zip(entries: &[ZipEntry], layout: &ZipLayout) -> Vec<u8> {
    let mut file = layout.before.clone();
    let base = if layout.counts_before { 0 } else { file.len() };
    let (mut directory, count) = (Vec::new(), u64::try_from(entries.len()).unwrap());
    for entry in entries {
        entry.list(&mut directory, word(file.len() - base));
        entry.write(&mut file);
    }
    file.extend(&layout.after_entries);
    let start = layout.start.unwrap_or_else(|| word(file.len() - base));
    let bytes = word(directory.len());
    file.extend(directory);
    if layout.has_zip64_end {
        let end = u64::from(start) + u64::from(bytes);
        let count = layout.zip64_entries.unwrap_or(count);
        file.extend(b"PK\x06\x06");
        file.extend(44_u64.to_le_bytes());
        file.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([count, count, bytes.into(), start.into()].iter().flat_map(|field| field.to_le_bytes()));
        file.extend(b"PK\x06\x07\0\0\0\0");
        file.extend(end.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
    }
    file.extend(&layout.after_directory);
    let count = layout.entries.unwrap_or_else(|| u16::try_from(count).unwrap());
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].iter().flat_map(|field| field.to_le_bytes()));
    file.extend([bytes, start].iter().flat_map(|field| field.to_le_bytes()));
    file.extend(short(&layout.comment).to_le_bytes());
    file.extend(&layout.comment);
    file
}

struct Summed {
    encoder: DeflateEncoder<Vec<u8>>,
    sum: Crc,
}

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.encoder.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.encoder.flush()
    }
}

fn short(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap()
}

fn word(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap()
}

//! Pieces of any size become parts of one size, in bounded memory.

use std::mem;

use bytes::Bytes;

/// A part that is being filled.
#[derive(Debug)]
pub(super) struct Buffer {
    part: Vec<u8>,
    /// Bytes of every part except the last.
    limit: usize,
}

impl Buffer {
    pub(super) fn new(limit: usize) -> Self {
        Self { part: Vec::new(), limit }
    }

    /// Takes bytes from the beginning of `piece`, and returns the part if it is full.
    pub(super) fn fill(&mut self, piece: &mut Bytes) -> Option<Bytes> {
        let room = self.limit.saturating_sub(self.part.len());
        let taken = piece.split_to(room.min(piece.len()));
        let wanted = self.part.len().saturating_add(taken.len());
        if wanted > self.part.capacity() {
            // Doubled as vectors do, but never above the limit.
            let capacity = self.part.capacity().saturating_mul(2).max(wanted).min(self.limit);
            self.part.reserve_exact(capacity.saturating_sub(self.part.len()));
        }
        self.part.extend_from_slice(&taken);
        (self.part.len() >= self.limit).then(|| self.rest())
    }

    /// The bytes of the last part, which may be none.
    pub(super) fn rest(&mut self) -> Bytes {
        mem::take(&mut self.part).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_one_size_and_never_more_memory() {
        let whole: Vec<u8> = (0..1000_u16).map(|number| number.to_le_bytes()[0]).collect();
        for size in [1, 7, 64, 65, 1000] {
            let (mut buffer, mut parts) = (Buffer::new(64), Vec::new());
            for piece in whole.chunks(size) {
                let mut piece = Bytes::copy_from_slice(piece);
                while !piece.is_empty() {
                    parts.extend(buffer.fill(&mut piece));
                    assert!(buffer.part.capacity() <= 64);
                }
            }
            assert!(parts.iter().all(|part| part.len() == 64));
            parts.push(buffer.rest());
            assert_eq!(parts.concat(), whole);
        }
    }
}

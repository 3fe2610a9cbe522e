//! Ascending numbers as bits, after Golomb and Rice: of each difference the low bits as they are, the rest as so many ones and a
//! zero. So a list of many numbers is a map of bits, and one of few has two bits more for each than the differences need.

/// A stored value that this program did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a segment of the message index is damaged")]
pub(crate) struct Damaged;

/// Appends numbers that are ascending and different.
pub(super) fn write(bytes: &mut Vec<u8>, low_bits: u32, numbers: &[u64]) {
    let (mut sink, mut next) = (Sink { bytes, buffer: 0, filled: 0 }, 0_u64);
    for number in numbers {
        let difference = number.saturating_sub(next);
        next = number.saturating_add(1);
        for _ in 0..difference.checked_shr(low_bits).unwrap_or(0) {
            sink.push(true);
        }
        sink.push(false);
        for place in 0..low_bits {
            sink.push(difference.checked_shr(place).is_some_and(|rest| rest & 1 == 1));
        }
    }
    // Ones that no zero follows are no number.
    while sink.filled > 0 {
        sink.push(true);
    }
}

/// Bits on their way into bytes, the lowest of a byte first.
struct Sink<'a> {
    bytes: &'a mut Vec<u8>,
    buffer: u8,
    filled: u32,
}

impl Sink<'_> {
    fn push(&mut self, bit: bool) {
        self.buffer |= u8::from(bit) << self.filled;
        self.filled = self.filled.wrapping_add(1) & 7;
        if self.filled == 0 {
            self.bytes.push(self.buffer);
            self.buffer = 0;
        }
    }
}

/// The numbers of a stored form.
pub(super) fn read(bytes: &[u8], low_bits: u32) -> Result<Vec<u64>, Damaged> {
    let step = 1_u64.checked_shl(low_bits).ok_or(Damaged)?;
    let (mut bits, mut numbers, mut next) = (Bits { bytes, buffer: 0, filled: 0 }, Vec::new(), 0_u64);
    while let Some(ones) = bits.ones() {
        let difference = ones.checked_mul(step).ok_or(Damaged)? | bits.take(low_bits)?;
        let number = next.checked_add(difference).ok_or(Damaged)?;
        numbers.push(number);
        next = number.saturating_add(1);
    }
    Ok(numbers)
}

/// Bits of bytes, the lowest of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    buffer: u64,
    filled: u32,
}

impl Bits<'_> {
    /// Takes the ones up to a zero, and the zero; `None` if there is no zero.
    fn ones(&mut self) -> Option<u64> {
        let mut all = 0_u64;
        loop {
            let ones = self.buffer.trailing_ones().min(self.filled);
            all = all.saturating_add(u64::from(ones));
            if ones < self.filled {
                self.skip(ones.saturating_add(1));
                return Some(all);
            }
            self.skip(ones);
            if !self.refill() {
                return None;
            }
        }
    }

    /// Takes so many bits, fewer than 64.
    fn take(&mut self, count: u32) -> Result<u64, Damaged> {
        let (mut number, mut taken) = (0_u64, 0);
        while taken < count {
            if self.filled == 0 && !self.refill() {
                return Err(Damaged);
            }
            let some = self.filled.min(count.saturating_sub(taken));
            let part = self.buffer & !u64::MAX.checked_shl(some).unwrap_or(0);
            number |= part.checked_shl(taken).unwrap_or(0);
            self.skip(some);
            taken = taken.saturating_add(some);
        }
        Ok(number)
    }

    fn skip(&mut self, count: u32) {
        self.buffer = self.buffer.checked_shr(count).unwrap_or(0);
        self.filled = self.filled.saturating_sub(count);
    }

    /// Fills the empty buffer; false if there is nothing left.
    fn refill(&mut self) -> bool {
        let (some, rest) = self.bytes.split_at(self.bytes.len().min(8));
        let mut eight = [0; 8];
        for (byte, stored) in eight.iter_mut().zip(some) {
            *byte = *stored;
        }
        self.buffer = u64::from_le_bytes(eight);
        self.filled = u32::try_from(some.len()).unwrap_or(0).saturating_mul(8);
        self.bytes = rest;
        self.filled > 0
    }
}

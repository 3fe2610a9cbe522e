//! The stored forms of lists of numbers and of postings.

use super::{
    bits::{self, Damaged},
    grams::Gram,
};

/// Number of buckets of a segment: one for each value of the first bits of a hash.
const BUCKET_BITS: u32 = 11;
const REST_MASK: u32 = u32::MAX >> BUCKET_BITS;
/// Most low bits of the numbers of a list in a bucket: the length of the list shares a byte with them.
const LOW_BITS_MAX: u32 = 15;

/// A feature and the number of a message that has it.
pub(crate) type Posting = (Gram, u32);

/// The bucket of a feature.
pub(crate) fn bucket(gram: Gram) -> i16 {
    i16::try_from(gram >> (32 - BUCKET_BITS)).unwrap_or_default()
}

/// The stored form of ascending numbers.
pub(crate) fn ascending(numbers: &[u64]) -> Vec<u8> {
    let Some(low_bits) = low_bits(numbers) else {
        return Vec::new();
    };
    let mut bytes = vec![u8::try_from(low_bits).unwrap_or_default()];
    bits::write(&mut bytes, low_bits, numbers);
    bytes
}

/// The numbers of a stored form.
pub(crate) fn numbers(bytes: &[u8]) -> Result<Vec<u64>, Damaged> {
    match bytes.split_first() {
        None => Ok(Vec::new()),
        Some((low_bits, bytes)) => bits::read(bytes, u32::from(*low_bits)),
    }
}

/// The low bits that make a list short: about the logarithm of 0.69 times the mean difference. `None` if there are no numbers.
fn low_bits(numbers: &[u64]) -> Option<u32> {
    let count = u64::try_from(numbers.len()).ok()?;
    let mean = numbers.last()?.checked_div(count)?;
    let part = mean.saturating_sub(mean >> 2).saturating_sub(mean >> 4);
    Some(part.checked_ilog2().unwrap_or(0))
}

/// The stored form of postings that are sorted and different, by bucket.
pub(crate) fn buckets(postings: &[Posting]) -> Vec<(i16, Vec<u8>)> {
    let by_bucket = postings.chunk_by(|(one, _), (other, _)| bucket(*one) == bucket(*other));
    let (mut list, mut written) = (Vec::new(), Vec::new());
    by_bucket
        .filter_map(|postings| {
            let (mut bytes, mut last) = (Vec::new(), 0);
            for entry in postings.chunk_by(|(one, _), (other, _)| one == other) {
                let rest = entry.first()?.0 & REST_MASK;
                put(&mut bytes, u64::from(rest.saturating_sub(last)));
                last = rest;
                list.clear();
                list.extend(entry.iter().map(|(_, number)| u64::from(*number)));
                let low_bits = low_bits(&list)?.min(LOW_BITS_MAX);
                written.clear();
                bits::write(&mut written, low_bits, &list);
                put(&mut bytes, (u64::try_from(written.len()).ok()? << 4) | u64::from(low_bits));
                bytes.extend_from_slice(&written);
            }
            Some((bucket(postings.first()?.0), bytes))
        })
        .collect()
}

/// The stored numbers of the messages that have a feature.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct List<'a> {
    bytes: &'a [u8],
    low_bits: u32,
}

impl List<'_> {
    /// Bytes: the more, the more messages.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The numbers, ascending.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>, Damaged> {
        bits::read(self.bytes, self.low_bits)
    }
}

/// The list of a feature in the stored form of its bucket; empty if no message has it.
pub(crate) fn find(mut bytes: &[u8], gram: Gram) -> Result<List<'_>, Damaged> {
    let (wanted, mut rest) = (u64::from(gram & REST_MASK), 0_u64);
    while !bytes.is_empty() {
        rest = rest.checked_add(take(&mut bytes)?).ok_or(Damaged)?;
        let head = take(&mut bytes)?;
        let length = usize::try_from(head >> 4).map_err(|_| Damaged)?;
        let (list, after) = bytes.split_at_checked(length).ok_or(Damaged)?;
        if rest >= wanted {
            let low_bits = u32::try_from(head & 0xf).map_err(|_| Damaged)?;
            let found = List { bytes: list, low_bits };
            return Ok(if rest == wanted { found } else { List::default() });
        }
        bytes = after;
    }
    Ok(List::default())
}

/// Appends a number: seven bits a byte, the lowest first, all but the last byte with the highest bit.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

/// Takes a number from the beginning.
fn take(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0_u64;
    for place in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Damaged)?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        let shifted = part.checked_shl(place).filter(|shifted| shifted.checked_shr(place) == Some(part));
        number |= shifted.ok_or(Damaged)?;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(set: BTreeSet<u64>) {
            let list: Vec<u64> = set.into_iter().collect();
            prop_assert_eq!(numbers(&ascending(&list)), Ok(list));
        }

        #[test]
        fn postings_are_found_as_they_were_written(
            grams in vec(prop_oneof![any::<u32>(), 0..40_u32, (u32::MAX - 40)..=u32::MAX], 0..60),
            postings in vec((0..60_usize, 0..5_000_u32), 0..400),
            absent: u32,
        ) {
            let mut postings: Vec<Posting> =
                postings.into_iter().filter_map(|(gram, number)| Some((*grams.get(gram)?, number))).collect();
            postings.sort_unstable();
            postings.dedup();
            let buckets = buckets(&postings);
            prop_assert!(buckets.is_sorted_by(|(one, _), (other, _)| one < other));
            for gram in grams.into_iter().chain([absent]) {
                let expected: Vec<u64> = postings
                    .iter()
                    .filter(|(other, _)| *other == gram)
                    .map(|(_, number)| u64::from(*number))
                    .collect();
                let stored = buckets.iter().find(|(place, _)| *place == bucket(gram));
                let found = stored.map_or(Ok(Vec::new()), |(_, bytes)| find(bytes, gram)?.numbers());
                prop_assert_eq!(found, Ok(expected));
            }
        }

        #[test]
        fn damage_is_an_error_or_another_list_and_never_a_panic(bytes: Vec<u8>, gram: u32) {
            let _any = (numbers(&bytes), find(&bytes, gram).and_then(|list| list.numbers()));
        }
    }

    #[test]
    fn cut_and_endless_numbers_are_damage() {
        for bytes in [&[0x80][..], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(take(&mut &*bytes), Err(Damaged), "{bytes:?}");
        }
        for bytes in [&[0x80][..], &[0x00, 0x80], &[0x00, 0x50, 0x01]] {
            assert_eq!(find(bytes, 0).unwrap_err(), Damaged, "{bytes:?}");
        }
    }

    #[test]
    fn buckets_are_the_first_bits() {
        assert_eq!([0, u32::MAX, 1 << 21, (1 << 21) - 1].map(bucket), [0, 2_047, 1, 0]);
    }
}

//! The stored forms of lists of numbers and of postings.

use super::grams::Gram;

/// Number of buckets of a segment: one for each value of the first ten bits of a hash.
const BUCKET_BITS: u32 = 10;
const REST_MASK: u32 = u32::MAX >> BUCKET_BITS;

/// A stored value that this program did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a segment of the message index is damaged")]
pub(crate) struct Damaged;

/// A feature and the number of a message that has it.
pub(crate) type Posting = (Gram, u32);

/// The bucket of a feature.
pub(crate) fn bucket(gram: Gram) -> i16 {
    i16::try_from(gram >> (32 - BUCKET_BITS)).unwrap_or_default()
}

/// The stored form of ascending numbers.
pub(crate) fn ascending(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let (mut bytes, mut last) = (Vec::new(), 0);
    for number in numbers {
        put(&mut bytes, number.saturating_sub(last));
        last = number;
    }
    bytes
}

/// The numbers of a stored form.
pub(crate) fn numbers(mut bytes: &[u8]) -> Result<Vec<u64>, Damaged> {
    let (mut numbers, mut last) = (Vec::new(), 0_u64);
    while !bytes.is_empty() {
        last = last.checked_add(take(&mut bytes)?).ok_or(Damaged)?;
        numbers.push(last);
    }
    Ok(numbers)
}

/// The stored form of postings that are sorted and different, by bucket.
pub(crate) fn buckets(postings: &[Posting]) -> Vec<(i16, Vec<u8>)> {
    let by_bucket = postings.chunk_by(|(one, _), (other, _)| bucket(*one) == bucket(*other));
    by_bucket
        .filter_map(|postings| {
            let (mut bytes, mut last) = (Vec::new(), 0);
            for entry in postings.chunk_by(|(one, _), (other, _)| one == other) {
                let rest = entry.first()?.0 & REST_MASK;
                put(&mut bytes, u64::from(rest.saturating_sub(last)));
                last = rest;
                let list = ascending(entry.iter().map(|(_, number)| u64::from(*number)));
                put(&mut bytes, u64::try_from(list.len()).ok()?);
                bytes.extend_from_slice(&list);
            }
            Some((bucket(postings.first()?.0), bytes))
        })
        .collect()
}

/// The numbers of the messages that have a feature, from the stored form of its bucket.
pub(crate) fn find(mut bytes: &[u8], gram: Gram) -> Result<Vec<u64>, Damaged> {
    let (wanted, mut rest) = (u64::from(gram & REST_MASK), 0_u64);
    while !bytes.is_empty() {
        rest = rest.checked_add(take(&mut bytes)?).ok_or(Damaged)?;
        let length = usize::try_from(take(&mut bytes)?).map_err(|_| Damaged)?;
        let (list, after) = bytes.split_at_checked(length).ok_or(Damaged)?;
        if rest >= wanted {
            return if rest == wanted { numbers(list) } else { Ok(Vec::new()) };
        }
        bytes = after;
    }
    Ok(Vec::new())
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
            // A zero could only be the first one.
            prop_assert_eq!(numbers(&ascending(list.iter().copied())), Ok(list));
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
                let found = stored.map_or(Ok(Vec::new()), |(_, bytes)| find(bytes, gram));
                prop_assert_eq!(found, Ok(expected));
            }
        }

        #[test]
        fn damage_is_an_error_or_another_list_and_never_a_panic(bytes: Vec<u8>, gram: u32) {
            let _any = (numbers(&bytes), find(&bytes, gram));
        }
    }

    #[test]
    fn cut_and_endless_numbers_are_damage() {
        for bytes in [&[0x80][..], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(numbers(bytes), Err(Damaged), "{bytes:?}");
        }
        assert_eq!(find(&[0x00, 0x05, 0x01], 0), Err(Damaged));
    }

    #[test]
    fn buckets_are_the_first_ten_bits() {
        assert_eq!([0, u32::MAX, 1 << 22, (1 << 22) - 1].map(bucket), [0, 1_023, 1, 0]);
    }
}

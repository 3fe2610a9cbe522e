//! Segments: stretches of the messages of a user, and their postings.

use uuid::Uuid;

use super::{
    bits::Damaged,
    codec::{self, List, Posting},
    fold::fold,
    grams::{self, Gram},
};
use crate::Role;

/// A message that is indexed.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) id: i64,
    /// The text; `None` if it may still change, or is left out: such a message is always read.
    pub(crate) content: Option<String>,
    pub(crate) role: Role,
    pub(crate) session_id: Uuid,
}

/// The stored form of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) message_ids: Vec<u8>,
    pub(crate) unsettled: Vec<u8>,
    pub(crate) buckets: Vec<(i16, Vec<u8>)>,
}

/// The postings are sorted in parts by the first bits of their hashes, one after the other, so that not all of them are in memory
/// at a time.
const PART_BITS: u32 = 2;

/// The segment of these messages, which are ascending by id.
pub(crate) fn build(messages: Vec<Source>) -> Segment {
    let ids: Vec<u64> = messages.iter().filter_map(|message| u64::try_from(message.id).ok()).collect();
    let (mut texts, mut unsettled) = (Vec::new(), Vec::new());
    for (number, Source { content, role, session_id, .. }) in (0_u32..).zip(messages) {
        match content {
            Some(content) => {
                texts.push((number, fold(&content), [grams::of_role(role), grams::of_session(session_id)]))
            }
            None => unsettled.push(u64::from(number)),
        }
    }
    let (mut buckets, mut postings) = (Vec::new(), Vec::<Posting>::new());
    for part in 0..1 << PART_BITS {
        let is_wanted = |gram: Gram| gram >> (32 - PART_BITS) == part;
        postings.clear();
        for (number, text, more) in &texts {
            let more = more.iter().copied().filter(|gram| is_wanted(*gram));
            let features = grams::of_text(text, is_wanted).into_iter().chain(more);
            postings.extend(features.map(|gram| (gram, *number)));
        }
        postings.sort_unstable();
        postings.dedup();
        buckets.extend(codec::buckets(&postings));
    }
    Segment { message_ids: codec::ascending(&ids), unsettled: codec::ascending(&unsettled), buckets }
}

/// The lists of features, in their order. `bucket` finds the stored form of a bucket.
pub(crate) fn lists<'a>(
    wanted: &[Gram],
    bucket: impl Fn(i16) -> Option<&'a [u8]>,
) -> Result<Vec<List<'a>>, Damaged> {
    let list = |gram: &Gram| match bucket(codec::bucket(*gram)) {
        Some(bytes) => codec::find(bytes, *gram),
        None => Ok(List::default()),
    };
    wanted.iter().map(list).collect()
}

/// Numbers of the messages that may be looked for, ascending: those that are in all lists, and those that are unsettled.
pub(crate) fn candidates(mut lists: Vec<List<'_>>, unsettled: &[u8]) -> Result<Vec<u64>, Damaged> {
    lists.sort_by_key(List::size);
    let mut lists = lists.into_iter();
    let mut found = lists.next().unwrap_or_default().numbers()?;
    for list in lists {
        if found.is_empty() {
            break;
        }
        let mut numbers = list.numbers()?.into_iter().peekable();
        found.retain(|number| {
            while numbers.next_if(|other| other < number).is_some() {}
            numbers.peek() == Some(number)
        });
    }
    found.extend(codec::numbers(unsettled)?);
    found.sort_unstable();
    Ok(found)
}

/// The ids of messages by their numbers.
pub(crate) fn ids(message_ids: &[u8], numbers: &[u64]) -> Result<Vec<i64>, Damaged> {
    let ids = codec::numbers(message_ids)?;
    let id = |number: &u64| ids.get(usize::try_from(*number).ok()?).and_then(|id| i64::try_from(*id).ok());
    numbers.iter().map(|number| id(number).ok_or(Damaged)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(segment: &Segment, wanted: &[Gram]) -> Vec<i64> {
        let bucket = |wanted| {
            let found = segment.buckets.iter().find(|(bucket, _)| *bucket == wanted);
            found.map(|(_, bytes)| bytes.as_slice())
        };
        let numbers = candidates(lists(wanted, bucket).unwrap(), &segment.unsettled).unwrap();
        ids(&segment.message_ids, &numbers).unwrap()
    }

    #[test]
    fn messages_are_found_by_text_role_and_session_and_unsettled_ones_always() {
        let message = |id, content: Option<&str>, role, session| Source {
            id,
            content: content.map(str::to_owned),
            role,
            session_id: Uuid::from_u128(session),
        };
        let segment = build(vec![
            message(3, Some("The QUICK brown fox"), Role::User, 1),
            message(5, None, Role::Assistant, 1),
            message(900, Some("quick and dirty"), Role::Assistant, 2),
            message(901, Some(""), Role::Assistant, 2),
            message(i64::MAX, Some("敏捷的棕色狐狸"), Role::User, 2),
        ]);
        let text = |text| grams::of_query(&fold(text));
        assert_eq!(found(&segment, &text("Quick")), [3, 5, 900]);
        assert_eq!(found(&segment, &text("quick brown")), [3, 5]);
        assert_eq!(found(&segment, &text("狐")), [5, i64::MAX]);
        assert_eq!(found(&segment, &text("棕色狐")), [5, i64::MAX]);
        assert_eq!(found(&segment, &text("nothing")), [5]);
        let and = |mut grams: Vec<Gram>, more| {
            grams.push(more);
            grams
        };
        assert_eq!(found(&segment, &and(text("quick"), grams::of_role(Role::Assistant))), [5, 900]);
        assert_eq!(found(&segment, &and(text("quick"), grams::of_session(Uuid::from_u128(1)))), [3, 5]);
        assert_eq!(found(&segment, &[grams::of_role(Role::Assistant)]), [5, 900, 901]);
        assert_eq!(found(&build(Vec::new()), &text("quick")), [0; 0]);
        assert_eq!(ids(&segment.message_ids, &[5]), Err(Damaged));
    }
}

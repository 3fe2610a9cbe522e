//! Segments: stretches of the messages of a user, and their postings.

use uuid::Uuid;

use super::{
    codec::{self, Damaged, Posting},
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

/// The segment of these messages, which are ascending by id.
pub(crate) fn build(messages: &[Source]) -> Segment {
    let (mut postings, mut unsettled) = (Vec::<Posting>::new(), Vec::new());
    for (number, message) in (0_u32..).zip(messages) {
        let Some(content) = &message.content else {
            unsettled.push(u64::from(number));
            continue;
        };
        let mut features = grams::of_text(&fold(content));
        features.extend([grams::of_role(message.role), grams::of_session(message.session_id)]);
        postings.extend(features.into_iter().map(|gram| (gram, number)));
    }
    postings.sort_unstable();
    postings.dedup();
    let ids = messages.iter().filter_map(|message| u64::try_from(message.id).ok());
    Segment {
        message_ids: codec::ascending(ids),
        unsettled: codec::ascending(unsettled),
        buckets: codec::buckets(&postings),
    }
}

/// Numbers of the messages that may be looked for, ascending: those that have all features, and those that are unsettled.
/// `bucket` finds the stored form of a bucket.
pub(crate) fn candidates<'a>(
    wanted: &[Gram],
    unsettled: &[u8],
    bucket: impl Fn(i16) -> Option<&'a [u8]>,
) -> Result<Vec<u64>, Damaged> {
    let mut lists = Vec::new();
    for gram in wanted {
        let list = bucket(codec::bucket(*gram)).map_or(Ok(Vec::new()), |bytes| codec::find(bytes, *gram))?;
        let is_empty = list.is_empty();
        lists.push(list);
        if is_empty {
            break;
        }
    }
    lists.sort_by_key(Vec::len);
    let mut lists = lists.into_iter();
    let mut found = lists.next().unwrap_or_default();
    for list in lists {
        found.retain(|number| list.binary_search(number).is_ok());
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
        let numbers = candidates(wanted, &segment.unsettled, bucket).unwrap();
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
        let segment = build(&[
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
        assert_eq!(found(&build(&[]), &text("quick")), [0; 0]);
        assert_eq!(ids(&segment.message_ids, &[5]), Err(Damaged));
    }
}

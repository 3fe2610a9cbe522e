//! What becomes of the items of a batch, as far as that needs no database: their times, and repeats among themselves.

use std::collections::{BTreeMap, btree_map::Entry};

use time::{Duration, OffsetDateTime, UtcOffset};

use super::quarter::whole_microseconds;
use crate::{CORRECTION, NewRecord, UsageRefusal};

/// How far back an event may lie.
const PAST_MAX: Duration = Duration::days(35);
/// How far ahead an event may lie: clocks differ.
const AHEAD_MAX: Duration = Duration::minutes(5);

/// What is to be done with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is recorded, unless its event id was recorded before.
    Record {
        /// When it happened, in whole microseconds.
        occurred_at: OffsetDateTime,
    },
    /// An earlier item of the batch, at this place, has the same event id.
    After(usize),
    /// It is refused.
    Refuse(UsageRefusal),
}

/// One step an item, in their order.
pub(crate) fn steps(now: OffsetDateTime, new: &[NewRecord]) -> Vec<Step> {
    let mut first = BTreeMap::new();
    let step = |(place, one): (usize, &NewRecord)| {
        let occurred_at = match time_of(now, one) {
            Ok(occurred_at) => occurred_at,
            Err(refusal) => return Step::Refuse(refusal),
        };
        if let Some(event) = &one.event {
            if event.id.starts_with(CORRECTION) {
                return Step::Refuse(UsageRefusal::ReservedEventId {
                    event_id: event.id.clone(),
                });
            }
            match first.entry((one.user_id.clone(), event.id.clone())) {
                Entry::Occupied(entry) => return Step::After(*entry.get()),
                Entry::Vacant(entry) => drop(entry.insert(place)),
            }
        }
        Step::Record { occurred_at }
    };
    new.iter().enumerate().map(step).collect()
}

/// When an event happened, if that can be accepted.
pub(crate) fn time_of(now: OffsetDateTime, one: &NewRecord) -> Result<OffsetDateTime, UsageRefusal> {
    let Some(stated) = one.occurred_at else {
        return Ok(now);
    };
    let earliest = now.checked_sub(PAST_MAX).unwrap_or(now);
    let latest = now.checked_add(AHEAD_MAX).unwrap_or(now);
    if stated < earliest || stated > latest {
        return Err(UsageRefusal::TimestampOutOfRange { earliest, latest });
    }
    Ok(whole_microseconds(stated.to_offset(UtcOffset::UTC)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UsageInput;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-15 12:00 UTC);

    fn at(occurred_at: Option<OffsetDateTime>) -> NewRecord {
        UsageInput {
            occurred_at,
            ..UsageInput::new("a".parse().unwrap(), "ai_chat")
        }
        .complete()
    }

    #[test]
    fn times_are_accepted_from_35_days_back_to_5_minutes_ahead() {
        let ends = [NOW - Duration::days(35), NOW + Duration::minutes(5)];
        for end in ends {
            assert_eq!(time_of(NOW, &at(Some(end))), Ok(end));
        }
        for beyond in [ends[0] - Duration::NANOSECOND, ends[1] + Duration::NANOSECOND] {
            let refusal = UsageRefusal::TimestampOutOfRange {
                earliest: ends[0],
                latest: ends[1],
            };
            assert_eq!(time_of(NOW, &at(Some(beyond))), Err(refusal));
        }
        assert_eq!(time_of(NOW, &at(None)), Ok(NOW));
        let fine = NOW + Duration::nanoseconds(1_999);
        assert_eq!(time_of(NOW, &at(Some(fine))), Ok(NOW + Duration::MICROSECOND));
    }

    #[test]
    fn a_repeat_within_a_batch_comes_after_the_first_of_the_same_user() {
        let event = |user: &str, id: &str| {
            UsageInput {
                event_id: Some(id.to_owned()),
                ..UsageInput::new(user.parse().unwrap(), "ai_chat")
            }
            .complete()
        };
        let record = || Step::Record { occurred_at: NOW };
        let new = [
            event("a", "e"),
            at(None),
            event("b", "e"),
            event("a", "e"),
            at(None),
            event("a", "correction:1"),
        ];
        let reserved = Step::Refuse(UsageRefusal::ReservedEventId {
            event_id: "correction:1".to_owned(),
        });
        assert_eq!(
            steps(NOW, &new),
            [record(), record(), record(), Step::After(0), record(), reserved]
        );
    }
}

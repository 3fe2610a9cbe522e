//! When an event may have happened.

use kernel::clock::whole_microseconds;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::{NewRecord, UsageRefusal};

/// Greatest age of an event.
const PAST_MAX: Duration = Duration::days(35);
/// Longest time that an event may be ahead: clocks differ.
const AHEAD_MAX: Duration = Duration::minutes(5);

/// When an event happened, if that can be accepted.
pub(crate) fn time_of(now: OffsetDateTime, one: &NewRecord) -> Result<OffsetDateTime, UsageRefusal> {
    let Some(stated) = one.occurred_at else {
        return Ok(now);
    };
    let earliest = now.checked_sub(PAST_MAX).unwrap_or(now);
    let latest = now.checked_add(AHEAD_MAX).unwrap_or(now);
    let within = (earliest..=latest).contains(&stated);
    stated
        .checked_to_offset(UtcOffset::UTC)
        .filter(|_| within)
        .map(whole_microseconds)
        .ok_or(UsageRefusal::TimestampOutOfRange { earliest, latest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UsageInput;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-15 12:00 UTC);

    fn at(occurred_at: Option<OffsetDateTime>) -> NewRecord {
        UsageInput { occurred_at, ..UsageInput::new("a".parse().unwrap(), "ai_chat") }.complete()
    }

    #[test]
    fn times_are_accepted_from_35_days_back_to_5_minutes_ahead() {
        let ends = [NOW - Duration::days(35), NOW + Duration::minutes(5)];
        for end in ends {
            assert_eq!(time_of(NOW, &at(Some(end))), Ok(end));
        }
        let last = datetime!(9999-12-31 23:59:59 -23:59);
        for beyond in [ends[0] - Duration::NANOSECOND, ends[1] + Duration::NANOSECOND, last] {
            let refusal = UsageRefusal::TimestampOutOfRange { earliest: ends[0], latest: ends[1] };
            assert_eq!(time_of(NOW, &at(Some(beyond))), Err(refusal));
        }
        assert_eq!(time_of(NOW, &at(None)), Ok(NOW));
        let fine = NOW + Duration::nanoseconds(1_999);
        assert_eq!(time_of(NOW, &at(Some(fine))), Ok(NOW + Duration::MICROSECOND));
    }
}

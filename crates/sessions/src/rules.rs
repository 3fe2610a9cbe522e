//! The decisions of this domain, without a database.

use std::collections::BTreeMap;

use kernel::{Usd, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{NewMessage, SessionRefusal, Status};

/// The stored side of a session's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredStatus {
    /// As last set.
    pub status: Status,
    /// When a caller set it; `None` while it is as created.
    pub set_at: Option<OffsetDateTime>,
    pub expires_at: Option<OffsetDateTime>,
}

impl StoredStatus {
    /// The status at `now`.
    ///
    /// The later event wins: passing `expires_at` makes the session expired, and a status that is set at or after that
    /// instant stands (HTTP contract 5: a status changes by a caller, or when `expires_at` passes). `sessions::list` says
    /// the same in SQL.
    pub(crate) fn at(self, now: OffsetDateTime) -> Status {
        let expired =
            self.expires_at.is_some_and(|end| end <= now && self.set_at.is_none_or(|set| set < end));
        if expired { Status::Expired } else { self.status }
    }
}

/// The counters of a locked session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub user_id: UserId,
    pub message_count: i64,
    pub total_tokens: i64,
    pub total_cost: Usd,
    pub last_activity: OffsetDateTime,
}

/// Where an admitted message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessagePosition {
    pub user_id: UserId,
    pub seq: i64,
    pub at: OffsetDateTime,
}

/// Admits messages one after the other and moves the tallies of their sessions.
pub(crate) fn admit(
    tallies: &mut BTreeMap<Uuid, Tally>,
    new: &[NewMessage],
    now: OffsetDateTime,
) -> Vec<Result<MessagePosition, SessionRefusal>> {
    new.iter()
        .map(|message| match tallies.get_mut(&message.session_id) {
            Some(tally) => tally.admit(message, now),
            None => Err(SessionRefusal::NotFound { session_id: message.session_id.to_string() }),
        })
        .collect()
}

impl Tally {
    /// Counts the message, or refuses it and stays as it is. Messages are taken in every status.
    fn admit(
        &mut self,
        message: &NewMessage,
        now: OffsetDateTime,
    ) -> Result<MessagePosition, SessionRefusal> {
        let session_id = || message.session_id.to_string();
        if !message.scope.covers(&self.user_id) {
            return Err(SessionRefusal::Foreign { session_id: session_id() });
        }
        let too_large = |field| SessionRefusal::TotalTooLarge { session_id: session_id(), field };
        let total_tokens =
            self.total_tokens.checked_add(message.tokens_used).ok_or_else(|| too_large("tokens_used"))?;
        let total_cost =
            self.total_cost.checked_add(message.cost_usd).ok_or_else(|| too_large("cost_usd"))?;
        self.total_tokens = total_tokens;
        self.total_cost = total_cost;
        // Counted one by one, so it cannot reach the end of i64.
        self.message_count = self.message_count.saturating_add(1);
        // Clocks of several processes differ, and a clock may be set back; the order of messages must not show it.
        self.last_activity = self.last_activity.max(now);
        Ok(MessagePosition { user_id: self.user_id.clone(), seq: self.message_count, at: self.last_activity })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImportanceScore, MessageStatus, Role};
    use kernel::{FreeForm, Scope};
    use time::{Duration, macros::datetime};

    const NOON: OffsetDateTime = datetime!(2025-07-27 12:00 UTC);

    fn tally() -> Tally {
        Tally {
            user_id: "auth0|a".parse().unwrap(),
            message_count: 2,
            total_tokens: 17,
            total_cost: Usd::from_nano(3_000_000),
            last_activity: NOON,
        }
    }

    fn message(tokens_used: i64, cost_nano: i64) -> NewMessage {
        NewMessage {
            scope: Scope::Own("auth0|a".parse().unwrap()),
            session_id: Uuid::nil(),
            message_id: Uuid::nil(),
            role: Role::User,
            content: "Hello".to_owned(),
            message_type: "chat".to_owned(),
            tokens_used,
            cost_usd: Usd::from_nano(cost_nano),
            tool_calls: None,
            tool_call_id: None,
            message_metadata: FreeForm::empty(),
            is_summary_candidate: true,
            importance_score: ImportanceScore::default(),
            status: MessageStatus::Completed,
        }
    }

    #[test]
    fn the_later_of_expiry_and_setting_decides() {
        let (before, after) = (NOON - Duration::microseconds(1), NOON + Duration::microseconds(1));
        for (set_at, now, expected) in [
            (None, before, Status::Active),
            (None, NOON, Status::Expired),
            (Some(before), before, Status::Active),
            (Some(before), NOON, Status::Expired),
            (Some(NOON), NOON, Status::Active),
            (Some(after), after, Status::Active),
        ] {
            let stored = StoredStatus { status: Status::Active, set_at, expires_at: Some(NOON) };
            assert_eq!(stored.at(now), expected, "set {set_at:?}, now {now}");
        }
        let endless = StoredStatus { status: Status::Archived, set_at: None, expires_at: None };
        assert_eq!(endless.at(NOON), Status::Archived);
    }

    #[test]
    fn messages_count_and_times_do_not_go_back() {
        let mut tally = tally();
        let early = NOON - Duration::HOUR;
        let place = tally.admit(&message(5, 1_000_000), early).unwrap();
        assert_eq!((place.seq, place.at), (3, NOON));
        let late = NOON + Duration::HOUR;
        let place = tally.admit(&message(0, 0), late).unwrap();
        assert_eq!((place.seq, place.at), (4, late));
        assert_eq!((tally.message_count, tally.total_tokens), (4, 22));
        assert_eq!(tally.total_cost, Usd::from_nano(4_000_000));
    }

    #[test]
    fn refused_messages_change_no_tally() {
        let mut tallies = BTreeMap::from([(Uuid::nil(), tally())]);
        let foreign = NewMessage { scope: Scope::Own("auth0|b".parse().unwrap()), ..message(1, 1) };
        let unknown = NewMessage { session_id: Uuid::max(), ..message(1, 1) };
        let outcomes =
            admit(&mut tallies, &[foreign, unknown, message(i64::MAX, 0), message(1, i64::MAX)], NOON);
        let codes: Vec<_> =
            outcomes.into_iter().map(|outcome| kernel::Failure::code(&outcome.unwrap_err())).collect();
        assert_eq!(
            codes,
            [
                "PermissionDeniedException",
                "SessionNotFoundException",
                "ValidationException",
                "ValidationException"
            ]
        );
        assert_eq!(tallies, BTreeMap::from([(Uuid::nil(), tally())]));
    }
}

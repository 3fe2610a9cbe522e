//! Searching the messages of a user.

use std::{fmt, str::FromStr};

use kernel::{Slice, UserId, page::CursorError};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{Message, Role};

/// What is looked for (HTTP contract 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// The user whose messages are searched.
    pub user_id: UserId,
    /// The text that a message contains, without case; not empty.
    pub text: String,
    /// Only messages of this session; `None`: all.
    pub session_id: Option<Uuid>,
    /// Only messages of this speaker; `None`: all.
    pub role: Option<Role>,
    /// Only messages that were added at this instant or later.
    pub from: Option<OffsetDateTime>,
    /// Only messages that were added at this instant or before.
    pub to: Option<OffsetDateTime>,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The message.
    pub message: Message,
    /// Title of its session.
    pub session_title: Option<String>,
    /// The part of the text around the first place that contains what was looked for: at most 300 characters.
    pub snippet: String,
}

/// Messages that were found, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    /// The messages, and where to go on. More may follow also if there are fewer than wanted, even none: a page ends when many
    /// messages were read for it.
    pub slice: Slice<Hit, SearchPlace>,
    /// So many messages were read that are in no segment that more of them would make the search slow.
    pub wants_index: bool,
}

/// Where a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchPlace {
    /// Messages with smaller integer ids follow.
    pub below: i64,
    /// Number of the next messages found that are still to be skipped, as an offset asked for.
    pub skip: i64,
}

impl fmt::Display for SearchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.below, self.skip)
    }
}

impl FromStr for SearchPlace {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (below, skip) = text.split_once(':').ok_or(CursorError)?;
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0).ok_or(CursorError);
        Ok(Self { below: number(below)?, skip: number(skip)? })
    }
}

/// Most work for one page of a search. A page that reaches one of them ends, and more follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Messages that are read.
    pub messages: i64,
    /// Bytes of their texts; the last text may pass it.
    pub bytes: i64,
    /// Segments of the index that are looked at.
    pub segments: i64,
}

impl SearchLimits {
    /// Some tenths of a second.
    pub const DEFAULT: Self = Self { messages: 64 * 1024, bytes: 32 * 1024 * 1024, segments: 512 };
}

/// Most messages, and bytes of text, of a segment of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSize {
    /// Messages.
    pub messages: i64,
    /// Bytes, unless its one message has more.
    pub bytes: i64,
    /// The last segment of a user grows in about so many steps. With 1 it is made when the messages fill it.
    pub steps: i64,
}

impl SegmentSize {
    /// A segment is made in a second, and as many messages as one step are read in some milliseconds.
    pub const DEFAULT: Self = Self { messages: 16 * 1024, bytes: 4 * 1024 * 1024, steps: 8 };

    /// Messages and bytes that are indexed, if they are not fewer.
    #[must_use]
    pub const fn step(self) -> (i64, i64) {
        (Self::part(self.messages, self.steps), Self::part(self.bytes, self.steps))
    }

    const fn part(whole: i64, steps: i64) -> i64 {
        match whole.checked_div(steps) {
            Some(part) => part,
            None => whole,
        }
    }
}

/// Messages of a user up to one, which may be indexed once all transactions have ended that ran when it was found: until then
/// some may still add messages below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexHorizon {
    /// The user.
    pub user_id: UserId,
    /// Integer id of the last message.
    pub(crate) up_to: i64,
    /// The first transaction that may run on.
    pub(crate) until: i64,
}

/// Why a segment was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSegment {
    /// The messages that are left are too few.
    TooFewMessages,
    /// A session was deleted meanwhile, or another process added it.
    Overtaken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written_and_others_refused() {
        for place in [SearchPlace { below: 0, skip: 0 }, SearchPlace { below: i64::MAX, skip: i64::MAX }] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for forged in ["", "7", "7:", ":7", "-1:0", "0:-1", "1:2:3", "9223372036854775808:0"] {
            assert_eq!(forged.parse::<SearchPlace>(), Err(CursorError), "{forged}");
        }
    }
}

//! How much of a list is wanted, and where to go on.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// Most items one page may have; greater wishes are served with this many (HTTP contract 1.11).
pub const LIMIT_MAX: i64 = 500;

/// One page of a list whose places are of type `P`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<P> {
    /// Items wanted, 1 to [`LIMIT_MAX`].
    limit: i64,
    /// Where the page begins.
    pub start: Start<P>,
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start<P> {
    /// After this many items.
    Offset(i64),
    /// After the item at this place.
    After(P),
}

/// Items of one page, and the place to go on from while there are more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T, P> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The place of the last item, if more follow.
    pub next: Option<P>,
}

/// Why a page cannot be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The limit is below 1.
    #[error("limit is below 1")]
    Limit,
    /// The offset is below 0.
    #[error("offset is below 0")]
    Offset,
}

/// The text is not a cursor of this list with these filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cursor does not belong to this list")]
pub struct CursorError;

impl<P> Page<P> {
    /// The page of `limit` items from `start`.
    ///
    /// # Errors
    /// A limit below 1 or an offset below 0.
    pub fn new(limit: i64, start: Start<P>) -> Result<Self, PageError> {
        match start {
            _ if limit < 1 => Err(PageError::Limit),
            Start::Offset(offset) if offset < 0 => Err(PageError::Offset),
            start => Ok(Self {
                limit: limit.min(LIMIT_MAX),
                start,
            }),
        }
    }

    /// The first `limit` items (at least 1, at most [`LIMIT_MAX`]).
    #[must_use]
    pub fn first(limit: i64) -> Self {
        Self {
            limit: limit.clamp(1, LIMIT_MAX),
            start: Start::Offset(0),
        }
    }

    /// Items wanted.
    #[must_use]
    pub fn limit(&self) -> i64 {
        self.limit
    }

    /// Rows to read: one more than wanted, which tells whether more follow.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.limit.saturating_add(1)
    }

    /// Rows to skip.
    #[must_use]
    pub fn offset(&self) -> i64 {
        match self.start {
            Start::Offset(offset) => offset,
            Start::After(_) => 0,
        }
    }

    /// The place to go on from, if one was given.
    #[must_use]
    pub fn after(&self) -> Option<&P> {
        match &self.start {
            Start::Offset(_) => None,
            Start::After(place) => Some(place),
        }
    }

    /// Cuts what [`Page::rows`] read down to the page; `place` tells where an item stands.
    pub fn cut<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> P) -> Slice<T, P> {
        let wanted = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > wanted;
        items.truncate(wanted);
        let next = items.last().filter(|_| more).map(place);
        Slice { items, next }
    }
}

/// The place of an item in a list ordered by time and then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimePlace {
    /// When the item stands.
    pub at: OffsetDateTime,
    /// Its id.
    pub id: i64,
}

impl fmt::Display for TimePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.at.unix_timestamp_nanos(), self.id)
    }
}

impl FromStr for TimePlace {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (at, id) = text.split_once(':').ok_or(CursorError)?;
        let at = at.parse().map_err(|_| CursorError)?;
        let at = OffsetDateTime::from_unix_timestamp_nanos(at).map_err(|_| CursorError)?;
        Ok(Self {
            at,
            id: id.parse().map_err(|_| CursorError)?,
        })
    }
}

/// Turns places into opaque texts and back. A text is bound to the list and the filters it was made for.
#[derive(Debug)]
pub struct Cursor;

impl Cursor {
    const SEAL_BYTES: usize = 8;

    /// The opaque text for `place` in the list that `scope` names (route, user and filters).
    #[must_use]
    pub fn seal(scope: &str, place: &impl fmt::Display) -> String {
        let place = place.to_string();
        let mut bytes = Self::mark(scope, &place).to_vec();
        bytes.extend_from_slice(place.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place behind a text that [`Cursor::seal`] made for the same `scope`.
    ///
    /// # Errors
    /// [`CursorError`] for every other text.
    pub fn open<P: FromStr>(scope: &str, text: &str) -> Result<P, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let (mark, place) = bytes
            .split_first_chunk::<{ Self::SEAL_BYTES }>()
            .ok_or(CursorError)?;
        let place = std::str::from_utf8(place).map_err(|_| CursorError)?;
        if *mark != Self::mark(scope, place) {
            return Err(CursorError);
        }
        place.parse().map_err(|_| CursorError)
    }

    /// Not a signature: it keeps honest clients from mixing up lists. A cursor opens nothing its bearer may not read.
    fn mark(scope: &str, place: &str) -> [u8; Self::SEAL_BYTES] {
        let digest = Sha256::new_with_prefix(scope)
            .chain_update([0])
            .chain_update(place)
            .finalize();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_page_is_cut_and_knows_where_to_go_on() {
        let page = Page::<i64>::new(2, Start::Offset(0)).unwrap();
        assert_eq!(
            page.cut(vec![9, 8, 7], |n| *n),
            Slice {
                items: vec![9, 8],
                next: Some(8)
            }
        );
        assert_eq!(
            page.cut(vec![9, 8], |n| *n),
            Slice {
                items: vec![9, 8],
                next: None
            }
        );
        assert_eq!(
            Page::<i64>::new(10_000, Start::After(3)).unwrap().limit(),
            LIMIT_MAX
        );
        assert_eq!(Page::<i64>::new(0, Start::After(3)), Err(PageError::Limit));
        assert_eq!(Page::<i64>::new(1, Start::Offset(-1)), Err(PageError::Offset));
    }

    #[test]
    fn a_cursor_opens_only_where_it_was_made() {
        let place = TimePlace {
            at: datetime!(2025-07-27 0:32:57.736450 UTC),
            id: 42,
        };
        let text = Cursor::seal("usage of a", &place);
        assert_eq!(Cursor::open::<TimePlace>("usage of a", &text), Ok(place));
        assert_eq!(Cursor::open::<TimePlace>("usage of b", &text), Err(CursorError));
        assert_eq!(Cursor::open::<i64>("usage of a", &text), Err(CursorError));
        for garbage in ["", "!", "AAAA", "abcdefghijklmnop", &text[1..]] {
            assert_eq!(
                Cursor::open::<TimePlace>("usage of a", garbage),
                Err(CursorError),
                "{garbage}"
            );
        }
    }
}

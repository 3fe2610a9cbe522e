//! Size and place of a page of a list.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// Most items one page may have; greater wishes are served with this many (HTTP contract 1.11).
pub const LIMIT_MAX: i64 = 500;

/// Most bytes of texts and JSON that the rows of one page hold together: what a page may cost in memory.
///
/// A page ends early rather than pass this; its first row comes whatever its size. The database counts, so that what
/// does not fit is never sent. See [`Found`].
pub const PAGE_BYTES_MAX: i64 = 4 * 1024 * 1024;

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

/// Result of a query that counts bytes: the items that fit into [`PAGE_BYTES_MAX`], and how many rows there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The items that were sent, in the order of the list, without a gap.
    pub items: Vec<T>,
    /// Number of rows found, at most [`Page::rows`], those that did not fit included.
    pub rows: i64,
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
            start => Ok(Self { limit: limit.min(LIMIT_MAX), start }),
        }
    }

    /// The first `limit` items (at least 1, at most [`LIMIT_MAX`]).
    #[must_use]
    pub fn first(limit: i64) -> Self {
        Self { limit: limit.clamp(1, LIMIT_MAX), start: Start::Offset(0) }
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

    /// Rows to skip. A page may end before its limit ([`PAGE_BYTES_MAX`]), so who goes on by offset adds the number of
    /// items that came, not the limit.
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
    pub fn cut<T>(&self, items: Vec<T>, place: impl Fn(&T) -> P) -> Slice<T, P> {
        let rows = i64::try_from(items.len()).unwrap_or(i64::MAX);
        self.cut_found(Found { items, rows }, place)
    }

    /// As [`Page::cut`], for a query that may have left rows behind because of their size: they follow as well.
    pub fn cut_found<T>(&self, found: Found<T>, place: impl Fn(&T) -> P) -> Slice<T, P> {
        let Found { mut items, rows } = found;
        items.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        let more = usize::try_from(rows).is_ok_and(|rows| rows > items.len());
        let next = items.last().filter(|_| more).map(place);
        Slice { items, next }
    }
}

/// The place of an item in a list ordered by time and then id.
///
/// Its text is that of nanoseconds since 1970 and id. Read from a text, the time lies in the years 1 to 9999 and is a whole
/// microsecond: every such place, and no other, is one that the database can hold and compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimePlace {
    /// When the item stands.
    pub at: OffsetDateTime,
    /// Its id.
    pub id: i64,
}

impl TimePlace {
    /// Reads nanoseconds since 1970: a whole microsecond in the years 1 to 9999.
    ///
    /// # Errors
    /// [`CursorError`] for every other text.
    pub fn instant(nanoseconds: &str) -> Result<OffsetDateTime, CursorError> {
        let nanoseconds = nanoseconds.parse().map_err(|_| CursorError)?;
        let instant = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).map_err(|_| CursorError)?;
        let fits = (1..=9999).contains(&instant.year()) && instant.nanosecond() % 1_000 == 0;
        if fits { Ok(instant) } else { Err(CursorError) }
    }
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
        Ok(Self { at: Self::instant(at)?, id: id.parse().map_err(|_| CursorError)? })
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
        let (mark, place) = bytes.split_first_chunk::<{ Self::SEAL_BYTES }>().ok_or(CursorError)?;
        let place = std::str::from_utf8(place).map_err(|_| CursorError)?;
        if *mark != Self::mark(scope, place) {
            return Err(CursorError);
        }
        place.parse().map_err(|_| CursorError)
    }

    /// Not a signature: it keeps honest clients from mixing up lists. A cursor opens nothing its bearer may not read.
    fn mark(scope: &str, place: &str) -> [u8; Self::SEAL_BYTES] {
        let digest = Sha256::new_with_prefix(scope).chain_update([0]).chain_update(place).finalize();
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
        assert_eq!(page.cut(vec![9, 8, 7], |n| *n), Slice { items: vec![9, 8], next: Some(8) });
        assert_eq!(page.cut(vec![9, 8], |n| *n), Slice { items: vec![9, 8], next: None });
        assert_eq!(Page::<i64>::new(10_000, Start::After(3)).unwrap().limit(), LIMIT_MAX);
        assert_eq!(Page::<i64>::new(0, Start::After(3)), Err(PageError::Limit));
        assert_eq!(Page::<i64>::new(1, Start::Offset(-1)), Err(PageError::Offset));
    }

    #[test]
    fn a_page_that_ended_early_goes_on_behind_its_last_item() {
        let page = Page::<i64>::new(3, Start::Offset(0)).unwrap();
        let cut = |items: &[i64], rows| {
            let items = items.to_vec();
            let slice = page.cut_found(Found { items, rows }, |n| *n);
            (slice.items, slice.next)
        };
        assert_eq!(cut(&[9, 8], 4), (vec![9, 8], Some(8)));
        assert_eq!(cut(&[9, 8], 3), (vec![9, 8], Some(8)));
        assert_eq!(cut(&[9, 8], 2), (vec![9, 8], None));
        assert_eq!(cut(&[9, 8, 7], 4), (vec![9, 8, 7], Some(7)));
        assert_eq!(cut(&[9, 8, 7, 6], 4), (vec![9, 8, 7], Some(7)));
        assert_eq!(cut(&[], 0), (vec![], None));
    }

    #[test]
    fn a_cursor_opens_only_where_it_was_made() {
        let place = TimePlace { at: datetime!(2025-07-27 0:32:57.736450 UTC), id: 42 };
        let text = Cursor::seal("usage of a", &place);
        assert_eq!(Cursor::open::<TimePlace>("usage of a", &text), Ok(place));
        assert_eq!(Cursor::open::<TimePlace>("usage of b", &text), Err(CursorError));
        assert_eq!(Cursor::open::<i64>("usage of a", &text), Err(CursorError));
        for garbage in ["", "!", "AAAA", "abcdefghijklmnop", &text[1..]] {
            assert_eq!(Cursor::open::<TimePlace>("usage of a", garbage), Err(CursorError), "{garbage}");
        }
    }

    #[test]
    fn places_that_the_database_cannot_hold_are_refused() {
        let year_1 = datetime!(0001-01-01 0:00 UTC).unix_timestamp_nanos();
        let year_9999 = datetime!(9999-12-31 23:59:59.999999 UTC).unix_timestamp_nanos();
        for (at, id) in [(year_1, 0), (year_9999, i64::MAX), (0, i64::MIN), (-1_000, -1)] {
            let place: TimePlace = format!("{at}:{id}").parse().unwrap();
            assert_eq!((place.at.unix_timestamp_nanos(), place.id), (at, id));
        }
        for forged in [
            format!("{}:1", year_1 - 1_000),
            format!("{}:1", year_9999 + 1_000),
            format!("{}:1", datetime!(-9999-01-01 0:00 UTC).unix_timestamp_nanos()),
            "1:1".to_owned(),
            "999:1".to_owned(),
            "-999:1".to_owned(),
            format!("{}:1", i128::MAX),
            format!("{}:1", i128::MIN),
            "0:9223372036854775808".to_owned(),
            "0:-9223372036854775809".to_owned(),
            "0:".to_owned(),
            ":0".to_owned(),
            "0:0:0".to_owned(),
            "0".to_owned(),
        ] {
            assert_eq!(forged.parse::<TimePlace>(), Err(CursorError), "{forged}");
        }
    }
}

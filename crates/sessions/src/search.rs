//! Search of the messages of a user by a part of their text, without case (HTTP contract 5).
//!
//! The newest messages, and all of users with few, are read. For the others there is an index (docs/adr/0027): segments, each with
//! the messages of a stretch of ids by a few characters in a row. What the index finds is read as well, so that it
//! decides nothing but the time that a search takes.

mod bits;
mod codec;
mod fold;
mod grams;
mod index;
pub(crate) mod segment;
mod snippet;

use std::collections::{BTreeMap, HashMap};

use diesel_async::AsyncPgConnection;
use kernel::{Page, Slice};
use pg::{DbError, Tx};

pub use self::index::{add_segment, horizon, is_past, refresh_segment};
use self::{
    bits::Damaged,
    grams::{Gram, RAREST_MAX},
    snippet::snippet,
};
use crate::{
    Hit, Hits, SearchLimits, SearchPlace, SearchQuery, SegmentSize,
    store::search::{self as store, SegmentRow, Stretch, TextRow},
};

/// Rows of the first reading; each one after it is larger, as what is looked for seems to be rare.
const ROWS_FIRST: i64 = 64;
const ROWS_MAX: i64 = 2_048;
/// Most bytes of one reading, unless its one message is larger.
const READING_BYTES_MAX: i64 = 1024 * 1024;
/// Segments of the first look into the index, and of the largest one.
const SEGMENTS_FIRST: i64 = 1;
const SEGMENTS_MAX: i64 = 64;

/// One page of the messages that contain a text, newest first by integer id, of one snapshot ([`Tx::snapshot`]).
///
/// A page has fewer messages than wanted, even none, while more follow, if they are large or the limits were reached.
///
/// # Errors
/// [`DbError`].
pub async fn find(
    tx: &mut Tx,
    query: &SearchQuery,
    page: &Page<SearchPlace>,
    limits: SearchLimits,
) -> Result<Hits, DbError> {
    let mut search = Search::new(query, page, limits);
    let last = store::last_segment(tx.conn(), &query.user_id).await?;
    search.read_after(tx.conn(), last.map_or(0, |last| last.last_id)).await?;
    let (messages, bytes) = SegmentSize::DEFAULT.step();
    let wants_index = limits.messages.saturating_sub(search.left.messages) >= messages
        || limits.bytes.saturating_sub(search.left.bytes) >= bytes;
    while search.goes_on() && search.read_segments(tx.conn()).await? {}
    let slice = search.page(tx.conn()).await?;
    Ok(Hits { slice, wants_index })
}

/// A search on its way from the newest messages to the oldest.
struct Search<'a> {
    query: &'a SearchQuery,
    /// The text, folded.
    wanted: String,
    /// Features that are looked up.
    grams: Vec<Gram>,
    limit: usize,
    /// Ids of the messages found, at most one more than wanted.
    found: Vec<i64>,
    /// Messages found that are still to be skipped.
    skip: i64,
    /// All messages from this id on are done.
    below: i64,
    segments: i64,
    left: SearchLimits,
}

impl<'a> Search<'a> {
    fn new(query: &'a SearchQuery, page: &Page<SearchPlace>, left: SearchLimits) -> Self {
        let wanted = fold::fold(&query.text);
        let mut grams = grams::of_query(&wanted);
        grams.extend(query.role.map(grams::of_role));
        grams.extend(query.session_id.map(grams::of_session));
        let SearchPlace { below, skip } =
            page.after().copied().unwrap_or(SearchPlace { below: i64::MAX, skip: page.offset() });
        Self {
            query,
            wanted,
            grams,
            limit: usize::try_from(page.limit()).unwrap_or(usize::MAX),
            found: Vec::new(),
            skip,
            below,
            segments: SEGMENTS_FIRST,
            left,
        }
    }

    fn is_full(&self) -> bool {
        self.found.len() > self.limit
    }

    fn goes_on(&self) -> bool {
        self.reads_on() && self.left.segments > 0
    }

    /// True if another message may be read.
    fn reads_on(&self) -> bool {
        !self.is_full() && self.left.messages > 0 && self.left.bytes > 0
    }

    /// Reads all messages after an id.
    async fn read_after(&mut self, conn: &mut AsyncPgConnection, after: i64) -> Result<(), DbError> {
        let mut rows = ROWS_FIRST;
        while self.reads_on() && self.below > after.saturating_add(1) {
            let texts =
                store::texts_between(conn, self.query, (after, self.below), (rows, READING_BYTES_MAX))
                    .await?;
            let is_whole = is_whole(&texts);
            let is_last = texts.first().is_none_or(|first| is_whole && first.found < rows);
            self.look_at(texts);
            if is_last && !self.is_full() {
                self.below = after.saturating_add(1);
            }
            rows = next_rows(rows);
        }
        Ok(())
    }

    /// Reads what the next segments of the index find; false if there is none.
    async fn read_segments(&mut self, conn: &mut AsyncPgConnection) -> Result<bool, DbError> {
        let user = &self.query.user_id;
        let limit = self.segments.min(self.left.segments);
        let segments = store::segments(conn, user, self.below, limit).await?;
        let Some(after) = segments.last().map(|oldest| oldest.stretch.after_id) else {
            return Ok(false);
        };
        let read = i64::try_from(segments.len()).unwrap_or(i64::MAX);
        self.left.segments = self.left.segments.saturating_sub(read);
        self.segments = self.segments.saturating_mul(4).min(SEGMENTS_MAX);
        let ids = self.candidates(conn, &segments).await?;
        self.read_ids(conn, &ids).await?;
        if self.reads_on() {
            self.below = self.below.min(after.saturating_add(1));
        }
        Ok(true)
    }

    /// The messages below this place that segments may have, newest first.
    ///
    /// Further on only the features that were the rarest ones here are looked up.
    async fn candidates(
        &mut self,
        conn: &mut AsyncPgConnection,
        segments: &[SegmentRow],
    ) -> Result<Vec<i64>, DbError> {
        let SearchQuery { user_id, from, to, .. } = self.query;
        let in_time = |Stretch { first_at, last_at, .. }: &Stretch| {
            from.is_none_or(|from| from <= *last_at) && to.is_none_or(|to| *first_at <= to)
        };
        let segments: Vec<&SegmentRow> = segments.iter().filter(|row| in_time(&row.stretch)).collect();
        let after_ids: Vec<i64> = segments.iter().map(|row| row.stretch.after_id).collect();
        let buckets: Vec<i16> = self.grams.iter().map(|gram| codec::bucket(*gram)).collect();
        let postings = store::postings(conn, user_id, &after_ids, &buckets).await?;
        let postings: HashMap<(i64, i16), Vec<u8>> =
            postings.into_iter().map(|row| ((row.after_id, row.bucket), row.postings)).collect();
        let (mut numbers, mut sizes) = (BTreeMap::new(), vec![0_usize; self.grams.len()]);
        for SegmentRow { stretch: Stretch { after_id, .. }, unsettled } in segments {
            let bucket = |bucket| postings.get(&(*after_id, bucket)).map(Vec::as_slice);
            let lists = segment::lists(&self.grams, bucket).map_err(damaged)?;
            for (size, list) in sizes.iter_mut().zip(&lists) {
                *size = size.saturating_add(list.size());
            }
            let found = segment::candidates(lists, unsettled).map_err(damaged)?;
            if !found.is_empty() {
                numbers.insert(*after_id, found);
            }
        }
        let mut rarest: Vec<(usize, Gram)> = sizes.into_iter().zip(self.grams.iter().copied()).collect();
        rarest.sort_by_key(|(size, _)| *size);
        if !postings.is_empty() {
            self.grams = rarest.into_iter().map(|(_, gram)| gram).take(RAREST_MAX).collect();
        }
        let with_any: Vec<i64> = numbers.keys().copied().collect();
        let mut ids = Vec::new();
        for row in store::message_ids(conn, user_id, &with_any).await? {
            let numbers = numbers.get(&row.after_id).map_or(&[][..], Vec::as_slice);
            ids.extend(segment::ids(&row.message_ids, numbers).map_err(damaged)?);
        }
        ids.retain(|id| *id < self.below);
        ids.sort_unstable_by(|one, other| other.cmp(one));
        Ok(ids)
    }

    /// Reads these messages, newest first.
    async fn read_ids(&mut self, conn: &mut AsyncPgConnection, ids: &[i64]) -> Result<(), DbError> {
        let (mut rest, mut rows) = (ids, ROWS_FIRST);
        while self.reads_on() && !rest.is_empty() {
            let some = usize::try_from(rows).map_or(rest.len(), |rows| rows.min(rest.len()));
            let (some, _) = rest.split_at(some);
            let texts = store::texts_of(conn, self.query, some, READING_BYTES_MAX).await?;
            let is_whole = is_whole(&texts);
            self.look_at(texts);
            if let Some(last) = some.last().filter(|_| is_whole && !self.is_full()) {
                self.below = *last;
            }
            let done = rest.partition_point(|id| *id >= self.below);
            rest = rest.get(done..).unwrap_or_default();
            rows = next_rows(rows);
        }
        Ok(())
    }

    /// Looks for the text in messages that were read.
    fn look_at(&mut self, texts: Vec<TextRow>) {
        for TextRow { id, content, .. } in texts {
            self.below = id;
            self.left.messages = self.left.messages.saturating_sub(1);
            let Some(content) = content else { continue };
            let bytes = i64::try_from(content.len()).unwrap_or(i64::MAX);
            self.left.bytes = self.left.bytes.saturating_sub(bytes);
            if !fold::fold(&content).contains(&self.wanted) {
                continue;
            }
            if self.skip > 0 {
                self.skip = self.skip.saturating_sub(1);
                continue;
            }
            self.found.push(id);
            if self.is_full() {
                return;
            }
        }
    }

    /// The page of what was found.
    async fn page(self, conn: &mut AsyncPgConnection) -> Result<Slice<Hit, SearchPlace>, DbError> {
        let (is_full, goes_on) = (self.is_full(), self.goes_on());
        let ids = self.found.get(..self.limit).unwrap_or(&self.found);
        let rows = match ids {
            [] => Vec::new(),
            ids => store::titled(conn, &self.query.user_id, ids).await?,
        };
        let after_last = rows.last().map(|row| SearchPlace { below: row.message.id, skip: 0 });
        let next = match (rows.len() < ids.len() || is_full, goes_on) {
            (true, _) => after_last,
            (false, false) => Some(SearchPlace { below: self.below, skip: self.skip }),
            (false, true) => None,
        };
        let items = rows.into_iter().map(|row| Hit {
            snippet: snippet(&row.message.content, &self.wanted),
            message: row.message,
            session_title: row.session_title,
        });
        Ok(Slice { items: items.collect(), next })
    }
}

/// True if no row was left out because of its size.
fn is_whole(texts: &[TextRow]) -> bool {
    let rows = i64::try_from(texts.len()).unwrap_or(i64::MAX);
    texts.first().is_none_or(|first| first.found == rows)
}

fn next_rows(rows: i64) -> i64 {
    rows.saturating_mul(4).min(ROWS_MAX)
}

fn damaged(damage: Damaged) -> DbError {
    DbError::Inconsistent(damage.to_string())
}

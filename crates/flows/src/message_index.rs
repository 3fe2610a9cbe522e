//! Searches messages, and makes the index of the messages of users whose searches read many of them.
//!
//! The index is housekeeping only: a search finds the same whether there is one or not. Which users want an index is noted in memory; a note that
//! is lost with the process is made again by the next search. Touches sessions, one commit a segment.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kernel::{Page, Slice, UserId};
use pg::{DbError, Pool, Tx};
use sessions::{Hit, IndexHorizon, NoSegment, SearchLimits, SearchPlace, SearchQuery, SegmentSize, search};

use crate::jobs::{Job, Next};

/// Pause between two looks for notes and for segments from which messages were deleted.
const EVERY: Duration = Duration::from_secs(1);
/// Most users that are noted at a time. Beyond it a search is slow until its user is noted.
const USERS_MAX: usize = 1_000;

/// One page of the messages of a user that contain a text, newest first (HTTP contract 5). Notes the user if an index would help.
///
/// # Errors
/// [`DbError`].
pub async fn find(
    pool: &Pool,
    requests: &IndexRequests,
    query: &SearchQuery,
    page: &Page<SearchPlace>,
) -> Result<Slice<Hit, SearchPlace>, DbError> {
    let mut tx = Tx::snapshot(pool).await?;
    let hits = search::find(&mut tx, query, page, SearchLimits::DEFAULT).await;
    // Nothing was written; the connection is given back.
    tx.rollback().await;
    let hits = hits?;
    if hits.wants_index {
        requests.note(&query.user_id);
    }
    Ok(hits.slice)
}

/// Users whose messages are to be indexed. Shared by all threads.
#[derive(Debug, Default)]
pub struct IndexRequests(Mutex<BTreeSet<UserId>>);

impl IndexRequests {
    /// Notes a user.
    pub fn note(&self, user_id: &UserId) {
        let mut users = self.lock();
        if users.len() < USERS_MAX {
            users.insert(user_id.clone());
        }
    }

    fn take(&self) -> BTreeSet<UserId> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes segments, round by round.
#[derive(Debug)]
pub struct Indexer {
    pool: Pool,
    requests: Arc<IndexRequests>,
    size: SegmentSize,
    /// Users whose messages are being indexed.
    pending: VecDeque<IndexHorizon>,
}

/// The job that makes segments.
#[must_use]
pub fn job(pool: &Pool, requests: &Arc<IndexRequests>) -> Job {
    let indexer = Indexer::new(pool.clone(), Arc::clone(requests), SegmentSize::DEFAULT);
    Job::new("index_messages", EVERY, indexer, |indexer| Box::pin(indexer.round()))
}

impl Indexer {
    /// An indexer that has nothing to do yet.
    #[must_use]
    pub fn new(pool: Pool, requests: Arc<IndexRequests>, size: SegmentSize) -> Self {
        Self { pool, requests, size, pending: VecDeque::new() }
    }

    /// Makes at most one segment, and returns when the next round is due. Users take turns. Counted in
    /// `message_segments_total`.
    ///
    /// # Errors
    /// [`DbError`]; then the user of this round waits for their next search.
    pub async fn round(&mut self) -> Result<Next, DbError> {
        if Tx::run(&self.pool, async |tx| search::refresh_segment(tx, self.size).await).await? {
            metrics::counter!("message_segments_total", "kind" => "refreshed").increment(1);
            return Ok(Next::AtOnce);
        }
        for user_id in self.requests.take() {
            let horizon = self.pool.read(async |conn| search::horizon(conn, &user_id).await).await?;
            self.pending.extend(horizon);
        }
        let Some(horizon) = self.pending.pop_front() else {
            return Ok(Next::Later);
        };
        if !self.pool.read(async |conn| search::is_past(conn, &horizon).await).await? {
            self.pending.push_back(horizon);
            return Ok(Next::Later);
        }
        match Tx::decide(&self.pool, async |tx| search::add_segment(tx, &horizon, self.size).await).await? {
            Ok(()) => metrics::counter!("message_segments_total", "kind" => "added").increment(1),
            Err(NoSegment::Overtaken) => {}
            Err(NoSegment::TooFewMessages) => return Ok(self.next()),
        }
        self.pending.push_back(horizon);
        Ok(Next::AtOnce)
    }

    fn next(&self) -> Next {
        if self.pending.is_empty() { Next::Later } else { Next::AtOnce }
    }
}

//! Searching messages: the same is found as by reading all of them, with and without an index, whatever happens meanwhile.

mod brute_force;
mod deletes;
mod index;

use kernel::Ids as _;
use kernel::{FreeForm, Page, SeededIds, Start, UserId};
use pg::Tx;
use sessions::{
    Hits, IndexHorizon, Message, NewMessage, NoSegment, SearchLimits, SearchQuery, SegmentSize, Session,
    search,
};
use testkit::Deadline;

use crate::support::House;

/// Numbers that follow from a seed.
struct Choices(SeededIds);

impl Choices {
    fn new(seed: u64) -> Self {
        Self(SeededIds::new(seed))
    }

    fn below(&self, bound: usize) -> usize {
        let number = self.0.uuid().as_u64_pair().1 << 2 >> 2;
        usize::try_from(number).unwrap() % bound
    }

    fn one_of<T: Copy>(&self, things: &[T]) -> T {
        things[self.below(things.len())]
    }
}

fn query(user: &UserId, text: &str) -> SearchQuery {
    let user_id = user.clone();
    SearchQuery { user_id, text: text.to_owned(), session_id: None, role: None, from: None, to: None }
}

impl House {
    async fn search(
        &self,
        query: &SearchQuery,
        page: Page<sessions::SearchPlace>,
        limits: SearchLimits,
    ) -> Hits {
        let mut tx = Tx::snapshot(self.pool()).await.unwrap();
        let hits = search::find(&mut tx, query, &page, limits).await.unwrap();
        tx.rollback().await;
        hits
    }

    /// Integer ids of all messages found, page by page.
    async fn found_in_pages(&self, query: &SearchQuery, limit: i64, limits: SearchLimits) -> Vec<Vec<i64>> {
        let (mut pages, mut page) = (Vec::new(), Page::first(limit));
        loop {
            let slice = self.search(query, page, limits).await.slice;
            pages.push(slice.items.iter().map(|hit| hit.message.id).collect());
            match slice.next {
                Some(place) => page = Page::new(limit, Start::After(place)).unwrap(),
                None => return pages,
            }
        }
    }

    async fn found(&self, query: &SearchQuery) -> Vec<i64> {
        self.found_in_pages(query, 500, SearchLimits::DEFAULT).await.concat()
    }

    async fn texts(&self, session: &Session, texts: &[&str]) -> Vec<Message> {
        let new: Vec<_> = texts.iter().map(|text| self.text(session, text)).collect();
        self.add(&new).await.into_iter().map(Result::unwrap).collect()
    }

    fn text(&self, session: &Session, text: &str) -> NewMessage {
        NewMessage { content: text.to_owned(), message_metadata: FreeForm::empty(), ..self.message(session) }
    }

    /// The messages of a user, once no transaction can add one below the last.
    async fn horizon(&self, user: &UserId) -> IndexHorizon {
        let mut conn = self.pool().get().await.unwrap();
        let horizon = search::horizon(&mut conn, user).await.unwrap().unwrap();
        let mut deadline = Deadline::new();
        while !search::is_past(&mut conn, &horizon).await.unwrap() {
            assert!(deadline.allows_another(), "transactions that ran have not ended");
            tokio::task::yield_now().await;
        }
        horizon
    }

    async fn add_segment(&self, horizon: &IndexHorizon, size: SegmentSize) -> Result<(), NoSegment> {
        Tx::decide(self.pool(), async |tx| search::add_segment(tx, horizon, size).await).await.unwrap()
    }

    /// Makes all segments of so many messages that the user has messages for, and returns their number.
    async fn index(&self, user: &UserId, messages: i64) -> usize {
        self.index_some(user, messages, usize::MAX).await
    }

    /// The same for the oldest messages, at most so many segments.
    async fn index_some(&self, user: &UserId, messages: i64, segments_max: usize) -> usize {
        let size = SegmentSize { messages, steps: 1, ..SegmentSize::DEFAULT };
        let horizon = self.horizon(user).await;
        let mut segments = 0;
        while segments < segments_max && self.add_segment(&horizon, size).await == Ok(()) {
            segments += 1;
        }
        segments
    }

    async fn refresh(&self) -> bool {
        Tx::run(self.pool(), async |tx| search::refresh_segment(tx, SegmentSize::DEFAULT).await)
            .await
            .unwrap()
    }
}

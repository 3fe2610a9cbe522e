//! The job that indexes messages: for whom, when, and what it leaves alone.

use std::sync::Arc;

use flows::{
    jobs::Next,
    message_index::{self, IndexRequests, Indexer},
};
use kernel::{FreeForm, Ids as _, Page, Scope, SeededIds, UserId};
use pg::Tx;
use sessions::{NewMessage, NewSession, Role, SearchQuery, SegmentSize, Session};
use testkit::{Deadline, TestDb, user};

use crate::database;

const SIZE: SegmentSize = SegmentSize { messages: 10, bytes: 1 << 20, steps: 1 };

struct Chat {
    db: TestDb,
    ids: SeededIds,
    requests: Arc<IndexRequests>,
}

impl Chat {
    async fn new() -> Self {
        Self { db: database().await, ids: testkit::ids(), requests: Arc::default() }
    }

    fn indexer(&self, size: SegmentSize) -> Indexer {
        Indexer::new(self.db.pool().clone(), Arc::clone(&self.requests), size)
    }

    async fn session(&self, user: &UserId) -> Session {
        let new = NewSession {
            user_id: user.clone(),
            session_id: self.ids.uuid(),
            title: None,
            conversation_data: FreeForm::empty(),
            metadata: FreeForm::empty(),
            expires_at: None,
        };
        Tx::run(self.db.pool(), async |tx| sessions::create(tx, &testkit::clock(), &new).await).await.unwrap()
    }

    fn messages(&self, session: &Session, count: usize) -> Vec<NewMessage> {
        let message = |nth| {
            let content = format!("Nachricht {nth}");
            NewMessage::chat(Scope::Any, session.session_id, self.ids.uuid(), Role::User, content)
        };
        (0..count).map(message).collect()
    }

    async fn add(&self, session: &Session, count: usize) {
        let new = self.messages(session, count);
        let add =
            Tx::run(self.db.pool(), async |tx| sessions::add_messages(tx, &testkit::clock(), &new).await);
        assert!(add.await.unwrap().iter().all(Result::is_ok));
    }

    async fn find(&self, user: &UserId, text: &str) -> usize {
        let user_id = user.clone();
        let query = SearchQuery {
            user_id,
            text: text.to_owned(),
            session_id: None,
            role: None,
            from: None,
            to: None,
        };
        message_index::find(self.db.pool(), &self.requests, &query, &Page::first(500))
            .await
            .unwrap()
            .items
            .len()
    }

    async fn segments(&self, user: &UserId) -> i64 {
        self.db.ask(&format!("SELECT count(*) FROM sessions.search_segments WHERE user_id = '{user}'")).await
    }
}

/// Rounds until there is nothing to do, and all transactions of other tests have ended that ran at the beginning.
async fn work(chat: &Chat, indexer: &mut Indexer, user: &UserId, segments: i64) {
    let mut deadline = Deadline::new();
    while indexer.round().await.unwrap() == Next::AtOnce || chat.segments(user).await < segments {
        assert!(deadline.allows_another());
    }
}

#[tokio::test]
async fn users_whose_searches_read_many_messages_get_an_index() {
    let chat = Chat::new().await;
    let (a, b) = (user("a"), user("b"));
    let (many, few) = (chat.session(&a).await, chat.session(&b).await);
    chat.add(&many, 4_100).await;
    chat.add(&few, 100).await;
    let mut indexer = chat.indexer(SegmentSize::DEFAULT);
    assert_eq!(indexer.round().await.unwrap(), Next::Later);
    // What is found soon, and a user with few messages, want none.
    assert_eq!((chat.find(&a, "NACHRICHT").await, chat.find(&b, "absent").await), (500, 0));
    assert_eq!(indexer.round().await.unwrap(), Next::Later);
    assert_eq!(chat.segments(&a).await, 0);
    assert_eq!(chat.find(&a, "nachricht 1234").await, 1);
    work(&chat, &mut indexer, &a, 1).await;
    assert_eq!((chat.segments(&a).await, chat.segments(&b).await), (1, 0));
    assert_eq!(chat.find(&a, "nachricht 1234").await, 1);
    assert_eq!(indexer.round().await.unwrap(), Next::Later);
}

#[tokio::test]
async fn users_take_turns_and_stale_segments_come_first() {
    let chat = Chat::new().await;
    let users = [user("a"), user("b")];
    let mut going = Vec::new();
    for user in &users {
        let session = chat.session(user).await;
        chat.add(&session, 25).await;
        going.push(session);
        chat.requests.note(user);
    }
    let mut indexer = chat.indexer(SIZE);
    for user in &users {
        work(&chat, &mut indexer, user, 2).await;
    }
    Tx::decide(chat.db.pool(), async |tx| sessions::delete(tx, going[0].session_id, &Scope::Any).await)
        .await
        .unwrap()
        .unwrap();
    let left = "SELECT count(*) FROM sessions.search_postings WHERE user_id = 'a'";
    assert!(chat.db.ask(left).await > 0);
    assert_eq!(indexer.round().await.unwrap(), Next::AtOnce);
    assert_eq!(indexer.round().await.unwrap(), Next::AtOnce);
    assert_eq!(indexer.round().await.unwrap(), Next::Later);
    assert_eq!(chat.db.ask(left).await, 0);
    assert_eq!(chat.find(&users[1], "nachricht").await, 25);
}

#[tokio::test]
async fn messages_that_may_still_come_are_waited_for() {
    let chat = Chat::new().await;
    let a = user("a");
    let (slow, fast) = (chat.session(&a).await, chat.session(&a).await);
    let mut writing = Tx::begin(chat.db.pool()).await.unwrap();
    sessions::add_messages(&mut writing, &testkit::clock(), &chat.messages(&slow, 5)).await.unwrap();
    chat.add(&fast, 25).await;
    chat.requests.note(&a);
    let mut indexer = chat.indexer(SIZE);
    for _ in 0..3 {
        assert_eq!(indexer.round().await.unwrap(), Next::Later);
    }
    assert_eq!(chat.segments(&a).await, 0);
    writing.commit().await.unwrap();
    work(&chat, &mut indexer, &a, 2).await;
    assert_eq!(chat.find(&a, "nachricht").await, 30);
}

#[test]
fn notes_are_bounded() {
    let requests = IndexRequests::default();
    for nth in 0..5_000 {
        requests.note(&user(&format!("user-{nth}")));
        requests.note(&user("user-7"));
    }
    assert_eq!(format!("{requests:?}").matches("user-").count(), 1_000);
}

//! Replies of a model: stored, charged once, and ended whoever dies.

mod saving;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use chat::{ChatModel, CompletionRequest, Finish, FinishReason, Part, TokenUsage, UpstreamError};
use credits::{Defaults, Refusal};
use flows::{
    CallerCheck,
    replies::{Ask, Asked, Replies, ReplyEvent, ReplyReader, ReplyRefusal, ReplySettings},
    session_end,
};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use kernel::{
    Actor, CallerClass, Credits, FreeForm, IdempotencyKey, Ids as _, ManualClock, Page, RandomIds, Scope,
    UserId,
};
use pg::Tx;
use sessions::{Message, MessageFilter, MessageStatus, NewSession, Reply, SessionRefusal};
use testkit::TestDb;
use tokio::{sync::mpsc, task::JoinSet};
use usage::{
    NewPrice, Offer, RecordFilter,
    rating::{Key, Rate, TokenClass},
};
use uuid::Uuid;

use crate::{database, operations::signed_up};

type Given = Result<Part, UpstreamError>;

/// A model whose replies the test gives, one after the other.
#[derive(Default)]
struct Model {
    replies: Mutex<VecDeque<mpsc::UnboundedReceiver<Given>>>,
    asked: Mutex<Vec<CompletionRequest>>,
}

impl ChatModel for Model {
    fn complete(&self, request: CompletionRequest) -> BoxStream<'static, Given> {
        self.asked.lock().unwrap().push(request);
        let parts = self.replies.lock().unwrap().pop_front();
        match parts {
            Some(parts) => {
                stream::unfold(parts, async |mut parts| Some((parts.recv().await?, parts))).boxed()
            }
            None => stream::iter([Err(UpstreamError::Unreachable)]).boxed(),
        }
    }
}

impl Model {
    /// The parts of the next reply; it ends without an end when the sender is dropped.
    fn next(&self) -> mpsc::UnboundedSender<Given> {
        let (sender, parts) = mpsc::unbounded_channel();
        self.replies.lock().unwrap().push_back(parts);
        sender
    }

    /// The next reply, whole.
    fn gives(&self, pieces: &[&str], usage: Option<TokenUsage>) {
        let parts = self.next();
        parts.send(Ok(Part::Started)).unwrap();
        for piece in pieces {
            parts.send(Ok(Part::Text((*piece).to_owned()))).unwrap();
        }
        parts.send(Ok(Part::Finished(Finish { reason: Some(FinishReason::Stop), usage }))).unwrap();
    }

    fn last_asked(&self) -> CompletionRequest {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

/// A user with credit and a session, and a model.
struct House {
    db: TestDb,
    clock: ManualClock,
    model: Arc<Model>,
    user: UserId,
    session: Uuid,
}

impl House {
    async fn build(credit: &str) -> Self {
        let (db, clock) = (database().await, testkit::clock());
        signed_up(&db, &clock, "a", credit).await;
        let user = testkit::user("a");
        let new = NewSession {
            user_id: user.clone(),
            session_id: RandomIds.uuid(),
            title: None,
            conversation_data: FreeForm::empty(),
            metadata: FreeForm::empty(),
            expires_at: None,
        };
        let session =
            Tx::run(db.pool(), async |tx| sessions::create(tx, &clock, &new).await).await.unwrap().session_id;
        Self { db, clock, model: Arc::default(), user, session }
    }

    fn replies(&self) -> Replies {
        self.replies_with(|settings| settings)
    }

    /// Another process, or one with other settings.
    fn replies_with(&self, change: impl FnOnce(ReplySettings) -> ReplySettings) -> Replies {
        let settings = ReplySettings {
            model: "m".to_owned(),
            system_prompt: None,
            max_tokens: 100,
            history: 50,
            credits_per_token: "1".parse().unwrap(),
        };
        Replies::start(
            self.db.pool().clone(),
            Arc::new(self.clock.clone()),
            Arc::new(RandomIds),
            Arc::clone(&self.model) as Arc<dyn ChatModel>,
            change(settings),
            Defaults::default(),
        )
    }

    fn ask(&self, content: &str) -> Ask {
        Ask {
            user_id: self.user.clone(),
            check: CallerCheck::Due { login_id: None },
            caller: CallerClass::User,
            session_id: self.session,
            content: content.to_owned(),
            is_streamed: true,
            key: None,
        }
    }

    async fn balance(&self) -> credits::Balance {
        let pool = self.db.pool();
        let read = pool
            .read(async |conn| credits::balances(conn, &self.clock, std::slice::from_ref(&self.user)).await)
            .await;
        read.unwrap().into_iter().flatten().next().unwrap()
    }

    async fn messages(&self) -> Vec<Message> {
        let read = async |conn: &mut pg::PgConnection| {
            let session = sessions::find(conn, &self.clock, self.session).await?.unwrap();
            sessions::messages(conn, &session, MessageFilter::default(), &Page::first(500)).await
        };
        self.db.pool().read(read).await.unwrap().items
    }

    /// Tokens and charges of the usage records.
    async fn usage(&self) -> Vec<(i64, i64, Credits)> {
        let read = async |conn: &mut pg::PgConnection| {
            usage::list(conn, &self.user, &RecordFilter::default(), &Page::first(500)).await
        };
        let records = self.db.pool().read(read).await.unwrap().items;
        let figures =
            |record: usage::Record| (record.prompt_tokens, record.completion_tokens, record.credits_charged);
        records.into_iter().map(figures).collect()
    }
}

async fn begun(replies: &Replies, ask: &Ask) -> ReplyReader {
    match replies.ask(ask).await.unwrap().unwrap() {
        Asked::Begun(reader) => reader,
        Asked::Repeat(reply) => panic!("the reply of another request: {reply:?}"),
    }
}

/// The text of a reply, and what is stored of it in the end.
async fn read(mut reader: ReplyReader) -> (String, Option<Reply>) {
    let mut text = String::new();
    loop {
        match reader.next().await.unwrap() {
            ReplyEvent::Text { piece, end } => {
                text.push_str(&piece);
                assert_eq!(end, reader.offset());
            }
            ReplyEvent::Ended(reply) => return (text, Some(*reply)),
            ReplyEvent::Gone => return (text, None),
        }
    }
}

async fn replied(replies: &Replies, ask: &Ask) -> Reply {
    read(begun(replies, ask).await).await.1.unwrap()
}

fn credits(amount: &str) -> Credits {
    amount.parse().unwrap()
}

fn counted(prompt_tokens: u32, completion_tokens: u32) -> Option<TokenUsage> {
    Some(TokenUsage { prompt_tokens, cached_prompt_tokens: 0, completion_tokens })
}

#[tokio::test]
async fn a_reply_is_stored_and_charged_for_what_the_upstream_counted() {
    let house = House::build("1000").await;
    let replies = house.replies();
    house.model.gives(&["Hel", "lo"], counted(7, 3));
    let (text, reply) = read(begun(&replies, &house.ask("Hi")).await).await;
    let reply = reply.unwrap();
    assert_eq!((text.as_str(), reply.message.content.as_str()), ("Hello", "Hello"));
    assert_eq!(reply.message.status, MessageStatus::Completed);
    assert_eq!((reply.credits_charged, reply.balance_after), (Some(credits("10")), Some(credits("990"))));
    let balance = house.balance().await;
    assert_eq!((balance.posted, balance.held), (credits("990"), Credits::ZERO));
    assert_eq!(house.usage().await, [(7, 3, credits("10"))]);
    let stored: Vec<_> = house.messages().await.into_iter().map(|m| (m.content, m.tokens_used)).collect();
    assert_eq!(stored, [("Hi".to_owned(), 7), ("Hello".to_owned(), 3)]);

    // The conversation so far comes along, and what nobody counted is estimated: 9 and 2 bytes.
    house.model.gives(&["Ok"], None);
    let reply = replied(&replies, &house.ask("So?")).await;
    let asked: Vec<String> = house.model.last_asked().messages.into_iter().map(|m| m.content).collect();
    assert_eq!(asked, ["Hi", "Hello", "So?"]);
    assert_eq!(reply.credits_charged, Some(credits("5")));
    assert_eq!(house.usage().await.first(), Some(&(4, 1, credits("5"))));
}

#[tokio::test]
async fn a_model_with_a_price_is_charged_by_it_and_never_above_the_hold() {
    let house = House::build("1000").await;
    // 2 credits for a token of the prompt, 3 for one of the reply.
    let rate = |credits: i64| Rate { charge_pico: credits * 1_000_000_000_000, cost_pico: 1_000 };
    let price = NewPrice {
        key: Key { provider: String::new(), model: "m".to_owned(), service_tier: String::new() },
        min_context: 0,
        valid_from: None,
        offer: Offer::Rates([(TokenClass::Input, rate(2)), (TokenClass::Output, rate(3))].into()),
        source: "a test".to_owned(),
    };
    let prices = std::slice::from_ref(&price);
    let put =
        Tx::run(house.db.pool(), async |tx| usage::prices::put(tx, &house.clock, Actor::Admin, prices).await);
    assert!(put.await.unwrap().is_ok());
    let replies = house.replies();
    house.model.gives(&["Hello"], counted(7, 3));
    assert_eq!(replied(&replies, &house.ask("Hi")).await.credits_charged, Some(credits("23")));
    // Cached tokens have no price of their own, and figures of nothing are none: 1 token of prompt and 2 of reply by their bytes.
    let usage = TokenUsage { prompt_tokens: 7, cached_prompt_tokens: 5, completion_tokens: 3 };
    house.model.gives(&["Hello"], Some(usage));
    assert_eq!(replied(&replies, &house.ask("Hi")).await.credits_charged, Some(credits("23")));
    house.model.gives(&["Hello"], counted(0, 0));
    let fresh = house.replies_with(|settings| ReplySettings { history: 0, ..settings });
    assert_eq!(replied(&fresh, &house.ask("Hi")).await.credits_charged, Some(credits("8")));
    // The hold is for 2 bytes of prompt and 100 tokens of reply.
    house.model.gives(&["Hello"], counted(700, 300));
    assert_eq!(replied(&fresh, &house.ask("Hi")).await.credits_charged, Some(credits("302")));
}

#[tokio::test]
async fn an_upstream_that_fails_costs_nothing_and_the_same_key_tries_again() {
    let house = House::build("1000").await;
    let replies = house.replies();
    let key = IdempotencyKey::new("k", [1; 32]).unwrap();
    let ask = Ask { key: Some(key.clone()), ..house.ask("Hi") };
    let failed = replied(&replies, &ask).await;
    assert_eq!(failed.message.status, MessageStatus::Failed);
    assert_eq!(failed.error_code.as_deref(), Some("UpstreamException"));
    let balance = house.balance().await;
    assert_eq!((balance.posted, balance.held), (credits("1000"), Credits::ZERO));
    assert_eq!(house.usage().await, []);
    let statuses = async || house.messages().await.into_iter().map(|m| m.status).collect::<Vec<_>>();
    assert_eq!(statuses().await, [MessageStatus::Failed; 2]);

    house.model.gives(&["Hello"], counted(1, 1));
    let reply = replied(&replies, &ask).await;
    assert_eq!(reply.message.message_id, failed.message.message_id);
    assert_eq!(statuses().await, [MessageStatus::Completed; 2]);
    assert_eq!(house.balance().await.posted, credits("998"));

    match replies.ask(&ask).await.unwrap().unwrap() {
        Asked::Repeat(repeat) => assert_eq!(*repeat, reply),
        Asked::Begun(_) => panic!("a second reply"),
    }
    let other = Ask { key: Some(IdempotencyKey::new("k", [2; 32]).unwrap()), ..house.ask("Ho") };
    assert!(matches!(replies.ask(&other).await.unwrap(), Err(ReplyRefusal::Key(_))));
    assert_eq!(house.messages().await.len(), 2);
}

#[tokio::test]
async fn a_caller_who_waits_for_the_whole_pays_nothing_for_a_part() {
    let house = House::build("1000").await;
    let replies = house.replies();
    let parts = house.model.next();
    parts.send(Ok(Part::Text("Hel".to_owned()))).unwrap();
    parts.send(Err(UpstreamError::Reported)).unwrap();
    let reply = replied(&replies, &Ask { is_streamed: false, ..house.ask("Hi") }).await;
    assert_eq!((reply.message.status, reply.message.content.as_str()), (MessageStatus::Failed, ""));
    assert_eq!(house.balance().await.posted, credits("1000"));
    // A pause is no failure.
    let parts = house.model.next();
    parts.send(Ok(Part::Text("Hel".to_owned()))).unwrap();
    parts.send(Err(UpstreamError::TimedOut)).unwrap();
    let reply = replied(&replies, &Ask { is_streamed: false, ..house.ask("Hi") }).await;
    assert_eq!((reply.message.status, reply.message.content.as_str()), (MessageStatus::Incomplete, "Hel"));
    assert_eq!(house.balance().await.posted, credits("998"));
}

#[tokio::test]
async fn credit_bounds_the_reply_then_the_history_and_then_there_is_none() {
    let house = House::build("30").await;
    let replies = house.replies();
    house.model.gives(&[&"x".repeat(24)], None);
    // 24 bytes are 8 tokens, as are those of the reply; 22 tokens of reply are affordable.
    assert_eq!(replied(&replies, &house.ask(&"q".repeat(24))).await.credits_charged, Some(credits("16")));
    assert_eq!(house.model.last_asked().max_tokens, 22);
    // 14 credits are too little for all 72 bytes and one token, not for the last 48.
    let parts = house.model.next();
    parts.send(Ok(Part::Text("y".to_owned()))).unwrap();
    drop(parts);
    let reply = replied(&replies, &house.ask(&"q".repeat(12))).await;
    assert_eq!(reply.message.status, MessageStatus::Incomplete);
    let asked: Vec<usize> = house.model.last_asked().messages.iter().map(|m| m.content.len()).collect();
    assert_eq!((asked, house.model.last_asked().max_tokens), (vec![24, 12], 2));
    assert_eq!(house.balance().await.posted, credits("1"));
    let before = house.messages().await.len();
    let refused = replies.ask(&house.ask("abc")).await.unwrap().unwrap_err();
    let is_poor = |refused: &ReplyRefusal| {
        matches!(refused, ReplyRefusal::Ledger { refusal: Refusal::InsufficientCredits { .. }, .. })
    };
    assert!(is_poor(&refused), "{refused:?}");
    assert_eq!(house.messages().await.len(), before);
}

#[tokio::test]
async fn a_reply_ends_when_it_is_cancelled_and_a_session_has_one_at_a_time() {
    let house = House::build("1000").await;
    let replies = house.replies();
    let parts = house.model.next();
    parts.send(Ok(Part::Text("Hello".to_owned()))).unwrap();
    let key = IdempotencyKey::new("k", [1; 32]).unwrap();
    let ask = Ask { key: Some(key), ..house.ask("Hi") };
    let mut reader = begun(&replies, &ask).await;
    let name = reader.name().clone();
    assert!(matches!(reader.next().await.unwrap(), ReplyEvent::Text { .. }));
    for again in [&ask, &house.ask("Ho")] {
        let refused = replies.ask(again).await.unwrap().unwrap_err();
        let message_id = name.message_id;
        assert_eq!(refused, ReplyRefusal::Session(SessionRefusal::ReplyInProgress { message_id }));
    }
    // Another process asks for it; this one finds out when it stores the text.
    let cancelled = house.replies().cancel(&name).await.unwrap().unwrap();
    assert_eq!(
        (cancelled.message.status, cancelled.message.content.as_str()),
        (MessageStatus::Cancelled, "Hello")
    );
    assert_eq!(cancelled.credits_charged, Some(credits("3")));
    assert_eq!(house.balance().await.posted, credits("997"));
    assert!(parts.is_closed());
    for replies in [&replies, &house.replies()] {
        let refused = replies.cancel(&name).await.unwrap().unwrap_err();
        assert_eq!(refused, SessionRefusal::ReplyFinished { message_id: name.message_id });
    }
    // Nothing produced costs nothing.
    let _parts = house.model.next();
    let reader = begun(&replies, &house.ask("Hi")).await;
    let cancelled = replies.cancel(reader.name()).await.unwrap().unwrap();
    assert_eq!(
        (cancelled.message.status, cancelled.credits_charged),
        (MessageStatus::Cancelled, Some(Credits::ZERO))
    );
    assert_eq!(house.balance().await, credits::Balance { held: Credits::ZERO, ..house.balance().await });
}

#[tokio::test]
async fn a_session_that_is_deleted_takes_its_reply_and_frees_the_hold() {
    let house = House::build("1000").await;
    let replies = house.replies();
    let parts = house.model.next();
    parts.send(Ok(Part::Text("Hello".to_owned()))).unwrap();
    let reader = begun(&replies, &house.ask("Hi")).await;
    assert!(!house.balance().await.held.is_zero());
    let scope = Scope::Own(house.user.clone());
    let deleted =
        session_end::delete(house.db.pool(), &house.clock, &RandomIds, house.session, &scope).await.unwrap();
    assert_eq!(deleted.unwrap().message_count, 2);
    assert_eq!(house.balance().await.held, Credits::ZERO);
    assert_eq!(read(reader).await, ("Hello".to_owned(), None));
    assert_eq!((house.balance().await.posted, house.usage().await), (credits("1000"), Vec::new()));
}

#[tokio::test]
async fn a_text_above_the_limit_ends_the_reply() {
    let house = House::build("1000").await;
    let replies = house.replies_with(|settings| ReplySettings { max_tokens: 2, ..settings });
    let parts = house.model.next();
    parts.send(Ok(Part::Text("é".repeat(15)))).unwrap();
    parts.send(Ok(Part::Text("xéé".to_owned()))).unwrap();
    let (text, reply) = read(begun(&replies, &house.ask("Hi")).await).await;
    assert_eq!((text.len(), reply.unwrap().message.status), (31, MessageStatus::Incomplete));
    // 11 tokens by its bytes, and one of the prompt; the hold was for 3.
    assert_eq!(house.balance().await.posted, credits("997"));
}

#[tokio::test]
async fn replies_are_read_from_any_process_and_any_place() {
    let house = House::build("1000").await;
    let (here, there) = (house.replies(), house.replies());
    let parts = house.model.next();
    let send = |text: &str| parts.send(Ok(Part::Text(text.to_owned()))).unwrap();
    send("Grüße ");
    let reader = begun(&here, &house.ask("Hi")).await;
    let name = reader.name().clone();
    let mut readers = JoinSet::new();
    // The third is inside of ü, whose rest is left out.
    for (replies, offset) in [(&here, 0), (&there, 0), (&there, 3), (&here, 4), (&there, 4)] {
        let reader = replies.read(name.clone(), offset);
        readers.spawn(async move { (offset, read(reader).await.0) });
    }
    send("aus 杭州");
    parts.send(Ok(Part::Finished(Finish { reason: None, usage: None }))).unwrap();
    let text = read(reader).await.0;
    assert_eq!(text, "Grüße aus 杭州");
    while let Some(read) = readers.join_next().await {
        let (offset, rest) = read.unwrap();
        assert_eq!(rest, text[text.ceil_char_boundary(offset)..], "behind {offset}");
    }
    assert_eq!(read(there.read(name, 100)).await.0, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_left_is_ended_once_by_any_other() {
    let house = House::build("1000").await;
    let parts = house.model.next();
    parts.send(Ok(Part::Text("x".repeat(5_000)))).unwrap();
    let dying = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let replies = {
        let _in_it = dying.enter();
        house.replies_with(|settings| ReplySettings { max_tokens: 500, ..settings })
    };
    let name = begun(&replies, &house.ask("Hi")).await.name().clone();
    // The first 4 KiB are stored as soon as they are there.
    let stored = house.replies().read(name.clone(), 0).next().await.unwrap();
    assert!(matches!(stored, ReplyEvent::Text { end: 5_000, .. }), "{stored:?}");
    dying.shutdown_background();

    let others = [house.replies(), house.replies()];
    assert_eq!(others[0].sweep().await.unwrap(), 0, "its lease has not ended");
    house.clock.advance(time::Duration::seconds(21));
    let (one, other) = tokio::join!(others[0].sweep(), others[1].sweep());
    assert_eq!(one.unwrap() + other.unwrap(), 1);
    let (text, reply) = read(others[0].read(name.clone(), 0)).await;
    let reply = reply.unwrap();
    assert_eq!((text.len(), reply.message.status), (5_000, MessageStatus::Incomplete));
    // 1 token of prompt and 1,667 of text, of which the hold covers 501.
    assert_eq!(house.balance().await.posted, credits("499"));
    assert_eq!(house.usage().await.len(), 1);
    // One that had stored nothing fails, and a hold that has expired meanwhile does not matter.
    let dying = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap();
    let replies = {
        let _in_it = dying.enter();
        house.replies()
    };
    let _parts = house.model.next();
    let name = begun(&replies, &house.ask("Hi")).await.name().clone();
    dying.shutdown_background();
    house.clock.advance(time::Duration::hours(3));
    assert_eq!(others[1].sweep().await.unwrap(), 1);
    let reply = others[1].ended(&name).await.unwrap().unwrap();
    assert_eq!((reply.message.status, reply.credits_charged), (MessageStatus::Failed, Some(Credits::ZERO)));
    assert_eq!(house.balance().await, credits::Balance { held: Credits::ZERO, ..house.balance().await });
}

#[tokio::test]
async fn a_process_that_stops_keeps_what_was_produced() {
    let house = House::build("1000").await;
    let replies = house.replies();
    let parts = house.model.next();
    parts.send(Ok(Part::Text("Hello".to_owned()))).unwrap();
    let mut reader = begun(&replies, &house.ask("Hi")).await;
    assert!(matches!(reader.next().await.unwrap(), ReplyEvent::Text { .. }));
    tokio::time::timeout(Duration::from_secs(10), replies.stop()).await.unwrap();
    let reply = reader.stored().await.unwrap().unwrap();
    assert_eq!((reply.message.status, reply.message.content.as_str()), (MessageStatus::Incomplete, "Hello"));
    assert_eq!(house.balance().await.posted, credits("997"));
}

//! Text that is stored while it is produced.

use std::time::Duration;

use chat::{Finish, Part};
use diesel_async::SimpleAsyncConnection as _;
use flows::replies::{Ask, ReplyEvent, ReplySettings};
use kernel::IdempotencyKey;
use pg::Tx;

use super::{House, begun, counted, credits, read};

/// A process that was slow finds that its reply was ended, and begun again by another.
#[tokio::test]
async fn a_process_that_lost_its_lease_changes_nothing() {
    for stale in ["stale".to_owned(), "stale".repeat(1_000)] {
        let house = House::build("1000").await;
        // 5,000 bytes are stored at once.
        let slow = house.replies_with(|settings| ReplySettings { max_tokens: 500, ..settings });
        let other = house.replies();
        let key = IdempotencyKey::new("k", [1; 32]).unwrap();
        let ask = Ask { key: Some(key), ..house.ask("Hi") };
        let slow_parts = house.model.next();
        let name = begun(&slow, &ask).await.name().clone();
        // It renews its lease every second, perhaps in this moment.
        loop {
            house.clock.advance(time::Duration::seconds(21));
            if other.sweep().await.unwrap() == 1 {
                break;
            }
        }
        let parts = house.model.next();
        let reader = begun(&other, &ask).await;
        assert_eq!(*reader.name(), name);

        // It may have given up before.
        let _closed = slow_parts.send(Ok(Part::Text(stale)));
        let _closed = slow_parts.send(Ok(Part::Finished(Finish { reason: None, usage: counted(500, 100) })));
        slow_parts.closed().await;
        slow.stop().await;
        let reply = reader.stored().await.unwrap().unwrap();
        assert_eq!((reply.finished_at, reply.message.content.as_str()), (None, ""));
        assert_eq!(house.usage().await, []);

        parts.send(Ok(Part::Text("fresh".to_owned()))).unwrap();
        parts.send(Ok(Part::Finished(Finish { reason: None, usage: counted(7, 3) }))).unwrap();
        let (text, reply) = read(reader).await;
        assert_eq!((text.as_str(), reply.unwrap().message.content.as_str()), ("fresh", "fresh"));
        assert_eq!(house.usage().await, [(7, 3, credits("10"))]);
        assert_eq!(house.balance().await.posted, credits("990"));
    }
}

#[tokio::test]
async fn readers_do_not_wait_for_the_database() {
    let house = House::build("1000").await;
    let replies = house.replies_with(|settings| ReplySettings { max_tokens: 500, ..settings });
    let parts = house.model.next();
    let mut reader = begun(&replies, &house.ask("Hi")).await;
    let mut tx = Tx::begin(house.db.pool()).await.unwrap();
    tx.conn().batch_execute("SELECT FROM sessions.replies FOR UPDATE").await.unwrap();
    // A save begins, which waits for the lock.
    parts.send(Ok(Part::Text("x".repeat(5_000)))).unwrap();
    assert!(matches!(reader.next().await.unwrap(), ReplyEvent::Text { end: 5_000, .. }));
    parts.send(Ok(Part::Text("y".to_owned()))).unwrap();
    // Earlier than a save is given up.
    let read_on = tokio::time::timeout(Duration::from_secs(4), reader.next()).await;
    assert!(matches!(read_on.unwrap().unwrap(), ReplyEvent::Text { end: 5_001, .. }));
    tx.commit().await.unwrap();
    parts.send(Ok(Part::Finished(Finish { reason: None, usage: counted(7, 3) }))).unwrap();
    let (_, reply) = read(reader).await;
    assert_eq!(reply.unwrap().message.content.len(), 5_001);
    assert_eq!(house.usage().await, [(7, 3, credits("10"))]);
}

//! Replies under a lease: what a process that lost it does changes nothing, and what is repeated is done once.

use kernel::{Credits, Ids as _, Scope};
use pg::Tx;
use sessions::{Lease, NewReply, ReplyName, ReplyTerms, replies};
use time::Duration;
use uuid::Uuid;

use crate::support::House;

async fn begun(house: &House, owner: Uuid) -> ReplyName {
    let user: kernel::UserId = "auth0|a".parse().unwrap();
    let session_id = house.session(&user).await.session_id;
    let new = NewReply {
        scope: Scope::Own(user.clone()),
        session_id,
        question_id: house.ids.uuid(),
        content: "Hi".to_owned(),
        message_id: house.ids.uuid(),
        terms: ReplyTerms {
            model: "m".to_owned(),
            hold_id: None,
            held: Credits::ZERO,
            prompt_tokens: 1,
            max_tokens: 10,
        },
        lease: Lease { owner, ttl: Duration::seconds(20) },
    };
    let begun = Tx::run(house.pool(), async |tx| {
        let idle = replies::lock_idle(tx, session_id, &new.scope).await?;
        assert!(idle.is_ok());
        replies::begin(tx, &house.clock, &new).await
    });
    begun.await.unwrap().unwrap();
    ReplyName { user_id: user, session_id, message_id: new.message_id }
}

#[tokio::test]
async fn a_piece_is_stored_once_however_often_it_is_sent_and_only_under_the_lease() {
    let house = House::build().await;
    let (owner, other) = (house.ids.uuid(), house.ids.uuid());
    let name = begun(&house, owner).await;
    let save = async |owner, piece| {
        let lease = Lease { owner, ttl: Duration::seconds(20) };
        let saved = house
            .pool()
            .read(async |conn| replies::save_progress(conn, &house.clock, &name, lease, piece).await);
        saved.await.unwrap()
    };
    let text = async || {
        let found = house
            .pool()
            .read(async |conn| replies::text_after(conn, &name.user_id, name.message_id, 0).await);
        String::from_utf8(found.await.unwrap().unwrap().bytes).unwrap()
    };
    assert_eq!(save(owner, Some((0, "Grü"))).await, Some(false));
    assert_eq!(save(owner, Some((0, "Grüße"))).await, Some(false), "the first answer was lost");
    assert_eq!(save(owner, Some((7, " aus"))).await, Some(false));
    assert_eq!(save(other, Some((11, "!"))).await, None);
    assert_eq!(save(owner, None).await, Some(false));
    assert_eq!(text().await, "Grüße aus");
    let asked = house.pool().read(async |conn| replies::request_cancel(conn, &name).await);
    assert!(asked.await.unwrap());
    assert_eq!(save(owner, None).await, Some(true));

    let take = async || {
        let lease = Lease { owner: other, ttl: Duration::seconds(20) };
        let taken =
            house.pool().read(async |conn| replies::take_over(conn, &house.clock, &name, lease).await);
        taken.await.unwrap()
    };
    assert!(!take().await, "the lease lives");
    house.clock.advance(Duration::seconds(20));
    assert!(take().await && !take().await);
    assert_eq!(save(owner, Some((11, "!"))).await, None);
    assert_eq!(text().await, "Grüße aus");
}

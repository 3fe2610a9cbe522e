//! Deleting sessions.

use kernel::{Ids, Scope};
use pg::Tx;
use sessions::{Deleted, SessionRefusal};
use testkit::{ask, user};
use uuid::Uuid;

use crate::support::{House, foreign, not_found};

async fn stored_messages(house: &House) -> i64 {
    ask(&mut house.pool().get().await.unwrap(), "SELECT count(*) FROM sessions.messages").await.unwrap()
}

async fn delete(house: &House, session_id: Uuid, scope: &Scope) -> Result<Deleted, SessionRefusal> {
    let mut tx = Tx::begin(house.pool()).await.unwrap();
    let outcome = sessions::delete(&mut tx, session_id, scope).await.unwrap();
    tx.commit().await.unwrap();
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_leaves_no_message_and_no_other_loses_any() {
    let house = House::build().await;
    let (going, staying) = (house.session(&user("auth0|a")).await, house.session(&user("auth0|a")).await);
    let new = [&going, &staying, &going, &going].map(|session| house.message(session));
    house.add(&new).await;
    assert_eq!(stored_messages(&house).await, 4);
    let id = going.session_id;

    assert_eq!(
        delete(&house, id, &Scope::Own(user("auth0|a"))).await,
        Ok(Deleted { session_id: id, user_id: user("auth0|a"), message_count: 3, hold_id: None })
    );
    assert_eq!(house.find(id).await, None);
    assert_eq!(house.messages(&going).await, []);
    assert_eq!(house.messages(&staying).await.len(), 1);
    assert_eq!(stored_messages(&house).await, 1);

    assert_eq!(delete(&house, id, &Scope::Any).await, Err(not_found(id)));
    assert_eq!(house.add(&[house.message(&going)]).await, [Err(not_found(id))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_deletions_change_nothing() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    house.add(&[house.message(&session)]).await.remove(0).unwrap();
    let before = house.find(session.session_id).await;
    let outsider = Scope::Own(user("auth0|b"));
    assert_eq!(delete(&house, session.session_id, &outsider).await, Err(foreign(&session)));
    let unknown = house.ids.uuid();
    assert_eq!(delete(&house, unknown, &Scope::Any).await, Err(not_found(unknown)));
    assert_eq!(house.find(session.session_id).await, before);
    assert_eq!(stored_messages(&house).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_not_committed_did_not_happen() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    house.add(&[house.message(&session)]).await.remove(0).unwrap();
    let mut tx = Tx::begin(house.pool()).await.unwrap();
    sessions::delete(&mut tx, session.session_id, &Scope::Any).await.unwrap().unwrap();
    tx.rollback().await;
    assert_eq!(house.messages(&session).await.len(), 1);
}

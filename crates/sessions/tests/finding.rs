//! Creating sessions and finding them again.

use kernel::{FreeForm, Ids, Scope, Usd};
use pg::{DbError, Tx};
use sessions::{NewSession, Status};
use testkit::{instant, user};
use time::Duration;

use crate::support::{House, foreign, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn a_created_session_is_found_as_it_was_answered() {
    let house = House::build().await;
    let new = NewSession {
        title: Some("AI编程助手对话".to_owned()),
        conversation_data: FreeForm::object(r#"{"topic":"AI编程助手对话"}"#).unwrap(),
        metadata: FreeForm::object(r#"{"b": 1.10, "a": 12345678901234567890123, "c": 1e2}"#).unwrap(),
        expires_at: Some(instant() + Duration::days(1)),
        ..house.new_session(&user("auth0|test123"))
    };
    let session = house.create(&new).await;

    assert_eq!(session.user_id, new.user_id);
    assert_eq!(session.session_id, new.session_id);
    assert_eq!(session.title, new.title);
    assert_eq!(session.conversation_data.as_json(), r#"{"topic": "AI编程助手对话"}"#);
    assert_eq!(session.metadata.as_json(), r#"{"a": 12345678901234567890123, "b": 1.10, "c": 100}"#);
    assert_eq!(session.status, Status::Active);
    assert!(session.is_active());
    assert_eq!((session.message_count, session.total_tokens), (0, 0));
    assert_eq!(session.total_cost, Usd::ZERO);
    assert_eq!(session.session_summary, "");
    assert_eq!(session.created_at, instant());
    assert_eq!(session.updated_at, instant());
    assert_eq!(session.last_activity, instant());
    assert_eq!(session.expires_at, new.expires_at);
    assert!(session.id > 0);
    assert_eq!(house.find(session.session_id).await, Some(session));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_session_is_not_found() {
    let house = House::build().await;
    assert_eq!(house.find(house.ids.uuid()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_given_only_to_those_it_concerns() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let unknown = house.ids.uuid();
    let mut conn = house.pool().get().await.unwrap();
    for (session_id, scope, expected) in [
        (session.session_id, Scope::Own(user("auth0|a")), Ok(session.clone())),
        (session.session_id, Scope::Any, Ok(session.clone())),
        (session.session_id, Scope::Own(user("auth0|b")), Err(foreign(&session))),
        (unknown, Scope::Own(user("auth0|b")), Err(not_found(unknown))),
        (unknown, Scope::Any, Err(not_found(unknown))),
    ] {
        let found = sessions::find_in_scope(&mut conn, &house.clock, session_id, &scope).await.unwrap();
        assert_eq!(found, expected, "{scope:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_taken_cannot_be_taken_by_another_user() {
    let house = House::build().await;
    let taken = house.session(&user("auth0|a")).await;
    let new = NewSession { session_id: taken.session_id, ..house.new_session(&user("auth0|b")) };
    let mut tx = Tx::begin(house.pool()).await.unwrap();
    let error = sessions::create(&mut tx, &house.clock, &new).await.unwrap_err();
    assert!(
        matches!(&error, DbError::Constraint { constraint, .. } if constraint == "sessions_session_id_key"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_committed_does_not_exist() {
    let house = House::build().await;
    let new = house.new_session(&user("auth0|a"));
    let mut tx = Tx::begin(house.pool()).await.unwrap();
    sessions::create(&mut tx, &house.clock, &new).await.unwrap();
    drop(tx);
    assert_eq!(house.find(new.session_id).await, None);
}

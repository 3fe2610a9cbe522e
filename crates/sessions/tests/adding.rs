//! Adding messages and counting them.

use kernel::{FreeForm, Ids, Scope, Usd};
use pg::{DbError, Tx};
use sessions::{ImportanceScore, Message, MessageStatus, NewMessage, Role, Session, SessionRefusal, Status};
use testkit::{instant, user};
use time::Duration;

use crate::support::{House, foreign, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_whole_and_counted() {
    let house = House::build().await;
    let session = house.session(&user("auth0|test123")).await;
    house.clock.advance(Duration::MINUTE);
    let later = instant() + Duration::MINUTE;
    let new = NewMessage {
        role: Role::Tool,
        content: "Sure, I can help you 你好 \u{1f600}".to_owned(),
        message_type: "tool_result".to_owned(),
        tokens_used: 12,
        cost_usd: "0.002".parse().unwrap(),
        tool_calls: Some(FreeForm::array(r#"[{"id":"call_1","n":1.50}]"#).unwrap()),
        tool_call_id: Some("call_1".to_owned()),
        message_metadata: FreeForm::object(r#"{"model":"x"}"#).unwrap(),
        is_summary_candidate: false,
        importance_score: ImportanceScore::try_from(0.1).unwrap(),
        ..house.message(&session)
    };
    let message = house.add(std::slice::from_ref(&new)).await.remove(0).unwrap();
    assert_eq!(
        message,
        Message {
            id: message.id,
            message_id: new.message_id,
            session_id: session.session_id,
            user_id: session.user_id.clone(),
            seq: 1,
            message_type: new.message_type,
            role: Role::Tool,
            content: new.content,
            tool_calls: Some(FreeForm::stored(r#"[{"n": 1.50, "id": "call_1"}]"#.to_owned())),
            tool_call_id: new.tool_call_id,
            message_metadata: FreeForm::stored(r#"{"model": "x"}"#.to_owned()),
            tokens_used: 12,
            cost_usd: new.cost_usd,
            is_summary_candidate: false,
            importance_score: new.importance_score,
            status: MessageStatus::Completed,
            created_at: later,
            updated_at: later,
        }
    );
    assert_eq!(house.messages(&session).await, [message]);
    let expected = Session {
        message_count: 1,
        total_tokens: 12,
        total_cost: Usd::from_nano(2_000_000),
        last_activity: later,
        updated_at: later,
        ..session
    };
    assert_eq!(house.find(expected.session_id).await, Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_speak_in_every_status() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let mut count = 0;
    for status in Status::ALL {
        house.set_status(session.session_id, &Scope::Any, *status).await.unwrap();
        for role in Role::ALL {
            let new = NewMessage { role: *role, ..house.message(&session) };
            count += 1;
            let message = house.add(&[new]).await.remove(0).unwrap();
            assert_eq!((message.role, message.seq), (*role, count));
        }
        assert_eq!(house.find(session.session_id).await.unwrap().status, *status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_adds_to_the_session_of_a_user() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let new = house.message_to(session.session_id, Scope::Any);
    let message = house.add(&[new]).await.remove(0).unwrap();
    assert_eq!(message.user_id, session.user_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_change_nothing() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    house.clock.advance(Duration::MINUTE);
    let outsider = house.message_to(session.session_id, Scope::Own(user("auth0|b")));
    let unknown = house.message_to(house.ids.uuid(), Scope::Any);
    let unknown_id = unknown.session_id;
    assert_eq!(house.add(&[outsider, unknown]).await, [Err(foreign(&session)), Err(not_found(unknown_id))]);
    assert_eq!(house.add(&[]).await, []);
    assert_eq!(house.messages(&session).await, []);
    assert_eq!(house.find(session.session_id).await, Some(session));
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_that_cannot_be_counted_are_refused() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let with = |tokens_used, cost_nano| NewMessage {
        tokens_used,
        cost_usd: Usd::from_nano(cost_nano),
        ..house.message(&session)
    };
    let refused =
        |field| Err(SessionRefusal::TotalTooLarge { session_id: session.session_id.to_string(), field });
    let outcomes = house.add(&[with(1, i64::MAX), with(1, 1), with(i64::MAX, 0), with(2, 0)]).await;
    assert_eq!(outcomes[0].as_ref().unwrap().seq, 1);
    assert_eq!(outcomes[1], refused("cost_usd"));
    assert_eq!(outcomes[2], refused("tokens_used"));
    assert_eq!(outcomes[3].as_ref().unwrap().seq, 2);
    let after = house.find(session.session_id).await.unwrap();
    assert_eq!((after.message_count, after.total_tokens), (2, 3));
    assert_eq!(after.total_cost, Usd::from_nano(i64::MAX));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_does_not_disturb_the_order() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    for minutes in [10, -60, 5, 120] {
        house.clock.advance(Duration::minutes(minutes));
        house.add(&[house.message(&session)]).await.remove(0).unwrap();
    }
    let offsets: Vec<_> = house
        .messages(&session)
        .await
        .into_iter()
        .map(|message| (message.created_at - instant()).whole_minutes())
        .collect();
    assert_eq!(offsets, [10, 10, 10, 75]);
    let after = house.find(session.session_id).await.unwrap();
    assert_eq!(after.last_activity, instant() + Duration::minutes(75));
    assert_eq!(after.updated_at, after.last_activity);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_must_check_is_refused_by_the_database() {
    let house = House::build().await;
    let session = house.session(&user("auth0|a")).await;
    let first = house.message(&session);
    house.add(std::slice::from_ref(&first)).await.remove(0).unwrap();
    let before = house.find(session.session_id).await;
    let base = || house.message(&session);
    for (constraint, new) in [
        ("messages_tokens_used_check", NewMessage { tokens_used: -1, ..base() }),
        ("messages_cost_usd_check", NewMessage { cost_usd: Usd::from_nano(-1), ..base() }),
        ("messages_message_type_check", NewMessage { message_type: "x".repeat(21), ..base() }),
        (
            "messages_content_check",
            NewMessage { content: "x".repeat(sessions::CONTENT_BYTES_MAX + 1), ..base() },
        ),
        ("messages_tool_calls_check", NewMessage { tool_calls: Some(FreeForm::empty()), ..base() }),
        ("messages_message_id_key", NewMessage { message_id: first.message_id, ..base() }),
    ] {
        let mut tx = Tx::begin(house.pool()).await.unwrap();
        let error = sessions::add_messages(&mut tx, &house.clock, &[new]).await.unwrap_err();
        assert!(
            matches!(&error, DbError::Constraint { constraint: found, .. } if found == constraint),
            "{constraint}: {error:?}"
        );
    }
    assert_eq!(house.find(session.session_id).await, before);
}

//! Event ids of users and of services: neither uses up those of the other class.

use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use kernel::{CallerClass, FreeForm};
use testkit::{TestDb, clock, user};
use time::Duration;
use usage::{Correction, NewRecord, Outcome, RecordFilter, Replay, UsageInput, UsageRefusal};

use crate::support::{all, correct, database, try_record};

fn said(by: CallerClass, id: &str, tokens: i64) -> UsageInput {
    UsageInput {
        recorded_by: by,
        event_id: Some(id.to_owned()),
        tokens_used: Some(tokens),
        ..UsageInput::new(user("a"), "ai_chat")
    }
}

fn event(by: CallerClass, id: &str, tokens: i64) -> NewRecord {
    said(by, id, tokens).complete()
}

async fn send(db: &TestDb, new: &[NewRecord]) -> Vec<Outcome> {
    try_record(db.pool(), &clock(), new).await.unwrap()
}

fn replay(outcome: &Outcome) -> Option<Replay> {
    outcome.as_ref().ok().map(|done| done.replay)
}

const BY: [CallerClass; 2] = [CallerClass::User, CallerClass::Service];

/// As earlier versions wrote it.
const FORGET_CLASSES: &str =
    "UPDATE usage.dedupe SET caller = NULL; UPDATE usage.records SET recorded_by = NULL";

#[tokio::test]
async fn each_class_has_its_own_ids_in_and_across_batches() {
    let db = database().await;
    let [by_user, by_service] = BY;
    let batch = [
        event(by_user, "e1", 1),
        event(by_service, "e1", 2),
        event(by_service, "e2", 2),
        event(by_user, "e2", 1),
        event(by_user, "e1", 1),
    ];
    let first = send(&db, &batch).await;
    let replays: Vec<_> = first.iter().map(replay).collect();
    let new = Some(Replay::First);
    assert_eq!(replays, [new, new, new, new, Some(Replay::ByEvent)]);
    assert_eq!(
        send(&db, &[event(by_service, "e3", 2)])
            .await
            .iter()
            .map(replay)
            .collect::<Vec<_>>(),
        [new]
    );
    assert_eq!(
        send(&db, &[event(by_user, "e3", 1)])
            .await
            .iter()
            .map(replay)
            .collect::<Vec<_>>(),
        [new]
    );
    for (by, tokens) in [(by_user, 1), (by_service, 2)] {
        for id in ["e1", "e2", "e3"] {
            let again = send(&db, &[event(by, id, tokens), event(by, id, 9)]).await;
            let known = again[0].as_ref().unwrap();
            assert_eq!(
                (known.replay, known.record.recorded_by),
                (Replay::ByEvent, Some(by))
            );
            assert!(matches!(again[1], Err(UsageRefusal::UsageConflict { .. })));
        }
    }
    let records = all(&db, &user("a"), &RecordFilter::default(), 10).await;
    assert_eq!(records.len(), 6);
    // A record is taken back once, whichever table has its id.
    for record in records {
        let correction = Correction {
            user_id: user("a"),
            record_id: record.id,
            reason: "wrong".to_owned(),
            replacement: None,
        };
        let done = correct(&db, &clock(), &correction).await.unwrap();
        assert_eq!(done.correction.recorded_by, record.recorded_by);
        let again = correct(&db, &clock(), &correction).await;
        assert_eq!(again, Err(UsageRefusal::AlreadyCorrected { id: record.id }));
    }
}

#[tokio::test]
async fn stored_ids_count_for_any_class_by_what_was_said() {
    let db = database().await;
    let [by_user, by_service] = BY;
    let mut stored = send(&db, &[event(by_service, "e1", 1)])
        .await
        .remove(0)
        .unwrap()
        .record;
    db.connect().await.batch_execute(FORGET_CLASSES).await.unwrap();
    stored.recorded_by = None;
    for by in BY {
        let again = send(&db, &[event(by, "e1", 1)]).await.remove(0).unwrap();
        assert_eq!((again.replay, &again.record), (Replay::ByEvent, &stored));
    }
    // For another event the id is free, to each class once.
    for (by, tokens) in [(by_user, 2), (by_service, 3)] {
        let outcomes = send(
            &db,
            &[
                event(by, "e1", tokens),
                event(by, "e1", tokens),
                event(by, "e1", 9),
            ],
        )
        .await;
        assert_eq!(
            (replay(&outcomes[0]), replay(&outcomes[1])),
            (Some(Replay::First), Some(Replay::ByEvent))
        );
        assert!(outcomes[2].is_err());
    }
    let again = send(&db, &[event(by_user, "e1", 1)]).await.remove(0).unwrap();
    assert_eq!(again.record, stored);
}

#[tokio::test]
async fn an_empty_object_was_another_event_to_earlier_versions_only() {
    let db = database().await;
    let with = |object: Option<&str>| {
        let request_data = object.map(|text| FreeForm::object(text).unwrap());
        UsageInput {
            request_data,
            ..said(CallerClass::Service, "e1", 1)
        }
        .complete()
    };
    // What such a version stored of an empty object.
    let former = with(Some("{}"));
    let payload = former.event.as_ref().unwrap().former.clone();
    let stored = payload.into_iter().map(|payload| {
        let mut record = former.clone();
        record.event.as_mut().unwrap().payload = payload;
        record
    });
    for one in stored {
        send(&db, &[one]).await.remove(0).unwrap();
        db.connect().await.batch_execute(FORGET_CLASSES).await.unwrap();
        for object in [None, Some("{}"), Some("{ }")] {
            assert_eq!(
                replay(&send(&db, &[with(object)]).await[0]),
                Some(Replay::ByEvent)
            );
        }
        let full = send(&db, &[with(Some(r#"{"a":1}"#))]).await;
        assert_eq!(replay(&full[0]), Some(Replay::First));
        let clear = "TRUNCATE usage.dedupe, usage.dedupe_shared; UPDATE usage.records SET event_id = NULL";
        db.connect().await.batch_execute(clear).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_classes_at_once_record_once_each() {
    let db = database().await;
    let (one, two) = (db.pool_of(5), db.pool_of(5));
    for round in 0..4 {
        let tasks = (0..20_usize).map(|number| {
            let pool = if number % 2 == 0 { one.clone() } else { two.clone() };
            let by = BY[(number / 2) % 2];
            let new: Vec<NewRecord> = (0..3).map(|id| event(by, &format!("{round}-{id}"), 1)).collect();
            tokio::spawn(async move { try_record(&pool, &clock(), &new).await.unwrap() })
        });
        let outcomes = join_all(tasks).await.into_iter().flat_map(Result::unwrap);
        let first = outcomes.filter(|outcome| replay(outcome) == Some(Replay::First));
        assert_eq!(first.count(), 6);
    }
}

#[tokio::test]
async fn ids_of_both_classes_are_forgotten_with_their_months() {
    let db = database().await;
    let at = clock();
    send(&db, &BY.map(|by| event(by, "e1", 1))).await;
    at.advance(Duration::days(400));
    usage::create_months(db.pool(), &at, 0).await.unwrap();
    let retained = usage::retain(db.pool(), &at, 6).await.unwrap();
    assert_eq!(retained.forgotten, 2);
}

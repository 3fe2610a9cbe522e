//! Event ids of users and of services: neither uses up those of the other class.

use futures_util::future::join_all;
use kernel::{CallerClass, FreeForm};
use testkit::{TestDb, clock, user};
use time::Duration;
use usage::{NewRecord, Outcome, RecordFilter, Replay, UsageInput, UsageRefusal};

use crate::support::{Correction, all, correct, database, try_record};

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
    assert_eq!(send(&db, &[event(by_service, "e3", 2)]).await.iter().map(replay).collect::<Vec<_>>(), [new]);
    assert_eq!(send(&db, &[event(by_user, "e3", 1)]).await.iter().map(replay).collect::<Vec<_>>(), [new]);
    for (by, tokens) in [(by_user, 1), (by_service, 2)] {
        for id in ["e1", "e2", "e3"] {
            let again = send(&db, &[event(by, id, tokens), event(by, id, 9)]).await;
            let known = again[0].as_ref().unwrap();
            assert_eq!((known.replay, known.record.recorded_by), (Replay::ByEvent, Some(by)));
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
    let mut stored = send(&db, &[event(by_service, "e1", 1)]).await.remove(0).unwrap().record;
    db.run(FORGET_CLASSES).await;
    stored.recorded_by = None;
    for by in BY {
        let again = send(&db, &[event(by, "e1", 1)]).await.remove(0).unwrap();
        assert_eq!((again.replay, &again.record), (Replay::ByEvent, &stored));
    }
    // For another event the id is free, to each class once.
    for (by, tokens) in [(by_user, 2), (by_service, 3)] {
        let outcomes =
            send(&db, &[event(by, "e1", tokens), event(by, "e1", tokens), event(by, "e1", 9)]).await;
        assert_eq!(
            (replay(&outcomes[0]), replay(&outcomes[1])),
            (Some(Replay::First), Some(Replay::ByEvent))
        );
        assert!(outcomes[2].is_err());
    }
    let again = send(&db, &[event(by_user, "e1", 1)]).await.remove(0).unwrap();
    assert_eq!(again.record, stored);
}

/// Hash that earlier versions stored of an event with such `request_data`, and the repeats that are recognized.
const STORED: [(&str, &str, &[Option<&str>]); 3] = [
    (
        "absent",
        "633e0bb8e699b94f469a265ccee22042e79369bee19cc56d09db1200e01e49ff",
        &[None, Some("{}"), Some("{ }")],
    ),
    (
        "{}",
        "7500fc64834f432a0daac3818b3772cba4997f83625b52e5e871ca4366fa57c3",
        &[None, Some("{}"), Some("{ }")],
    ),
    ("{ }", "1a1554f18af4bd411ee4beaf04b4a8d711c2c4a0c1390ceef3a9297618a260a5", &[Some("{ }")]),
];

#[tokio::test]
async fn an_empty_object_was_another_event_to_earlier_versions_only() {
    let db = database().await;
    for (written, payload, repeats) in STORED {
        let with = |object: Option<&str>| {
            let request_data = object.map(|text| FreeForm::object(text).unwrap());
            let said = said(CallerClass::Service, written, 1);
            UsageInput { request_data, ..said }.complete()
        };
        send(&db, &[with(None)]).await.remove(0).unwrap();
        let store = format!(
            "UPDATE usage.dedupe SET caller = NULL, payload = '\\x{payload}' WHERE event_id = '{written}'; \
             UPDATE usage.records SET recorded_by = NULL WHERE event_id = '{written}'"
        );
        db.run(&store).await;
        for object in repeats {
            let again = send(&db, &[with(*object)]).await;
            assert_eq!(replay(&again[0]), Some(Replay::ByEvent), "{written:?} {object:?}");
        }
        let full = send(&db, &[with(Some(r#"{"a":1}"#))]).await;
        assert_eq!(replay(&full[0]), Some(Replay::First));
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

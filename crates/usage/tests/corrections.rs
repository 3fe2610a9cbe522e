//! Taking records back.

use kernel::{Credits, CreditsSum, FreeForm};
use testkit::{TestDb, clock, user};
use time::Duration;
use usage::{NewRecord, Record, RecordFilter, Stats, UsageInput, UsageRefusal};

use crate::support::{Correction, all, correct, database, event, record, stats, try_record};

fn priced() -> NewRecord {
    UsageInput {
        event_id: Some("e1".to_owned()),
        model_name: Some("gpt-4".to_owned()),
        session_id: Some("s".to_owned()),
        credits_charged: Some("5.5".parse().unwrap()),
        cost_usd: Some("0.011".parse().unwrap()),
        prompt_tokens: Some(800),
        completion_tokens: Some(450),
        ..UsageInput::new(user("a"), "ai_chat")
    }
    .complete()
}

fn of(record: &Record, replacement: Option<NewRecord>) -> Correction {
    Correction {
        user_id: record.user_id.clone(),
        record_id: record.id,
        reason: "wrong \"model\"".to_owned(),
        replacement,
    }
}

async fn sums(db: &TestDb) -> Stats {
    stats(db, &user("a"), &RecordFilter::default()).await
}

#[tokio::test]
async fn a_record_and_its_correction_are_nothing() {
    let db = database().await;
    let stored = record(&db, &clock(), &[priced()]).await.remove(0);
    let later = clock();
    later.advance(Duration::days(40));
    let done = correct(&db, &later, &of(&stored, None)).await.unwrap();
    assert_eq!(done.original, stored);
    let negative = &done.correction;
    assert_eq!((negative.correction_of, negative.occurred_at), (Some(stored.id), stored.occurred_at));
    assert_eq!(negative.credits_charged, Credits::from_micro(-5_500_000));
    assert_eq!((negative.tokens_used, negative.prompt_tokens), (-1250, -800));
    assert_eq!(negative.billing_metadata, FreeForm::of_texts([("reason", "wrong \"model\"")]));
    assert_eq!(sums(&db).await, Stats::default());
    let listed = all(&db, &user("a"), &RecordFilter::default(), 10).await;
    let ids: Vec<i64> = listed.iter().map(|one| one.id).collect();
    assert_eq!(ids, [negative.id, stored.id]);
    assert_eq!(listed[0].credits_charged, negative.credits_charged);
}

#[tokio::test]
async fn a_replacement_stands_where_the_record_stood() {
    let db = database().await;
    let stored = record(&db, &clock(), &[priced()]).await.remove(0);
    let later = clock();
    later.advance(Duration::days(40));
    let instead = NewRecord { credits_charged: "2.5".parse().unwrap(), ..event(&user("nobody")) };
    let done = correct(&db, &later, &of(&stored, Some(instead))).await.unwrap();
    let replacement = done.replacement.unwrap();
    assert_eq!((&replacement.user_id, replacement.occurred_at), (&stored.user_id, stored.occurred_at));
    let now = sums(&db).await;
    assert_eq!((now.total_records, now.total_credits_charged), (1, CreditsSum::from_micro(2_500_000)));
    // What was recorded in its stead is a record like any other.
    correct(&db, &later, &of(&replacement, None)).await.unwrap();
    assert_eq!(sums(&db).await, Stats::default());
}

#[tokio::test]
async fn what_cannot_be_corrected_is_refused_and_leaves_no_trace() {
    let db = database().await;
    let stored = record(&db, &clock(), &[priced()]).await.remove(0);
    let (id, before) = (stored.id, sums(&db).await);
    let foreign = Correction { user_id: user("b"), ..of(&stored, None) };
    let missing = Err(UsageRefusal::UsageRecordNotFound { id });
    assert_eq!(correct(&db, &clock(), &foreign).await, missing);

    // The event id is taken, by the very record; the claim of the correction is given up again.
    let taken = Err(UsageRefusal::UsageConflict { event_id: "e1".to_owned() });
    let same_event = of(&stored, Some(priced()));
    assert_eq!(correct(&db, &clock(), &same_event).await, taken);
    let early = NewRecord { occurred_at: Some(testkit::instant() - Duration::days(36)), ..event(&user("a")) };
    let refused = correct(&db, &clock(), &of(&stored, Some(early))).await;
    assert!(matches!(refused, Err(UsageRefusal::TimestampOutOfRange { .. })));
    assert_eq!(sums(&db).await, before);

    let done = correct(&db, &clock(), &of(&stored, None)).await.unwrap();
    let again = correct(&db, &clock(), &of(&stored, None)).await;
    assert_eq!(again, Err(UsageRefusal::AlreadyCorrected { id }));
    // Not even together with a new event, whose id stays free.
    let fresh = UsageInput { event_id: Some("e2".to_owned()), ..UsageInput::new(user("a"), "ai_chat") };
    let again = correct(&db, &clock(), &of(&stored, Some(fresh.clone().complete()))).await;
    assert_eq!(again, Err(UsageRefusal::AlreadyCorrected { id }));
    let free = try_record(db.pool(), &clock(), &[fresh.complete()]).await.unwrap();
    assert!(free[0].is_ok());
    let id = done.correction.id;
    let negative = correct(&db, &clock(), &of(&done.correction, None)).await;
    assert_eq!(negative, Err(UsageRefusal::AlreadyCorrected { id }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_corrections_of_one_record_take_it_back_once() {
    let db = std::sync::Arc::new(database().await);
    let stored = record(&db, &clock(), &[priced()]).await.remove(0);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (db, correction) = (db.clone(), of(&stored, None));
            tokio::spawn(async move { correct(&db, &clock(), &correction).await.is_ok() })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += usize::from(task.await.unwrap());
    }
    assert_eq!(done, 1);
    assert_eq!(sums(&db).await, Stats::default());
}

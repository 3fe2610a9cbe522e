//! Events that are sent more than once, at any time, from anywhere.

use std::collections::BTreeSet;

use diesel_async::SimpleAsyncConnection;
use kernel::Clock;
use pg::{Pool, Tx};
use testkit::{TestDb, clock, instant, user};
use time::Duration;
use usage::{NewRecord, Outcome, RecordFilter, Replay, UsageInput, UsageRefusal};

use crate::support::{all, database, event, try_record};

fn named(name: &str, id: &str, tokens: i64) -> NewRecord {
    UsageInput {
        event_id: Some(id.to_owned()),
        tokens_used: Some(tokens),
        ..UsageInput::new(user(name), "ai_chat")
    }
    .complete()
}

fn conflict(id: &str) -> Outcome {
    Err(UsageRefusal::UsageConflict { event_id: id.to_owned() })
}

async fn send(db: &TestDb, new: &[NewRecord]) -> Vec<Outcome> {
    try_record(db.pool(), &clock(), new).await.unwrap()
}

#[tokio::test]
async fn a_repeat_is_answered_with_the_first_record_and_changes_nothing() {
    let db = database().await;
    let first = send(&db, &[named("a", "e1", 7)]).await.remove(0).unwrap();
    assert_eq!(first.replay, Replay::First);
    assert_eq!(first.record.event_id.as_deref(), Some("e1"));

    let again = send(&db, &[named("a", "e1", 7)]).await.remove(0).unwrap();
    assert_eq!((again.replay, &again.record), (Replay::ByEvent, &first.record));
    assert_eq!(send(&db, &[named("a", "e1", 8)]).await, [conflict("e1")]);
    // Another user's event of the same id is another event.
    let other = send(&db, &[named("b", "e1", 8)]).await.remove(0).unwrap();
    assert_eq!(other.replay, Replay::First);
    assert_eq!(all(&db, &user("a"), &RecordFilter::default(), 10).await, [first.record]);
}

#[tokio::test]
async fn a_batch_knows_its_own_repeats_and_those_of_before() {
    let (batch, single) = (database().await, database().await);
    let earlier = [named("a", "known", 1)];
    let new = [
        named("a", "new", 1),
        named("a", "new", 1),
        named("a", "new", 2),
        event(&user("a")),
        named("a", "known", 2),
        named("a", "known", 1),
        named("b", "new", 2),
        named("a", "correction:7", 2),
    ];
    send(&batch, &earlier).await;
    send(&single, &earlier).await;
    let at_once = send(&batch, &new).await;
    let mut one_by_one = Vec::new();
    for one in &new {
        one_by_one.extend(send(&single, std::slice::from_ref(one)).await);
    }
    let replays = |outcomes: &[Outcome]| -> Vec<Result<(Replay, i64), UsageRefusal>> {
        let shape = |outcome: &Outcome| {
            outcome.as_ref().map(|done| (done.replay, done.record.tokens_used)).map_err(Clone::clone)
        };
        outcomes.iter().map(shape).collect()
    };
    assert_eq!(replays(&at_once), replays(&one_by_one));
    let reserved = UsageRefusal::ReservedEventId { event_id: "correction:7".to_owned() };
    assert_eq!(
        replays(&at_once),
        [
            Ok((Replay::First, 1)),
            Ok((Replay::ByEvent, 1)),
            Err(UsageRefusal::UsageConflict { event_id: "new".to_owned() }),
            Ok((Replay::First, 0)),
            Err(UsageRefusal::UsageConflict { event_id: "known".to_owned() }),
            Ok((Replay::ByEvent, 1)),
            Ok((Replay::First, 2)),
            Err(reserved),
        ]
    );
    let ids: BTreeSet<i64> = at_once.iter().flatten().map(|done| done.record.id).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(all(&batch, &user("a"), &RecordFilter::default(), 10).await.len(), 3);
}

#[tokio::test]
async fn times_are_kept_and_those_out_of_range_refused_alone() {
    let db = database().await;
    let at = |offset: Duration| {
        let input =
            UsageInput { occurred_at: Some(instant() + offset), ..UsageInput::new(user("a"), "ai_chat") };
        input.complete()
    };
    let outcomes = send(
        &db,
        &[
            at(Duration::days(-36)),
            at(Duration::days(-35)),
            at(Duration::minutes(5)),
            at(Duration::minutes(6)),
        ],
    )
    .await;
    let refusal = Err(UsageRefusal::TimestampOutOfRange {
        earliest: instant() - Duration::days(35),
        latest: instant() + Duration::minutes(5),
    });
    assert_eq!((&outcomes[0], &outcomes[3]), (&refusal, &refusal));
    let listed = all(&db, &user("a"), &RecordFilter::default(), 10).await;
    let times: Vec<_> = listed.iter().map(|one| one.occurred_at).collect();
    assert_eq!(times, [instant() + Duration::minutes(5), instant() - Duration::days(35)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_of_one_event_in_two_processes_record_it_once() {
    let db = database().await;
    let pools = [db.pool().clone(), db.second_pool()];
    for round in 0..5 {
        let senders: Vec<_> = (0..12)
            .map(|n| {
                let pool = pools[n % 2].clone();
                tokio::spawn(async move {
                    // Batches that overlap in opposite orders.
                    let mut new: Vec<NewRecord> =
                        (0..4).map(|k| named("a", &format!("{round}-{k}"), 1)).collect();
                    new.push(event(&user("a")));
                    if n % 3 == 0 {
                        new.reverse();
                    }
                    try_record(&pool, &clock(), &new).await.unwrap()
                })
            })
            .collect();
        let mut firsts = 0;
        let mut ids = BTreeSet::new();
        for sender in senders {
            for done in sender.await.unwrap().into_iter().flatten() {
                if done.record.event_id.is_some() {
                    firsts += usize::from(done.replay == Replay::First);
                    ids.insert(done.record.id);
                }
            }
        }
        assert_eq!((firsts, ids.len()), (4, 4));
    }
    let all = all(&db, &user("a"), &RecordFilter::default(), 500).await;
    assert_eq!(all.len(), 5 * (4 + 12));
}

#[tokio::test]
async fn an_event_that_was_rolled_back_can_be_recorded() {
    let db = database().await;
    let mut tx = Tx::begin(db.pool()).await.unwrap();
    usage::record(&mut tx, &clock(), &[named("a", "e1", 1)]).await.unwrap();
    let pool: Pool = db.second_pool();
    let waiting = tokio::spawn(async move { try_record(&pool, &clock(), &[named("a", "e1", 2)]).await });
    let mut watcher = db.connect().await;
    waits_for_a_lock(&mut watcher).await;
    tx.rollback().await;
    let recorded = waiting.await.unwrap().unwrap().remove(0).unwrap();
    assert_eq!((recorded.replay, recorded.record.tokens_used), (Replay::First, 2));
}

/// Until a session of this database waits for another one, at most for a second.
async fn waits_for_a_lock(conn: &mut pg::PgConnection) {
    conn.batch_execute(
        "DO $$ BEGIN
            FOR look IN 1..1000 LOOP
                PERFORM pg_stat_clear_snapshot();
                IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
                THEN RETURN; END IF;
                PERFORM pg_sleep(0.001);
            END LOOP;
            RAISE EXCEPTION 'nobody waits';
        END $$",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_time_in_another_offset_is_answered_as_it_will_be_read() {
    let db = database().await;
    let local = instant().checked_to_offset(time::macros::offset!(+5:45)).unwrap();
    let input = UsageInput {
        event_id: Some("e1".to_owned()),
        occurred_at: Some(local),
        ..UsageInput::new(user("a"), "ai_chat")
    };
    let first = send(&db, &[input.clone().complete()]).await.remove(0).unwrap();
    let again = send(&db, &[input.complete()]).await.remove(0).unwrap();
    assert_eq!(first.record, again.record);
    assert_eq!(first.record.occurred_at.offset(), clock().now().offset());
}

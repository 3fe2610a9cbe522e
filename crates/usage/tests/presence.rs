//! Who was there: counted alike whether or not a worker has noted it.

use kernel::{Clock, UserId};
use testkit::{TestDb, audit_now, clock, user};
use time::Duration;
use usage::{NewRecord, Point, Selection, SeriesQuery, TopQuery, Unit, UsageInput, Users, Zone};

use crate::support::{Correction, correct, database, record};

/// How many came and are still to be noted.
async fn coming(db: &TestDb) -> i64 {
    db.ask("SELECT count(*) FROM usage.presence_deltas").await
}

async fn fold(db: &TestDb, rows_max: i64) -> i64 {
    let mut conn = db.pool().get().await.unwrap();
    usage::fold_presence(&mut conn, rows_max).await.unwrap()
}

fn events(users: impl IntoIterator<Item = UserId>, clock: &dyn Clock) -> Vec<NewRecord> {
    let event = |user| {
        UsageInput {
            occurred_at: Some(clock.now()),
            credits_charged: Some("1".parse().unwrap()),
            ..UsageInput::new(user, "ai_chat")
        }
        .complete()
    };
    users.into_iter().map(event).collect()
}

/// Who was active in each of the last three hours, the present one the last of them, and in all.
async fn active(db: &TestDb, clock: &dyn Clock) -> (Vec<i64>, i64) {
    let end = clock.now() + Duration::hours(1);
    let asked = TopQuery {
        series: SeriesQuery {
            start: end - Duration::hours(3),
            end,
            unit: Unit::Hour,
            zone: Zone::utc(),
            group_by: [].into(),
            only: Selection::default(),
        },
        lines_max: 5,
        users: Users::Counted,
    };
    let mut conn = db.pool().get().await.unwrap();
    let line = usage::series_top(&mut conn, &asked).await.unwrap().unwrap().series.lines.remove(0);
    let count = |point: &Point| point.active_users;
    (line.points.iter().map(count).collect(), count(&line.total))
}

#[tokio::test]
async fn notes_are_added_in_steps_and_nobody_sees_a_difference() {
    let (db, clock) = (database().await, clock());
    let three = ["a", "b", "c"].map(user);
    record(&db, &clock, &events(three.clone(), &clock)).await;
    clock.advance(Duration::hours(1));
    let rows = record(&db, &clock, &events(["b", "d"].map(user), &clock)).await;
    let expected = (vec![0, 3, 2], 4);
    assert_eq!((active(&db, &clock).await, coming(&db).await), (expected.clone(), 5));
    // Who is there already leaves no note.
    record(&db, &clock, &events(["b", "b", "d"].map(user), &clock)).await;
    assert_eq!((active(&db, &clock).await, coming(&db).await), (expected.clone(), 5));
    for (folded, left) in [(2, 3), (2, 1), (1, 0), (0, 0)] {
        assert_eq!((fold(&db, 2).await, coming(&db).await), (folded, left));
        assert_eq!(active(&db, &clock).await, expected);
        audit_now(&db);
    }
    // A user was there, whatever becomes of what they did.
    let wrong = Correction {
        user_id: user("d"),
        record_id: rows[1].id,
        reason: "wrong".to_owned(),
        replacement: None,
    };
    correct(&db, &clock, &wrong).await.unwrap();
    assert_eq!((active(&db, &clock).await, coming(&db).await), (expected, 0));
    // Of the known and of the new, noted and not, each once.
    record(&db, &clock, &events(["a", "e", "f"].map(user), &clock)).await;
    assert_eq!(active(&db, &clock).await, (vec![0, 3, 5], 6));
    assert_eq!(fold(&db, 1).await, 1);
    record(&db, &clock, &events(["e", "g"].map(user), &clock)).await;
    assert_eq!(active(&db, &clock).await, (vec![0, 3, 6], 7));
}

#[tokio::test]
async fn more_users_than_one_set_holds_are_counted() {
    let (db, clock) = (database().await, clock());
    let name = |n: i64| user(&format!("user-{n:04}"));
    for hour in [0..1_100, 1_000..2_100] {
        let new = events(hour.map(name), &clock);
        for part in new.chunks(550) {
            record(&db, &clock, part).await;
        }
        clock.advance(Duration::hours(1));
    }
    let expected = (vec![1_100, 1_100, 0], 2_100);
    assert_eq!(active(&db, &clock).await, expected);
    assert_eq!(fold(&db, 1_500).await, 1_500);
    assert_eq!(active(&db, &clock).await, expected);
    assert_eq!((fold(&db, 1_500).await, coming(&db).await), (700, 0));
    assert_eq!(active(&db, &clock).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_at_once_give_each_user_one_number() {
    let (db, clock) = (database().await, clock());
    let recorder = {
        let (pool, clock) = (db.second_pool(), clock.clone());
        tokio::spawn(async move {
            for n in 0..40 {
                let new = events([n, n / 2, 100 + n].map(|n| user(&format!("user-{n}"))), &clock);
                crate::support::try_record(&pool, &clock, &new).await.unwrap();
            }
        })
    };
    let folders = [(); 3].map(|()| {
        let pool = db.second_pool();
        tokio::spawn(async move {
            let mut conn = pool.get().await.unwrap();
            for _ in 0..60 {
                usage::fold_presence(&mut conn, 4).await.unwrap();
            }
        })
    });
    recorder.await.unwrap();
    for folder in folders {
        folder.await.unwrap();
    }
    let (active_hours, all) = active(&db, &clock).await;
    assert_eq!((active_hours[2], all), (80, 80));
    while fold(&db, 1_000).await > 0 {}
    assert_eq!((active(&db, &clock).await.1, coming(&db).await), (80, 0));
}

/// What the planner expects of a queue is what it saw last: nothing, as a rule. To compare 100,000 rows with 2,000 takes longer
/// than a statement may.
#[tokio::test]
async fn a_long_queue_is_worked_off_by_a_plan_that_was_made_for_an_empty_one() {
    let (db, clock) = (database().await, clock());
    record(&db, &clock, &events([user("a")], &clock)).await;
    let mut conn = db.pool().get().await.unwrap();
    let run = async |conn: &mut pg::PgConnection, sql: &str| {
        diesel_async::SimpleAsyncConnection::batch_execute(conn, sql).await.unwrap();
    };
    for _ in 0..2 {
        usage::fold_presence(&mut conn, 2_000).await.unwrap();
        usage::fold_deltas(&mut conn, 2_000).await.unwrap();
        run(&mut conn, "VACUUM ANALYZE usage.presence_deltas").await;
        run(&mut conn, "VACUUM ANALYZE usage.rollup_deltas").await;
    }
    run(
        &mut conn,
        "INSERT INTO usage.presence_deltas (user_id, bucket, event_type, model, provider, tool)
         SELECT 'user-' || n % 3000, '2026-01-15 12:00Z', 'x', '', '', '' FROM generate_series(1, 100000) AS n;
         INSERT INTO usage.rollup_deltas (bucket, event_type, model, provider, tool, part, records, tokens_used,
                                          prompt_tokens, completion_tokens, credits_charged, credits_deducted, cost_usd)
         SELECT '2026-01-15 12:00Z', 'x', '', '', '', 0, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 100000)",
    )
    .await;
    for _ in 0..2 {
        assert_eq!(usage::fold_presence(&mut conn, 2_000).await.unwrap(), 2_000);
        assert_eq!(usage::fold_deltas(&mut conn, 2_000).await.unwrap(), 2_000);
    }
    // Nobody of them has records, which the audits would find.
    run(
        &mut conn,
        "DELETE FROM usage.presence WHERE event_type = 'x';
         DELETE FROM usage.rollups_all WHERE event_type = 'x';
         DELETE FROM usage.rollups_all_hours WHERE event_type = 'x'",
    )
    .await;
}

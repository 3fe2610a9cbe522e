//! The audit by ranges: each drift is found and named, whatever the size of the ranges, and nothing else.

use kernel::{Clock, ManualClock};
use pg::Pool;
use testkit::{TestDb, clock, instant, user};
use time::{Duration, OffsetDateTime, macros::datetime};
use usage::{
    NewRecord, UsageInput,
    verify::{self, Report, Verification},
};

use crate::support::{Correction, correct, database, event, record};

/// The quarter of an hour of what five users record at noon.
const NOON: OffsetDateTime = datetime!(2026-01-15 12:00 UTC);

async fn audit(pool: &Pool, records_max: i64) -> (Report, u32) {
    let (mut verification, mut steps) = (Verification::default(), 1);
    while verification.step(pool, records_max).await.unwrap() {
        steps += 1;
    }
    (verification.report().clone(), steps)
}

/// Three events of each of five users, over five days, one of them taken back; the days before noon are added up.
async fn filled() -> TestDb {
    let (db, clock) = (database().await, clock());
    for days in [4, 3, 0] {
        let new: Vec<NewRecord> = (1..=5)
            .map(|n| {
                UsageInput {
                    occurred_at: Some(clock.now() - Duration::days(days)),
                    credits_charged: Some("2.5".parse().unwrap()),
                    model_name: Some("gpt-4".to_owned()),
                    ..UsageInput::new(user(&format!("user-{n}")), "ai_chat")
                }
                .complete()
            })
            .collect();
        let stored = record(&db, &clock, &new).await;
        if days == 3 {
            let correction = Correction {
                user_id: user("user-2"),
                record_id: stored[1].id,
                reason: "wrong".to_owned(),
                replacement: None,
            };
            correct(&db, &clock, &correction).await.unwrap();
            let mut conn = db.pool().get().await.unwrap();
            usage::fold_deltas(&mut conn, 1_000).await.unwrap();
            usage::fold_presence(&mut conn, 1_000).await.unwrap();
        }
    }
    db
}

#[tokio::test]
async fn what_is_as_it_should_be_is_clean_in_ranges_of_any_size() {
    let empty = database().await;
    assert_eq!(audit(empty.pool(), 1).await, (Report::default(), 2));
    let db = filled().await;
    let clean = Report { records: 16, ..Report::default() };
    // An hour or a day is never cut, however small the range: two of each have sums, and the last has no end.
    for (records_max, steps) in [(1, 4), (6, 4), (1_000, 2)] {
        assert_eq!(audit(db.pool(), records_max).await, (clean.clone(), steps), "{records_max}");
    }
    let mut verification = Verification::default();
    while verification.advance(db.pool()).await.unwrap() {}
    assert_eq!(verification.report(), &clean);
    assert!(clean.is_clean());
    assert!(!verification.advance(db.pool()).await.unwrap(), "it stays at the end");
    assert_eq!(verification.report(), &clean);
    // As many as the sums say: what is not added up yet is not counted.
    assert_eq!(verify::records(db.pool()).await.unwrap(), 9);
}

/// A statement by hand, whose sum is then wrong, at which quarter, and a part of what is told.
const FAULTS: &[(&str, Option<&str>, OffsetDateTime, &str)] = &[
    (
        "UPDATE usage.rollups_15m SET credits_charged = credits_charged - 1 WHERE user_id = 'user-3' AND bucket >= '2026-01-15'",
        Some("user-3"),
        NOON,
        "12:00+00, ai_chat gpt-4: the roll-up has 0 records",
    ),
    (
        "UPDATE usage.rollups_15m SET credits_deducted = credits_deducted + 1 WHERE user_id = 'user-3' AND bucket >= '2026-01-15'",
        Some("user-3"),
        NOON,
        "0 credits, 0.000001 deducted and 0 USD too many",
    ),
    (
        "UPDATE usage.records SET charge_seq = 1, charge_transaction = gen_random_uuid()
         WHERE user_id = 'user-2' AND sign = 1 AND occurred_at >= '2026-01-15'",
        Some("user-2"),
        NOON,
        "-2.5 deducted",
    ),
    (
        "UPDATE usage.rollups_all SET credits_deducted = 7 WHERE bucket < '2026-01-12'",
        None,
        datetime!(2026-01-11 12:00 UTC),
        "0.000007 deducted",
    ),
    (
        "UPDATE usage.rollups_all_hours SET credits_deducted = -1 WHERE hours = 24",
        None,
        datetime!(2026-01-11 0:00 UTC),
        "the span of 24 hours has 0 records, 0 tokens, 0 credits, -0.000001 deducted",
    ),
    (
        "DELETE FROM usage.records WHERE user_id = 'user-2' AND sign = -1",
        Some("user-2"),
        datetime!(2026-01-12 12:00 UTC),
        "the roll-up has -1 records",
    ),
    (
        "INSERT INTO usage.records (id, user_id, occurred_at, recorded_at, event_type, tokens_used, prompt_tokens,
                                    completion_tokens, credits_charged, cost_usd, calculation_method, size_bytes)
         VALUES (nextval('usage.record_ids'), 'user-5', '2026-01-15 12:14:59.999999Z', now(), 'ai_chat', 0, 0, 0, 0, 1, 'x', 8)",
        Some("user-5"),
        NOON,
        "-0.000000001 USD too many",
    ),
    (
        "UPDATE usage.rollups_15m SET user_id = 'a user without records' WHERE user_id = 'user-1' AND bucket >= '2026-01-15'",
        Some("a user without records"),
        NOON,
        "1 records",
    ),
    (
        "UPDATE usage.rollups_15m SET bucket = bucket + interval '15 minutes' WHERE user_id = 'user-4' AND bucket >= '2026-01-15'",
        Some("user-4"),
        NOON,
        "-1 records",
    ),
    (
        "UPDATE usage.rollups_all SET tokens_used = tokens_used + 7 WHERE bucket < '2026-01-12'",
        None,
        datetime!(2026-01-11 12:00 UTC),
        "7 tokens",
    ),
    (
        "DELETE FROM usage.rollup_deltas WHERE id = (SELECT max(id) FROM usage.rollup_deltas)",
        None,
        NOON,
        "-5 records",
    ),
    (
        "UPDATE usage.rollups_all_hours SET cost_usd = cost_usd + 1 WHERE hours = 4 AND bucket < '2026-01-12'",
        None,
        datetime!(2026-01-11 12:00 UTC),
        "the span of 4 hours has 0 records",
    ),
    (
        "DELETE FROM usage.rollups_all_hours WHERE hours = 24",
        None,
        datetime!(2026-01-11 0:00 UTC),
        "the span of 24 hours has -5 records",
    ),
    (
        "DELETE FROM usage.presence_deltas WHERE user_id IN ('user-1', 'user-2')",
        None,
        NOON,
        "with numbers from 0 on 2 are missing and 0 have no sums",
    ),
    (
        "UPDATE usage.presence SET users = set_bit(users, 900, 1) WHERE hours = 1 AND bucket < '2026-01-12'",
        None,
        datetime!(2026-01-11 12:00 UTC),
        "with numbers from 0 on 0 are missing and 1 have no sums",
    ),
    (
        "DELETE FROM usage.user_numbers WHERE user_id = 'user-3'",
        None,
        datetime!(2026-01-11 12:00 UTC),
        "0 are missing and 1 have no sums",
    ),
    (
        "UPDATE usage.presence SET users = set_bit(users, 0, 0) WHERE hours = 24 AND bucket < '2026-01-12'",
        None,
        datetime!(2026-01-11 0:00 UTC),
        "in the span of 24 hours 1 users are missing and 0 too many",
    ),
];

#[tokio::test]
async fn each_drift_is_named_by_user_and_quarter() {
    for (statement, user_id, at, detail) in FAULTS {
        let mut db = filled().await;
        db.forgo_audits();
        db.run(statement).await;
        for records_max in [1, 1_000] {
            let (report, _) = audit(db.pool(), records_max).await;
            let first = &report.violations[0];
            assert_eq!(
                (first.user_id.as_deref(), first.at),
                (*user_id, Some(*at)),
                "{statement}: {report:?}"
            );
            assert!(first.rule.starts_with("usage U1: "), "{first:?}");
            assert!(first.detail.contains(detail), "{statement}: {first}");
            assert!(!report.is_clean());
            let whose =
                user_id.map_or("all users, usage U1".to_owned(), |user| format!("account {user}, usage U1"));
            assert!(first.to_string().starts_with(&whose), "{first}");
        }
    }
}

#[tokio::test]
async fn months_that_were_dropped_are_skipped() {
    let db = database().await;
    let clock = ManualClock::at(instant());
    record(&db, &clock, &[event(&user("a"))]).await;
    usage::create_months(db.pool(), &clock, 0).await.unwrap();
    clock.advance(Duration::days(90));
    record(&db, &clock, &[event(&user("a")), event(&user("b"))]).await;
    let dropped = usage::retain(db.pool(), &clock, 2).await.unwrap().dropped;
    assert_eq!(dropped.len(), 2, "{dropped:?}");
    let (report, _) = audit(db.pool(), 1_000).await;
    assert_eq!((report.records, report.found), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_beside_those_who_record_and_fold_finds_nothing() {
    let db = filled().await;
    let (writer, folder) = (db.second_pool(), db.second_pool());
    let writing = tokio::spawn(async move {
        for n in 0..60 {
            let mut tx = pg::Tx::begin(&writer).await.unwrap();
            let new = [event(&user(&format!("user-{}", n % 7))), event(&user("user-3"))];
            usage::record(&mut tx, &clock(), &new).await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    let folding = tokio::spawn(async move {
        let mut conn = folder.get().await.unwrap();
        for _ in 0..60 {
            usage::fold_deltas(&mut conn, 3).await.unwrap();
            usage::fold_presence(&mut conn, 3).await.unwrap();
        }
    });
    loop {
        let is_last = writing.is_finished() && folding.is_finished();
        let (report, _) = audit(db.pool(), 10).await;
        assert_eq!(report.found, 0, "{report:?}");
        if is_last {
            assert_eq!(report.records, 16 + 120);
            break;
        }
    }
    writing.await.unwrap();
    folding.await.unwrap();
}

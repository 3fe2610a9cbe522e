//! The way from one table without roll-ups to months with them, and back, with data.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use kernel::{Credits, CreditsSum};
use pg::PgConnection;
use testkit::{TestDb, ask_texts, clock, user};
use usage::{NewRecord, RecordFilter};

use crate::support::{Correction, all, correct, database, event, record, record_charged, stats};

/// Migrations of the table as it was before it had months.
const BEFORE: usize = 2;

/// All records, each as a text of the columns that both tables have.
async fn rows(conn: &mut AsyncPgConnection) -> Vec<String> {
    let query = "SELECT row(id, user_id, occurred_at, recorded_at, session_id, trace_id, endpoint, event_type, model_name, provider,
                    tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
                    calculation_method, billing_metadata, request_data, response_data, size_bytes)
         FROM usage.records ORDER BY id";
    ask_texts(conn, query).await.unwrap()
}

async fn run(conn: &mut PgConnection, sql: &str) {
    conn.batch_execute(sql).await.unwrap();
}

/// Ordinary and enormous records, of before 1970 too.
const OLD: &str = r#"
INSERT INTO usage.records (id, user_id, occurred_at, recorded_at, session_id, trace_id, endpoint, event_type, model_name,
    provider, tool_name, operation_name, tokens_used, prompt_tokens, completion_tokens, credits_charged, cost_usd,
    calculation_method, billing_metadata, request_data, response_data)
SELECT nextval('usage.record_ids'), 'u' || n % 3, '2025-11-30 23:52Z'::timestamptz + n * interval '1 minute', now(), 's', 't',
       '/x', 'e' || n % 2, nullif('m' || n % 4, 'm0'), nullif('p' || n % 2, 'p0'), NULL, 'o', n, n, 0,
       CASE n % 5 WHEN 0 THEN 1000000000000000 ELSE n END, n, 'unknown', '{"a": "é"}'::jsonb, NULL::jsonb, NULL::jsonb
FROM generate_series(1, 6000) AS n
UNION ALL
SELECT nextval('usage.record_ids'), 'u1', '1969-12-31 23:59:59.999999Z', now(), NULL, NULL, NULL, '', NULL, NULL, NULL, NULL,
       0, 0, 0, 0, 0, 'unknown', NULL, NULL, NULL
"#;

#[tokio::test]
async fn records_are_carried_over_with_their_sums_and_back_again() {
    let (before, after) = usage::MIGRATIONS.split_at(BEFORE);
    let db = TestDb::create(&[before], &[usage::AUDITS]).await;
    let mut conn = db.pool().get().await.unwrap();
    run(&mut conn, OLD).await;
    let old = rows(&mut conn).await;
    assert_eq!(old.len(), 6_001);
    for migration in after {
        run(&mut conn, migration.up).await;
    }
    assert_eq!(rows(&mut conn).await, old);
    testkit::audit_now(&db);
    let sums = stats(&db, &user("u1"), &RecordFilter::default()).await;
    assert_eq!((sums.total_records, sums.by_event_type[""]), (2_001, 1));

    // What was recorded since comes back too; a corrected record goes with its correction.
    let new = record(&db, &clock(), &[event(&user("u1")), event(&user("new"))]).await;
    let correction =
        Correction { user_id: user("u1"), record_id: 7, reason: "wrong".to_owned(), replacement: None };
    correct(&db, &clock(), &correction).await.unwrap();
    usage::create_months(db.pool(), &clock(), 3).await.unwrap();
    testkit::audit_now(&db);
    let sums = stats(&db, &user("u1"), &RecordFilter::default()).await;
    assert_eq!(sums.total_records, 2_001);
    assert!(sums.total_credits_charged > CreditsSum::from_micro(100_000_000_000_000_000));
    assert_eq!(all(&db, &user("new"), &RecordFilter::default(), 10).await, [new[1].clone()]);
    for migration in after.iter().rev() {
        run(&mut conn, migration.down).await;
    }
    let back = rows(&mut conn).await;
    assert_eq!(back.len(), 6_002);
    let kept: Vec<String> = old.into_iter().filter(|row| !row.starts_with("(7,")).collect();
    assert_eq!(back[..6_000], kept);
    for migration in after {
        run(&mut conn, migration.up).await;
    }
}

/// The first of the migrations about what was deducted.
const DEDUCTIONS: &str = "20261130110000";

#[tokio::test]
async fn what_was_deducted_is_summed_up_from_the_records() {
    let db = database().await;
    let of =
        |name: &str, micro| NewRecord { credits_charged: Credits::from_micro(micro), ..event(&user(name)) };
    let large = Credits::MAX.micro() - 1;
    let mut conn = db.pool().get().await.unwrap();
    let mut stored = Vec::new();
    for name in ["a", "b"] {
        let new = [of(name, 7), of(name, 9), of(name, 8), of(name, large), of(name, large)];
        stored.extend(record_charged(&db, &clock(), &new).await);
        usage::fold_deltas(&mut conn, 1).await.unwrap();
    }
    for record in &stored[..2] {
        let correction = Correction {
            user_id: user("a"),
            record_id: record.id,
            reason: "wrong".to_owned(),
            replacement: None,
        };
        correct(&db, &clock(), &correction).await.unwrap();
    }
    let all = RecordFilter::default();
    let of_a = stats(&db, &user("a"), &all).await;
    let of_all = usage::stats_all(&mut conn, &all).await.unwrap();
    let half = i128::from(large / 2);
    let deducted = |stats: &usage::Stats| stats.total_credits_deducted.micro();
    assert_eq!((deducted(&of_a), deducted(&of_all)), (2 * half, 4 * half + 3 + 4));

    let steps: Vec<_> = usage::MIGRATIONS.iter().filter(|step| step.name >= DEDUCTIONS).collect();
    for step in steps.iter().rev() {
        run(&mut conn, step.down).await;
    }
    for step in steps {
        run(&mut conn, step.up).await;
    }
    testkit::audit_now(&db);
    assert_eq!(stats(&db, &user("a"), &all).await, of_a);
    assert_eq!(usage::stats_all(&mut conn, &all).await.unwrap(), of_all);
    usage::fold_deltas(&mut conn, 100).await.unwrap();
    testkit::audit_now(&db);
    assert_eq!(usage::stats_all(&mut conn, &all).await.unwrap(), of_all);
}

/// The version before knows nothing of deductions: it must not add to sums, or they would be wrong for good.
#[tokio::test]
async fn sums_are_not_written_without_what_was_deducted() {
    let db = database().await;
    let mut conn = db.pool().get().await.unwrap();
    for _ in 0..2 {
        record(&db, &clock(), &[event(&user("a"))]).await;
        usage::fold_deltas(&mut conn, 1).await.unwrap();
    }
    record(&db, &clock(), &[event(&user("a"))]).await;
    let columns = "bucket, event_type, model, provider, tool, part, records, tokens_used, prompt_tokens, completion_tokens, \
                   credits_charged, cost_usd";
    for (table, key) in [
        ("rollup_deltas", ""),
        ("rollups_15m", "user_id, "),
        ("rollups_all", ""),
        ("rollups_all_hours", "hours, "),
    ] {
        let add = format!(
            "INSERT INTO usage.{table} ({key}{columns}) SELECT {key}{columns} FROM usage.{table} ON CONFLICT DO NOTHING"
        );
        let refused = conn.batch_execute(&add).await.unwrap_err().to_string();
        assert!(refused.contains("\"credits_deducted\""), "{table}: {refused}");
    }
}

//! The way from one table without roll-ups to months with them, and back, with data.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use kernel::CreditsSum;
use pg::PgConnection;
use testkit::{TestDb, ask_texts, clock, user};
use usage::RecordFilter;

use crate::support::{Correction, all, correct, event, record, stats};

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

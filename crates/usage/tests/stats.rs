//! Statistics: exact, complete, and of one user only.

use std::collections::BTreeMap;

use diesel_async::SimpleAsyncConnection;
use kernel::{Credits, CreditsSum, Usd, UsdSum};
use testkit::{clock, user};
use usage::{Coverage, NewRecord, RecordFilter, Stats, TOKENS_MAX};

use crate::support::{database, event, record, stats};

fn counts(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

#[tokio::test]
async fn no_records_are_zeros_and_empty_maps() {
    let db = database().await;
    record(&db, &clock(), &[event(&user("b"))]).await;
    assert_eq!(stats(&db, &user("a"), &RecordFilter::default()).await, Stats::default());
}

#[tokio::test]
async fn records_without_a_value_are_left_out_of_its_counts() {
    let db = database().await;
    let gpt = NewRecord {
        model_name: Some("gpt-4".to_owned()),
        provider: Some("openai".to_owned()),
        credits_charged: "5.5".parse().unwrap(),
        cost_usd: "0.000000001".parse().unwrap(),
        tokens_used: 1250,
        ..event(&user("a"))
    };
    let call = NewRecord {
        event_type: "api_call".to_owned(),
        provider: Some("anthropic".to_owned()),
        ..event(&user("a"))
    };
    let foreign = NewRecord { user_id: user("A"), ..gpt.clone() };
    record(&db, &clock(), &[gpt.clone(), foreign, call, gpt, event(&user("a"))]).await;
    let expected = Stats {
        total_records: 4,
        total_credits_charged: CreditsSum::from_micro(11_000_000),
        total_credits_deducted: CreditsSum::default(),
        total_cost_usd: UsdSum::from_nano(2),
        total_tokens_used: 2500,
        by_event_type: counts(&[("ai_chat", 3), ("api_call", 1)]),
        by_model: counts(&[("gpt-4", 2)]),
        by_provider: counts(&[("anthropic", 1), ("openai", 2)]),
        coverage: Coverage::Exact,
    };
    assert_eq!(stats(&db, &user("a"), &RecordFilter::default()).await, expected);
}

#[tokio::test]
async fn sums_are_exact_at_and_beyond_64_bits() {
    let db = database().await;
    let most = NewRecord {
        credits_charged: Credits::MAX,
        cost_usd: Usd::MAX,
        tokens_used: 2 * TOKENS_MAX,
        ..event(&user("a"))
    };
    let thousand = vec![most.clone(); 1_000];
    for _ in 0..9 {
        record(&db, &clock(), &thousand).await;
    }
    // With these, the greatest number of micro-credits and of nano-dollars that 64 bits can hold.
    record(&db, &clock(), &vec![most; 223]).await;
    let rest = NewRecord {
        credits_charged: Credits::from_micro(i64::MAX - 9_223 * Credits::MAX.micro()),
        cost_usd: Usd::from_nano(i64::MAX - 9_223 * Usd::MAX.nano()),
        ..event(&user("a"))
    };
    record(&db, &clock(), &[rest]).await;
    let sums = stats(&db, &user("a"), &RecordFilter::default()).await;
    assert_eq!(sums.total_records, 9_224);
    assert_eq!(sums.total_credits_charged.to_string(), "9223372036854.775807");
    assert_eq!(sums.total_cost_usd.to_string(), "9223372036.854775807");
    assert_eq!(sums.total_tokens_used, 9_223 * 2 * i128::from(TOKENS_MAX));

    let least = NewRecord {
        credits_charged: Credits::from_micro(1),
        cost_usd: Usd::from_nano(1),
        ..event(&user("a"))
    };
    record(&db, &clock(), &[least]).await;
    let sums = stats(&db, &user("a"), &RecordFilter::default()).await;
    assert_eq!(sums.total_credits_charged.to_string(), "9223372036854.775808");
    assert_eq!(sums.total_cost_usd.to_string(), "9223372036.854775808");
}

/// Half of what 64 bits hold, which no test can record by single events.
const HALF: i128 = 1 << 62;

#[tokio::test]
async fn a_span_across_users_that_is_half_full_goes_on_in_another_sum() {
    let mut db = database().await;
    // The records of what is planted are missing.
    db.forgo_audits();
    let clock = clock();
    let one = NewRecord { credits_charged: Credits::from_micro(5), ..event(&user("a")) };
    let mut conn = db.pool().get().await.unwrap();
    for _ in 0..2 {
        record(&db, &clock, std::slice::from_ref(&one)).await;
        usage::fold_deltas(&mut conn, 10).await.unwrap();
        let plant = "UPDATE usage.rollups_all_hours SET credits_charged = 4611686018427387904 \
                     WHERE hours = 24 AND part = (SELECT min(part) FROM usage.rollups_all_hours WHERE hours = 24)";
        conn.batch_execute(plant).await.unwrap();
    }
    for _ in 0..2 {
        record(&db, &clock, &[one.clone(), one.clone()]).await;
        usage::fold_deltas(&mut conn, 10).await.unwrap();
    }
    let day = RecordFilter {
        from: Some(testkit::instant().replace_time(time::Time::MIDNIGHT)),
        to: Some(testkit::instant().replace_time(time::Time::MIDNIGHT) + time::Duration::hours(24)),
        ..RecordFilter::default()
    };
    let sums = usage::stats_all(&mut conn, &day).await.unwrap();
    assert_eq!(sums.total_records, 6);
    assert_eq!(sums.total_credits_charged.micro(), 2 * HALF + 4 * 5);
}

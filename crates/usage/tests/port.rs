//! Metering for callers without a transaction of their own.

use std::{collections::BTreeSet, sync::Arc};

use kernel::{Failure as _, Page};
use testkit::{clock, user};
use usage::{
    Correction, Meter, MeterError, PgMeter, RecordFilter, Replay, Selection, SeriesQuery, Stats, Unit,
    UsageInput, UsageRefusal, Zone,
};

use crate::support::database;

fn call(id: &str) -> UsageInput {
    UsageInput {
        event_id: Some(id.to_owned()),
        credits_charged: Some("1.5".parse().unwrap()),
        ..UsageInput::new(user("a"), "ai_chat")
    }
}

/// As a sibling service does that knows nothing but the trait.
async fn uses_the_port(meter: &impl Meter) {
    let first = meter.record(call("e1")).await.unwrap();
    let again = meter.record(call("e1")).await.unwrap();
    assert_eq!((again.record, again.replay), (first.record.clone(), Replay::ByEvent));
    let other = UsageInput { tokens_used: Some(1), ..call("e1") };
    let refused = meter.record(other).await.unwrap_err();
    assert_eq!(refused.code(), "UsageConflictException");
    let several = UsageInput { cached_prompt_tokens: Some(1), ..call("e2") };
    let outcomes = meter.record_all(vec![call("e3"), several, call("e4")]).await.unwrap();
    assert_eq!(
        (outcomes[0].is_ok(), &outcomes[1], outcomes[2].is_ok()),
        (true, &Err(UsageRefusal::PartExceedsWhole), true)
    );
    let all = RecordFilter::default();
    assert_eq!(meter.list(&user("a"), &all, &Page::first(9)).await.unwrap().items.len(), 3);
    let stats = meter.stats(&user("a"), &all).await.unwrap();
    assert_eq!((stats.total_records, stats.total_credits_charged.to_string()), (3, "4.5".to_owned()));
    let at = first.record.occurred_at;
    let query = SeriesQuery {
        start: at - time::Duration::DAY,
        end: at + time::Duration::DAY,
        unit: Unit::Day,
        zone: Zone::utc(),
        only: Selection::default(),
        group_by: BTreeSet::new(),
    };
    let series = meter.series(&user("a"), &query).await.unwrap();
    assert_eq!(series.lines.len(), 1);
    let correction = Correction {
        user_id: user("a"),
        record_id: first.record.id,
        reason: "wrong".to_owned(),
        replacement: None,
    };
    let corrected = meter.correct(correction.clone()).await.unwrap();
    assert_eq!(corrected.original, first.record);
    let twice = meter.correct(correction).await;
    assert!(matches!(twice, Err(MeterError::Refused(UsageRefusal::AlreadyCorrected { .. }))));
}

#[tokio::test]
async fn the_port_records_sums_and_takes_back() {
    let db = database().await;
    uses_the_port(&PgMeter::new(db.pool().clone(), Arc::new(clock()))).await;
}

#[tokio::test]
async fn without_a_database_nothing_was_done() {
    let db = database().await;
    let pool = db.second_pool();
    pool.close();
    let meter = PgMeter::new(pool, Arc::new(clock()));
    let refused = meter.record(call("e1")).await;
    assert!(matches!(refused, Err(MeterError::Unavailable(_))), "{refused:?}");
    let live = PgMeter::new(db.pool().clone(), Arc::new(clock()));
    assert_eq!(live.stats(&user("a"), &RecordFilter::default()).await.unwrap(), Stats::default());
}

//! Statistics and lists against a naive sum in memory, for random records and windows.

use std::collections::BTreeMap;

use kernel::{CallerClass, Credits, CreditsSum, ManualClock, Usd, UsdSum, UserId};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseError, TestRunner},
};
use testkit::{TestDb, instant};
use time::Duration;
use usage::{Coverage, NewRecord, Record, RecordFilter, Stats, UsageInput};

use crate::support::{all, database, deducted, record_charged, stats};

/// Batches of events, each some microseconds after the one before.
type History = Vec<(i64, Vec<NewRecord>)>;

fn text() -> impl Strategy<Value = Option<String>> {
    option::of(select(vec!["x", "y", "z"]).prop_map(str::to_owned))
}

pub fn class() -> impl Strategy<Value = CallerClass> {
    select(vec![CallerClass::User, CallerClass::Service])
}

fn new_record() -> impl Strategy<Value = NewRecord> {
    let texts = (text(), text(), text(), text());
    let amounts = (0..=Credits::MAX.micro(), 0..=Usd::MAX.nano(), 0..=usage::TOKENS_MAX);
    let whose = (select(vec!["one", "you"]), class());
    (whose, select(vec!["x", "y"]), texts, amounts).prop_map(
        |(
            (user, recorded_by),
            event_type,
            (model_name, provider, tool_name, session_id),
            (micro, nano, tokens),
        )| {
            UsageInput {
                recorded_by,
                model_name,
                provider,
                tool_name,
                session_id,
                credits_charged: Some(Credits::from_micro(micro)),
                cost_usd: Some(Usd::from_nano(nano)),
                prompt_tokens: Some(tokens),
                ..UsageInput::new(user.parse().unwrap(), event_type)
            }
            .complete()
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    vec((0..3_i64, vec(new_record(), 0..6)), 0..8)
}

/// Windows around the few microseconds in which everything happens, also between two of them.
fn filter() -> impl Strategy<Value = RecordFilter> {
    let bound = || option::of((-1_500..20_000_i64).prop_map(|n| instant() + Duration::nanoseconds(n)));
    let rare = || prop_oneof![3 => Just(None), 1 => text()];
    let by = prop_oneof![3 => Just(None), 1 => class().prop_map(Some)];
    (bound(), bound(), rare(), rare(), rare(), rare(), rare(), by).prop_map(
        |(from, to, event_type, model_name, provider, tool_name, session_id, recorded_by)| RecordFilter {
            from,
            to,
            event_type,
            model_name,
            provider,
            tool_name,
            session_id,
            recorded_by,
        },
    )
}

fn matches(filter: &RecordFilter, one: &Record) -> bool {
    let narrows = |request: &Option<String>, value: &Option<String>| request.is_none() || request == value;
    filter.from.is_none_or(|from| one.occurred_at >= from)
        && filter.to.is_none_or(|to| one.occurred_at <= to)
        && narrows(&filter.event_type, &Some(one.event_type.clone()))
        && narrows(&filter.model_name, &one.model_name)
        && narrows(&filter.provider, &one.provider)
        && narrows(&filter.tool_name, &one.tool_name)
        && narrows(&filter.session_id, &one.session_id)
        && (filter.recorded_by.is_none() || filter.recorded_by == one.recorded_by)
}

fn sum(records: &[Record]) -> Stats {
    let count = |values: Vec<Option<&String>>| {
        let mut counts = BTreeMap::new();
        for value in values.into_iter().flatten() {
            *counts.entry(value.clone()).or_insert(0) += 1;
        }
        counts
    };
    let total = |value: &dyn Fn(&Record) -> i64| records.iter().map(|one| i128::from(value(one))).sum();
    Stats {
        total_records: records.len().try_into().unwrap(),
        total_credits_charged: CreditsSum::from_micro(total(&|one| one.credits_charged.micro())),
        total_credits_deducted: CreditsSum::from_micro(total(&deducted)),
        total_cost_usd: UsdSum::from_nano(total(&|one| one.cost_usd.nano())),
        total_tokens_used: total(&|one| one.tokens_used),
        by_event_type: count(records.iter().map(|one| Some(&one.event_type)).collect()),
        by_model: count(records.iter().map(|one| one.model_name.as_ref()).collect()),
        by_provider: count(records.iter().map(|one| one.provider.as_ref()).collect()),
        coverage: Coverage::Exact,
    }
}

/// Users get a prefix of their own in each case, so that one database serves all cases.
async fn check(
    db: &TestDb,
    case: u32,
    history: &History,
    filters: &[RecordFilter],
) -> Result<(), TestCaseError> {
    let clock = ManualClock::at(instant());
    let of_case = |user: &UserId| format!("{case}|{user}").parse::<UserId>().unwrap();
    let mut stored = Vec::new();
    for (pause, batch) in history {
        clock.advance(Duration::microseconds(*pause));
        let new: Vec<NewRecord> =
            batch.iter().map(|one| NewRecord { user_id: of_case(&one.user_id), ..one.clone() }).collect();
        stored.extend(record_charged(db, &clock, &new).await);
    }
    // Records of earlier versions have no class.
    let forget = format!(
        "UPDATE usage.records SET recorded_by = NULL WHERE user_id LIKE '{case}|%' AND tool_name = 'z'"
    );
    db.run(&forget).await;
    for one in &mut stored {
        one.recorded_by = one.recorded_by.filter(|_| one.tool_name.as_deref() != Some("z"));
    }
    let me = of_case(&"one".parse().unwrap());
    for filter in filters {
        let mut expected: Vec<Record> =
            stored.iter().filter(|one| one.user_id == me && matches(filter, one)).cloned().collect();
        prop_assert_eq!(stats(db, &me, filter).await, sum(&expected), "statistics of {:?}", filter);
        expected.reverse();
        prop_assert_eq!(all(db, &me, filter, 4).await, expected, "list of {:?}", filter);
    }
    Ok(())
}

#[test]
fn statistics_and_lists_equal_a_naive_sum() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let db = runtime.block_on(database());
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let case = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&(history(), vec(filter(), 1..5)), |(history, filters)| {
            case.set(case.get() + 1);
            runtime.block_on(check(&db, case.get(), &history, &filters))
        })
        .unwrap();
}

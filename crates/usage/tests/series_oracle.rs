//! Statistics, series, active and top users against a sum over the raw rows in memory: random records with corrections,
//! zones around daylight saving, random windows.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use kernel::{CallerClass, Credits, CreditsSum, ManualClock, Usd, UsdSum, UserId};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, TestCaseError, TestRunner},
};
use testkit::TestDb;
use time::{Duration, OffsetDateTime, macros::datetime};
use usage::{
    Coverage, Dimension, Group, NewRecord, Record, RecordFilter, Selection, Series, SeriesQuery, Totals,
    Unit, UsageInput, Zones,
};

use crate::{
    local_time::{ZONES, starts},
    oracle::class,
    support::{Correction, correct, database, deducted, record_charged},
    top_series,
};

/// Instants at which clocks are set in one of the zones.
const SET: [OffsetDateTime; 4] = [
    datetime!(2026-03-29 1:00 UTC),
    datetime!(2025-10-26 1:00 UTC),
    datetime!(2026-04-04 15:00 UTC),
    datetime!(2025-10-04 15:30 UTC),
];

#[derive(Debug, Clone)]
struct Case {
    set: OffsetDateTime,
    /// Batches.
    batches: Vec<Vec<(Duration, NewRecord)>>,
    /// Which records are taken back (by place, if there is such a one), and whether something stands in their stead.
    corrections: Vec<(usize, Option<NewRecord>)>,
    asked: Vec<Asked>,
}

#[derive(Debug, Clone)]
struct Asked {
    start: Duration,
    length: Duration,
    unit: Unit,
    zone: &'static str,
    group_by: BTreeSet<Dimension>,
    model: Option<String>,
    session: Option<String>,
    by: Option<CallerClass>,
    /// Deltas that are folded before.
    folded: i64,
}

/// Up to three days before and behind, on a quarter, next to one, or anywhere.
fn offset() -> impl Strategy<Value = Duration> {
    let quarter = || (-288..288_i64).prop_map(|quarters| Duration::minutes(15 * quarters));
    let near = || (-12..12_i64).prop_map(|quarters| Duration::minutes(15 * quarters));
    prop_oneof![
        quarter(),
        near(),
        (near(), -1..=1_i64).prop_map(|(at, off)| at + Duration::microseconds(off)),
        (-259_200_000_000..259_200_000_000_i64).prop_map(Duration::microseconds),
    ]
}

fn text() -> impl Strategy<Value = Option<String>> {
    option::of(select(vec!["x", "y"]).prop_map(str::to_owned))
}

fn new_record() -> impl Strategy<Value = NewRecord> {
    let amounts = (
        prop_oneof![0..1_000_i64, 0..=Credits::MAX.micro()],
        prop_oneof![0..1_000_i64, 0..=Usd::MAX.nano()],
        prop_oneof![0..1_000_i64, 0..=usage::TOKENS_MAX],
        0..1_000_i64,
    );
    let whose = (select(vec!["one", "you", "her"]), select(vec!["x", "y"]), class());
    (whose, text(), text(), text(), amounts).prop_map(
        |(
            (user, event_type, recorded_by),
            model_name,
            provider,
            session_id,
            (micro, nano, prompt, completion),
        )| {
            UsageInput {
                recorded_by,
                model_name,
                provider,
                session_id,
                credits_charged: Some(Credits::from_micro(micro)),
                cost_usd: Some(Usd::from_nano(nano)),
                prompt_tokens: Some(prompt),
                completion_tokens: Some(completion),
                ..UsageInput::new(user.parse().unwrap(), event_type)
            }
            .complete()
        },
    )
}

fn asked() -> impl Strategy<Value = Asked> {
    let length = prop_oneof![
        (-1..400_i64).prop_map(|quarters| Duration::minutes(15 * quarters)),
        (0..1_800_000_000_i64).prop_map(Duration::microseconds),
        (0..400_000_000_000_i64).prop_map(Duration::microseconds),
    ];
    let unit = select(vec![Unit::Quarter, Unit::Hour, Unit::Day, Unit::Week, Unit::Month]);
    let dimensions = vec![Dimension::EventType, Dimension::Model, Dimension::Provider, Dimension::User];
    let rare = || prop_oneof![3 => Just(None), 1 => text()];
    let place = (offset(), length, unit, select(ZONES.to_vec()));
    let by = prop_oneof![3 => Just(None), 1 => class().prop_map(Some)];
    (place, subsequence(dimensions, 0..3), rare(), rare(), by, 0..5_i64).prop_map(
        |((start, length, unit, zone), group_by, model, session, by, folded)| Asked {
            start,
            length,
            unit,
            zone,
            group_by: group_by.into_iter().collect(),
            model,
            session,
            by,
            folded,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let batches = vec(vec((offset(), new_record()), 0..8), 0..4);
    let corrections = vec((0..24_usize, option::of(new_record())), 0..4);
    (select(SET.to_vec()), batches, corrections, vec(asked(), 1..6))
        .prop_map(|(set, batches, corrections, asked)| Case { set, batches, corrections, asked })
}

fn user_of(case: u32, user: &UserId) -> UserId {
    format!("{case}|{user}").parse().unwrap()
}

/// Records all of it, with the name of the case as tool and in front of the users: one database serves all cases. Answers
/// the raw rows, corrections among them.
async fn recorded(db: &TestDb, number: u32, case: &Case) -> Vec<Record> {
    let clock = ManualClock::at(case.set + Duration::days(5));
    let of_case = |one: &NewRecord, occurred_at| NewRecord {
        user_id: user_of(number, &one.user_id),
        tool_name: Some(number.to_string()),
        occurred_at,
        ..one.clone()
    };
    let mut rows = Vec::new();
    for batch in &case.batches {
        let new: Vec<NewRecord> = batch.iter().map(|(at, one)| of_case(one, Some(case.set + *at))).collect();
        rows.extend(record_charged(db, &clock, &new).await);
    }
    for (place, replacement) in &case.corrections {
        let Some(original) = rows.get(*place).cloned() else { continue };
        let correction = Correction {
            user_id: original.user_id.clone(),
            record_id: original.id,
            reason: "wrong".to_owned(),
            replacement: replacement.as_ref().map(|one| of_case(one, None)),
        };
        if let Ok(done) = correct(db, &clock, &correction).await {
            rows.push(done.correction);
            rows.extend(done.replacement);
        }
    }
    // Records of earlier versions have no class.
    let her = user_of(number, &"her".parse().unwrap());
    let forget = format!("UPDATE usage.records SET recorded_by = NULL WHERE user_id = '{her}'");
    db.run(&forget).await;
    for one in &mut rows {
        one.recorded_by = one.recorded_by.filter(|_| one.user_id != her);
    }
    rows
}

pub fn add(totals: &mut Totals, one: &Record) {
    totals.records += one.sign();
    totals.credits_charged =
        CreditsSum::from_micro(totals.credits_charged.micro() + i128::from(one.credits_charged.micro()));
    totals.credits_deducted =
        CreditsSum::from_micro(totals.credits_deducted.micro() + i128::from(deducted(one)));
    totals.cost_usd = UsdSum::from_nano(totals.cost_usd.nano() + i128::from(one.cost_usd.nano()));
    totals.tokens_used += i128::from(one.tokens_used);
    totals.prompt_tokens += i128::from(one.prompt_tokens);
    totals.completion_tokens += i128::from(one.completion_tokens);
}

pub fn group_of(one: &Record, by: &BTreeSet<Dimension>) -> Group {
    let if_by = |dimension, value: Option<&String>| value.filter(|_| by.contains(&dimension)).cloned();
    Group {
        event_type: if_by(Dimension::EventType, Some(&one.event_type)),
        model: if_by(Dimension::Model, one.model_name.as_ref()),
        provider: if_by(Dimension::Provider, one.provider.as_ref()),
        tool: None,
        user_id: by.contains(&Dimension::User).then(|| one.user_id.clone()),
    }
}

/// Lines by group: what each has in each bucket. Groups of which nothing is left are no groups.
fn lines(
    rows: &[&Record],
    starts: &[OffsetDateTime],
    by: &BTreeSet<Dimension>,
) -> BTreeMap<Group, Vec<Totals>> {
    let mut lines = BTreeMap::new();
    for one in rows {
        let bucket = starts.partition_point(|start| *start <= one.occurred_at) - 1;
        let points = lines.entry(group_of(one, by)).or_insert_with(|| vec![Totals::default(); starts.len()]);
        add(&mut points[bucket], one);
    }
    lines.retain(|_, points| points.iter().any(|point| *point != Totals::default()));
    if lines.is_empty() && by.is_empty() {
        lines.insert(Group::default(), vec![Totals::default(); starts.len()]);
    }
    lines
}

fn shown(series: &Series<Totals>) -> BTreeMap<Group, Vec<Totals>> {
    assert_eq!(series.coverage, Coverage::Exact);
    for line in &series.lines {
        let records: i64 = line.points.iter().map(|point| point.records).sum();
        assert_eq!(line.total.records, records);
    }
    let weights = series.lines.iter().map(|line| (line.total.credits_charged, line.total.records));
    assert!(weights.is_sorted_by(|one, next| one >= next));
    let lines = series.lines.iter();
    lines.map(|line| (line.group.clone(), line.points.clone())).collect()
}

async fn check(db: &TestDb, zones: &Zones, number: u32, case: &Case) -> Result<(), TestCaseError> {
    let rows = recorded(db, number, case).await;
    let me = user_of(number, &"one".parse().unwrap());
    let mut conn = db.pool().get().await.unwrap();
    for asked in &case.asked {
        usage::fold_deltas(&mut conn, asked.folded).await.unwrap();
        usage::fold_presence(&mut conn, asked.folded).await.unwrap();
        let (start, end) = (case.set + asked.start, case.set + asked.start + asked.length);
        let query = SeriesQuery {
            start,
            end,
            unit: asked.unit,
            zone: zones.find(asked.zone).unwrap(),
            group_by: asked.group_by.clone(),
            only: Selection {
                model_name: asked.model.clone(),
                session_id: asked.session.clone(),
                tool_name: Some(number.to_string()),
                recorded_by: asked.by,
                ..Selection::default()
            },
        };
        let all: Vec<&Record> = rows
            .iter()
            .filter(|one| start <= one.occurred_at && one.occurred_at < end)
            .filter(|one| asked.model.is_none() || asked.model == one.model_name)
            .filter(|one| asked.session.is_none() || asked.session == one.session_id)
            .filter(|one| asked.by.is_none() || asked.by == one.recorded_by)
            .collect();
        let mine: Vec<&Record> = all.iter().filter(|one| one.user_id == me).copied().collect();
        let by = &asked.group_by;
        let expected = starts(asked.zone, asked.unit, start, end);

        let series = usage::series(&mut conn, &me, &query).await.unwrap().unwrap();
        prop_assert_eq!(&series.starts, &expected, "{:?}", asked);
        prop_assert_eq!(shown(&series), lines(&mine, &expected, by), "mine {:?}", asked);
        let series = usage::series_all(&mut conn, &query).await.unwrap().unwrap();
        prop_assert_eq!(shown(&series), lines(&all, &expected, by), "all {:?}", asked);

        top_series::check(&mut conn, &query, &all, &expected).await?;
        let filter = RecordFilter {
            from: Some(start),
            to: Some(end - Duration::MICROSECOND),
            model_name: asked.model.clone(),
            session_id: asked.session.clone(),
            tool_name: Some(number.to_string()),
            recorded_by: asked.by,
            ..RecordFilter::default()
        };
        for (stats, rows) in [
            (usage::stats(&mut conn, &me, &filter).await.unwrap(), &mine),
            (usage::stats_all(&mut conn, &filter).await.unwrap(), &all),
        ] {
            let sums = rows.iter().fold(Totals::default(), |mut sums, one| {
                add(&mut sums, one);
                sums
            });
            prop_assert_eq!(stats.total_records, sums.records);
            prop_assert_eq!(stats.total_credits_charged, sums.credits_charged);
            prop_assert_eq!(stats.total_credits_deducted, sums.credits_deducted);
            prop_assert_eq!(stats.total_cost_usd, sums.cost_usd);
            prop_assert_eq!(stats.total_tokens_used, sums.tokens_used);
            prop_assert_eq!(stats.by_event_type.values().sum::<i64>(), sums.records);
        }
        top(&mut conn, &filter, &all).await?;
    }
    Ok(())
}

async fn top(
    conn: &mut pg::PgConnection,
    filter: &RecordFilter,
    rows: &[&Record],
) -> Result<(), TestCaseError> {
    let mut sums: BTreeMap<UserId, Totals> = BTreeMap::new();
    for one in rows {
        add(sums.entry(one.user_id.clone()).or_default(), one);
    }
    let mut expected: Vec<(UserId, Totals)> =
        sums.into_iter().filter(|(_, sums)| *sums != Totals::default()).collect();
    expected.sort_by_key(|(_, sums)| std::cmp::Reverse((sums.credits_charged, sums.records)));
    expected.truncate(2);
    prop_assert_eq!(usage::top_users(conn, filter, 2).await.unwrap(), expected);
    Ok(())
}

#[test]
fn series_equal_a_naive_sum_in_any_zone_and_window() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (db, zones) = runtime.block_on(async {
        let db = database().await;
        let mut conn = db.pool().get().await.unwrap();
        let zones = usage::zones(&mut conn).await.unwrap();
        drop(conn);
        (db, zones)
    });
    let config = Config { cases: 80, failure_persistence: None, ..Config::default() };
    let number = Cell::new(0);
    TestRunner::new(config)
        .run(&case(), |case| {
            number.set(number.get() + 1);
            runtime.block_on(check(&db, &zones, number.get(), &case))
        })
        .unwrap();
}

//! Series of the largest groups against a ranking of the raw rows in memory. The random cases are those of the other series.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use kernel::UserId;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use time::OffsetDateTime;
use usage::{Group, Line, Point, Record, SeriesQuery, TopQuery, Totals, Users};

use crate::series_oracle::{add, group_of};

/// What a line has: sums, and the users with a record, taken back or not.
#[derive(Debug, Clone, Default)]
struct Cell {
    totals: Totals,
    users: BTreeSet<UserId>,
}

/// Compares what the database answers with the first two groups and the rest.
pub async fn check(
    conn: &mut pg::PgConnection,
    query: &SeriesQuery,
    rows: &[&Record],
    starts: &[OffsetDateTime],
) -> Result<(), TestCaseError> {
    for users in [Users::Counted, Users::Uncounted] {
        let asked = TopQuery { series: query.clone(), lines_max: 2, users };
        let found = usage::series_top(conn, &asked).await.unwrap().unwrap();
        prop_assert_eq!(&found.series.starts, starts);
        let mut expected = lines(rows, starts, query, users);
        let rest = (expected.len() > 2).then(|| {
            let rest = expected.split_off(2);
            fold(&rest, starts.len(), users)
        });
        let expected: Vec<Line<Point>> =
            expected.into_iter().map(|(group, cells)| line(group, &cells, users)).collect();
        prop_assert_eq!(found.series.lines, expected, "{:?}", asked);
        prop_assert_eq!(found.rest, rest, "{:?}", asked);
    }
    Ok(())
}

fn lines(
    rows: &[&Record],
    starts: &[OffsetDateTime],
    query: &SeriesQuery,
    users: Users,
) -> Vec<(Group, Vec<Cell>)> {
    let mut lines: BTreeMap<Group, Vec<Cell>> = BTreeMap::new();
    for one in rows {
        let bucket = starts.partition_point(|start| *start <= one.occurred_at) - 1;
        let group = group_of(one, &query.group_by);
        let cells = lines.entry(group).or_insert_with(|| vec![Cell::default(); starts.len()]);
        add(&mut cells[bucket].totals, one);
        cells[bucket].users.insert(one.user_id.clone());
    }
    let left = |cells: &[Cell]| cells.iter().any(|cell| cell.totals != Totals::default());
    lines.retain(|_, cells| users == Users::Counted || left(cells));
    if lines.is_empty() && query.group_by.is_empty() {
        lines.insert(Group::default(), vec![Cell::default(); starts.len()]);
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(group, cells)| {
        let total = line(group.clone(), cells, users).total.totals;
        Reverse((total.credits_charged, total.records))
    });
    lines
}

fn fold(rest: &[(Group, Vec<Cell>)], buckets: usize, users: Users) -> Line<Point> {
    let mut cells = vec![Cell::default(); buckets];
    for (_, line) in rest {
        for (sum, cell) in cells.iter_mut().zip(line) {
            sum.totals = plus(&sum.totals, &cell.totals);
            sum.users.extend(cell.users.clone());
        }
    }
    line(Group::default(), &cells, users)
}

fn line(group: Group, cells: &[Cell], users: Users) -> Line<Point> {
    let count = |of: &BTreeSet<UserId>| match users {
        Users::Counted => i64::try_from(of.len()).unwrap(),
        Users::Uncounted => 0,
    };
    let points = cells.iter().map(|cell| Point { totals: cell.totals, active_users: count(&cell.users) });
    let all = cells.iter().fold(Totals::default(), |sum, cell| plus(&sum, &cell.totals));
    Line {
        group,
        points: points.collect(),
        total: Point {
            totals: all,
            active_users: count(&cells.iter().flat_map(|cell| cell.users.clone()).collect()),
        },
    }
}

fn plus(one: &Totals, more: &Totals) -> Totals {
    Totals {
        records: one.records + more.records,
        credits_charged: kernel::CreditsSum::from_micro(
            one.credits_charged.micro() + more.credits_charged.micro(),
        ),
        credits_deducted: kernel::CreditsSum::from_micro(
            one.credits_deducted.micro() + more.credits_deducted.micro(),
        ),
        cost_usd: kernel::UsdSum::from_nano(one.cost_usd.nano() + more.cost_usd.nano()),
        tokens_used: one.tokens_used + more.tokens_used,
        prompt_tokens: one.prompt_tokens + more.prompt_tokens,
        completion_tokens: one.completion_tokens + more.completion_tokens,
    }
}

//! Sums over time across users, of the largest groups.

use std::collections::BTreeMap;

use diesel_async::AsyncPgConnection;
use pg::DbError;
use time::OffsetDateTime;

use super::series::starts;
use crate::{
    Coverage, Group, Line, POINTS_MAX, Point, Series, TopQuery, TopSeries, UsageRefusal,
    store::{self, series::Cut, top_series::RankedCell},
};

/// What records sum up to by bucket and group across users, as of one snapshot; the groups with the most credits have a line
/// each, all others share one (HTTP contract 4.6).
///
/// # Errors
/// [`DbError`]; refusal: [`UsageRefusal::TooManyPoints`], the line of the rest counted.
pub async fn series_top(
    conn: &mut AsyncPgConnection,
    query: &TopQuery,
) -> Result<Result<TopSeries, UsageRefusal>, DbError> {
    let starts = match starts(conn, &query.series).await? {
        Ok(starts) => starts,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (coverage, cells) = match Cut::new(&query.series, &starts) {
        None => (Coverage::Exact, Vec::new()),
        Some(cut) => store::top_series::cells(conn, cut, query.lines_max, query.users).await?,
    };
    Ok(lines(&starts, cells).map(|lines| shape(query, starts, coverage, lines)))
}

/// Unfolds cells into lines, by rank.
fn lines(
    starts: &[OffsetDateTime],
    cells: Vec<RankedCell>,
) -> Result<BTreeMap<i64, Line<Point>>, UsageRefusal> {
    let limit = usize::try_from(POINTS_MAX).unwrap_or(usize::MAX);
    let mut lines: BTreeMap<i64, Line<Point>> = BTreeMap::new();
    for cell in cells {
        let rank = cell.rank;
        let known = lines.len();
        let is_new = !lines.contains_key(&rank);
        if is_new && known.saturating_add(1).saturating_mul(starts.len()) > limit {
            return Err(UsageRefusal::TooManyPoints { limit: POINTS_MAX });
        }
        let line = lines.entry(rank).or_insert_with(|| Line::empty(cell.group, starts.len()));
        match cell.bucket {
            None => line.total = cell.value,
            Some(bucket) => {
                if let Some(point) = line.points.get_mut(bucket) {
                    *point = cell.value;
                }
            }
        }
    }
    if starts.len() > limit {
        return Err(UsageRefusal::TooManyPoints { limit: POINTS_MAX });
    }
    Ok(lines)
}

fn shape(
    query: &TopQuery,
    starts: Vec<OffsetDateTime>,
    coverage: Coverage,
    mut lines: BTreeMap<i64, Line<Point>>,
) -> TopSeries {
    let rest = lines.remove(&i64::from(query.lines_max).saturating_add(1));
    let mut lines: Vec<Line<Point>> = lines.into_values().collect();
    if lines.is_empty() && query.series.group_by.is_empty() {
        lines.push(Line::empty(Group::default(), starts.len()));
    }
    TopSeries { series: Series { starts, end: query.series.end, lines, coverage }, rest }
}

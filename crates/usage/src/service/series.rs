//! Sums over time, of one user and of all.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use diesel_async::AsyncPgConnection;
use kernel::{CreditsSum, UsdSum, UserId};
use pg::DbError;
use time::{Date, Duration, OffsetDateTime, macros::datetime};

use crate::{
    Coverage, Group, Line, POINTS_MAX, RecordFilter, Selection, Series, SeriesQuery, Totals, Unit,
    UsageRefusal, Zone, Zones,
    core::{slot_15m::next_microsecond, window::Window},
    store::{
        self,
        series::{Cell, Cut},
    },
};

/// No window begins before.
const EARLIEST: OffsetDateTime = datetime!(0001-01-01 0:00 UTC);

/// The time zones that the database knows. Takes some 30 ms: ask once.
///
/// # Errors
/// [`DbError`].
pub async fn zones(conn: &mut AsyncPgConnection) -> Result<Zones, DbError> {
    store::zones::names(conn).await
}

/// The first instants of days on the clocks of a zone, in the order of the days; within the years 1 to 9999 of UTC.
///
/// # Errors
/// [`DbError`].
pub async fn beginnings_of_days(
    conn: &mut AsyncPgConnection,
    zone: &Zone,
    days: &[Date],
) -> Result<Vec<OffsetDateTime>, DbError> {
    let beginnings = store::zones::beginnings_of_days(conn, zone, days).await?;
    DbError::expect_rows("beginnings of days", days.len(), beginnings.len())?;
    Ok(beginnings)
}

/// The beginning of the first of `count` buckets that end at `end`: the last of them is the one in which `end` lies, or the
/// one that it ends. Not before the year 1.
///
/// # Errors
/// [`DbError`].
pub async fn buckets_back(
    conn: &mut AsyncPgConnection,
    unit: Unit,
    zone: &Zone,
    end: OffsetDateTime,
    count: u16,
) -> Result<OffsetDateTime, DbError> {
    // No bucket is longer than this, and a zone may have left a day out.
    let longest = match unit {
        Unit::Quarter => Duration::minutes(15),
        Unit::Hour => Duration::hours(1),
        Unit::Day => Duration::hours(25),
        Unit::Week => Duration::hours(7 * 24 + 1),
        Unit::Month => Duration::hours(31 * 24 + 1),
    };
    let far = end.checked_sub(longest.saturating_mul(i32::from(count).saturating_add(2)));
    let far = far.unwrap_or(EARLIEST).max(EARLIEST);
    if far >= end {
        return Ok(end);
    }
    let beginnings = store::zones::beginnings(conn, unit, zone, far, end).await?;
    let first = beginnings.len().saturating_sub(usize::from(count));
    Ok(beginnings.get(first).copied().unwrap_or(far))
}

/// Sums of the records of a user by bucket and group, as of one snapshot (HTTP contract 4.5).
///
/// # Errors
/// [`DbError`]; refusal: [`UsageRefusal::TooManyPoints`].
pub async fn series(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    query: &SeriesQuery,
) -> Result<Result<Series<Totals>, UsageRefusal>, DbError> {
    sums(conn, Some(user), query).await
}

/// [`series`] across all users (HTTP contract 4.6).
///
/// # Errors
/// As [`series`].
pub async fn series_all(
    conn: &mut AsyncPgConnection,
    query: &SeriesQuery,
) -> Result<Result<Series<Totals>, UsageRefusal>, DbError> {
    sums(conn, None, query).await
}

/// The users who were charged most in a window, at most `limit`, with what their records sum up to; among equals those with
/// more records first.
///
/// # Errors
/// [`DbError`].
pub async fn top_users(
    conn: &mut AsyncPgConnection,
    filter: &RecordFilter,
    limit: i64,
) -> Result<Vec<(UserId, Totals)>, DbError> {
    match Window::from_filter(filter) {
        None => Ok(Vec::new()),
        Some(window) => store::series::top_users(conn, window, &Selection::from(filter), limit.max(0)).await,
    }
}

async fn sums(
    conn: &mut AsyncPgConnection,
    user: Option<&UserId>,
    query: &SeriesQuery,
) -> Result<Result<Series<Totals>, UsageRefusal>, DbError> {
    let starts = match starts(conn, query).await? {
        Ok(starts) => starts,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (coverage, cells) = match Cut::new(query, &starts) {
        None => (Coverage::Exact, Vec::new()),
        Some(cut) => store::series::sums(conn, user, cut).await?,
    };
    Ok(lines(&starts, cells).map(|lines| shape(query, starts, coverage, lines)))
}

impl<'a> Cut<'a> {
    /// `None` if the window is empty.
    pub(super) fn new(query: &'a SeriesQuery, starts: &'a [OffsetDateTime]) -> Option<Self> {
        Some(Self {
            window: Window::between(Some(query.start), Some(query.end))?,
            starts,
            group_by: &query.group_by,
            only: &query.only,
            // Each is a point of a line, or the total of one; so more cells than these are too many points.
            cells_max: POINTS_MAX.saturating_mul(2).saturating_add(1),
        })
    }
}

/// The beginnings of the buckets, none for an empty window.
pub(super) async fn starts(
    conn: &mut AsyncPgConnection,
    query: &SeriesQuery,
) -> Result<Result<Vec<OffsetDateTime>, UsageRefusal>, DbError> {
    let (start, end) = (next_microsecond(query.start), next_microsecond(query.end));
    if start >= end {
        return Ok(Ok(Vec::new()));
    }
    // No bucket is shorter than this but at the edges, so that a window with too many is never unfolded.
    let least = match query.unit {
        Unit::Quarter => Duration::minutes(15),
        Unit::Hour => Duration::hours(1),
        Unit::Day => Duration::hours(24),
        Unit::Week => Duration::days(7),
        Unit::Month => Duration::days(28),
    };
    let length = end.unix_timestamp().saturating_sub(start.unix_timestamp());
    if length.checked_div(least.whole_seconds()).is_none_or(|buckets| buckets > POINTS_MAX) {
        return Ok(Err(UsageRefusal::TooManyPoints { limit: POINTS_MAX }));
    }
    let mut starts = vec![start];
    starts.extend(store::zones::beginnings(conn, query.unit, &query.zone, start, end).await?);
    Ok(Ok(starts))
}

/// Unfolds cells into lines.
fn lines(starts: &[OffsetDateTime], cells: Vec<Cell>) -> Result<BTreeMap<Group, Line<Totals>>, UsageRefusal> {
    let limit = usize::try_from(POINTS_MAX).unwrap_or(usize::MAX);
    let groups: BTreeSet<&Group> = cells.iter().map(|cell| &cell.group).collect();
    if starts.len().saturating_mul(groups.len().max(1)) > limit {
        return Err(UsageRefusal::TooManyPoints { limit: POINTS_MAX });
    }
    let mut lines: BTreeMap<Group, Line<Totals>> = BTreeMap::new();
    for cell in cells {
        let line =
            lines.entry(cell.group).or_insert_with_key(|group| Line::empty(group.clone(), starts.len()));
        if let Some(point) = cell.bucket.and_then(|bucket| line.points.get_mut(bucket)) {
            *point = cell.value;
            line.total = line.total.plus(&cell.value);
        }
    }
    Ok(lines)
}

impl<T: Copy + Default> Line<T> {
    /// A line in whose buckets there is nothing.
    pub(super) fn empty(group: Group, buckets: usize) -> Self {
        Self { group, points: vec![T::default(); buckets], total: T::default() }
    }
}

/// Puts the lines in order; without grouping there is one, whatever happened.
fn shape(
    query: &SeriesQuery,
    starts: Vec<OffsetDateTime>,
    coverage: Coverage,
    lines: BTreeMap<Group, Line<Totals>>,
) -> Series<Totals> {
    let mut lines: Vec<Line<Totals>> = lines.into_values().collect();
    if lines.is_empty() && query.group_by.is_empty() {
        lines.push(Line::empty(Group::default(), starts.len()));
    }
    // By group already, and the sort is stable: equal lines come in the same order every time.
    lines.sort_by_key(|line| Reverse((line.total.credits_charged.micro(), line.total.records)));
    Series { starts, end: query.end, lines, coverage }
}

impl Totals {
    fn plus(self, other: &Self) -> Self {
        // Sums of 64-bit figures: 128 bits are never filled.
        let add = |one: i128, more: i128| one.saturating_add(more);
        Self {
            records: self.records.saturating_add(other.records),
            credits_charged: CreditsSum::from_micro(add(
                self.credits_charged.micro(),
                other.credits_charged.micro(),
            )),
            credits_deducted: CreditsSum::from_micro(add(
                self.credits_deducted.micro(),
                other.credits_deducted.micro(),
            )),
            cost_usd: UsdSum::from_nano(add(self.cost_usd.nano(), other.cost_usd.nano())),
            tokens_used: add(self.tokens_used, other.tokens_used),
            prompt_tokens: add(self.prompt_tokens, other.prompt_tokens),
            completion_tokens: add(self.completion_tokens, other.completion_tokens),
        }
    }
}

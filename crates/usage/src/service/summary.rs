//! Activity across users, at a glance.

use diesel_async::AsyncPgConnection;
use pg::DbError;

use super::series::starts;
use crate::{
    Day, Point, Selection, SeriesQuery, Summary, SummaryQuery, Unit, UsageRefusal, core::window::Window,
    store,
};

/// Most groups along each axis of a summary.
pub const SUMMARY_GROUPS_MAX: i64 = 100;

/// Sums of a window across users: in all, by local day, by feature, by model, and which models have no price (HTTP contract
/// 4.7).
///
/// Several statements: in a transaction with one snapshot ([`pg::Tx::snapshot`], then [`crate::hold_months`]) they tell of the
/// same records.
///
/// # Errors
/// [`DbError`]; refusal: [`UsageRefusal::TooManyPoints`] for a window of very many days.
pub async fn summary(
    conn: &mut AsyncPgConnection,
    query: &SummaryQuery,
) -> Result<Result<Summary, UsageRefusal>, DbError> {
    let by_day = SeriesQuery {
        start: query.start,
        end: query.end,
        unit: Unit::Day,
        zone: query.zone.clone(),
        group_by: [].into(),
        only: Selection { recorded_by: query.recorded_by, ..Selection::default() },
    };
    let starts = match starts(conn, &by_day).await? {
        Ok(starts) => starts,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(window) = Window::between(Some(query.start), Some(query.end)) else {
        return Ok(Ok(Summary::default()));
    };
    let (mut summary, points) =
        store::summary::load(conn, window, &starts, SUMMARY_GROUPS_MAX, &by_day.only).await?;
    let dates = store::summary::dates(conn, &query.zone, &starts).await?;
    let days =
        starts.iter().zip(dates).map(|(starts, date)| Day { date, starts: *starts, point: Point::default() });
    summary.days = days.collect();
    for (bucket, point) in points {
        if let Some(day) = summary.days.get_mut(bucket) {
            day.point = point;
        }
    }
    summary.unrated = store::summary::unrated(conn, query.start, query.end, query.recorded_by).await?;
    Ok(Ok(summary))
}

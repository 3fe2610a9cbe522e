//! Noticing users who suddenly spend far more than usual.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, UserId};
use pg::{DbError, Tx};
use time::{Duration, OffsetDateTime};

use crate::{Anomaly, AnomalyRule, store};

/// Fewest hours with spending, of the 7 days before, from which it can be told what is usual. Who has fewer is new, or comes
/// rarely, and nothing is said about him.
pub const ANOMALY_HOURS_MIN: i64 = 5;
/// Time for which the note of an hour is kept. Only the present hour and the one before are ever looked at.
const KEPT: Duration = Duration::days(35);
/// Rows that are forgotten at a time.
const FORGOTTEN_MAX: i64 = 1_000;

/// The beginning of the hour (UTC) that an instant lies in.
#[must_use]
pub fn hour_of(instant: OffsetDateTime) -> OffsetDateTime {
    let seconds = instant.unix_timestamp();
    let into = seconds.rem_euclid(3_600);
    OffsetDateTime::from_unix_timestamp(seconds.saturating_sub(into)).unwrap_or(instant)
}

/// Users who were charged at least what the rule says in an hour that was not noted for them, at most `limit`: those who were
/// charged most first.
///
/// # Errors
/// [`DbError`].
pub async fn spenders(
    conn: &mut AsyncPgConnection,
    hour: OffsetDateTime,
    rule: AnomalyRule,
    limit: i64,
) -> Result<Vec<UserId>, DbError> {
    store::anomalies::spenders(conn, hour_of(hour), rule, limit.max(0)).await
}

/// Those of these users who were charged more in an hour than is usual for them by the rule, each hour of a user once for ever:
/// whoever commits first has noted it.
///
/// Usual is the median of what the user was charged in those hours of the 7 days before in which he was charged anything, of
/// an even number of hours the lower one of the two in the middle. With fewer than [`ANOMALY_HOURS_MIN`] of them nothing is
/// usual yet. Hours are those of UTC. What was recorded without being deducted counts too.
///
/// # Errors
/// [`DbError`]; then nothing of the transaction may be committed.
pub async fn note_anomalies(
    tx: &mut Tx,
    clock: &dyn Clock,
    hour: OffsetDateTime,
    rule: AnomalyRule,
    users: &[UserId],
) -> Result<Vec<Anomaly>, DbError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    store::anomalies::note(tx.conn(), clock.now(), hour_of(hour), rule, ANOMALY_HOURS_MIN, users).await
}

/// Forgets hours that nobody looks at any more; answers how many.
///
/// # Errors
/// [`DbError`].
pub async fn forget_anomalies(conn: &mut AsyncPgConnection, clock: &dyn Clock) -> Result<usize, DbError> {
    let now = clock.now();
    let before = now.checked_sub(KEPT).unwrap_or(now);
    store::anomalies::forget(conn, before, FORGOTTEN_MAX).await
}

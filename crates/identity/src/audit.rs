//! The audit log: who did what, written in the transaction of the change (HTTP contract 3.6).
//!
//! Guarantees that an event is stored exactly if its change is, and that stored events are never changed, with two exceptions:
//! [`prune`] deletes old ones, and an erase removes the addresses of the user ([`PERSONAL_DATA`](crate::PERSONAL_DATA)). Each is one function of
//! the database; privileges and a trigger refuse everything else.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, Page, Slice, TimePlace};
use pg::DbError;
use time::Duration;

use crate::store::audit_events;

pub use crate::model::audit_event::{
    Action, AuditActor, AuditEvent, AuditFilter, AuditOrigin, BOOTSTRAP, StoredAuditEvent, UnknownAction,
};

/// No event is kept for longer: PostgreSQL knows no instant much earlier than this.
const KEPT_MAX: Duration = Duration::days(365_000);

/// Writes events in the transaction of what they report; without events no statement is sent.
///
/// # Errors
/// [`DbError`]; then the change must not be committed either.
pub async fn record(conn: &AsyncPgConnection, events: &[AuditEvent]) -> Result<(), DbError> {
    if events.is_empty() {
        return Ok(());
    }
    audit_events::insert(conn, events).await
}

/// A page of events, newest first.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn list(
    conn: &mut AsyncPgConnection,
    filter: &AuditFilter,
    page: &Page<TimePlace>,
) -> Result<Slice<StoredAuditEvent, TimePlace>, DbError> {
    let found = audit_events::list(conn, filter, page).await?;
    Ok(page.cut(found, |event| TimePlace { at: event.at, id: event.id }))
}

/// Deletes the oldest events, at most `rows_max`, that are older than `keep_for` by the database's clock (or the pinned instant
/// of `clock`), and returns how many there were.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn prune(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    keep_for: Duration,
    rows_max: i64,
) -> Result<i64, DbError> {
    let micros = keep_for.clamp(Duration::ZERO, KEPT_MAX).whole_microseconds();
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    audit_events::prune(conn, clock.pinned(), micros, rows_max).await
}

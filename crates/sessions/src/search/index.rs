//! Making of the segments of the message index.

use std::collections::BTreeSet;

use diesel_async::AsyncPgConnection;
use kernel::UserId;
use pg::{DbError, Tx};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::segment::{self, Segment, Source};
use crate::{
    IndexHorizon, NoSegment, SegmentSize,
    store::search::{self as store, SourceRow, Stretch},
};

/// The messages of a user as they are now; `None` if there are none.
///
/// # Errors
/// [`DbError`].
pub async fn horizon(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Option<IndexHorizon>, DbError> {
    store::horizon(conn, user).await
}

/// Returns true if all transactions have ended that could add messages to what is to be indexed.
///
/// # Errors
/// [`DbError`].
pub async fn is_past(conn: &mut AsyncPgConnection, horizon: &IndexHorizon) -> Result<bool, DbError> {
    store::is_past(conn, horizon.until).await
}

/// Adds the next segment of a user, if the messages up to a horizon that [`is_past`] fill one.
///
/// Several processes may do it at the same time: one of them adds the segment. What is refused must be rolled back.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn add_segment(
    tx: &mut Tx,
    horizon: &IndexHorizon,
    size: SegmentSize,
) -> Result<Result<(), NoSegment>, DbError> {
    let user = &horizon.user_id;
    let after_id = store::covered(tx.conn(), user).await?;
    let mut rows = store::sources(tx.conn(), user, (after_id, horizon.up_to), size).await?;
    let fitting = rows.iter().take_while(|row| row.fits).count();
    let is_filled = fitting < rows.len() || i64::try_from(fitting).is_ok_and(|rows| rows >= size.messages);
    rows.truncate(fitting);
    let (true, Some(last)) = (is_filled, rows.last()) else {
        return Ok(Err(NoSegment::TooFewMessages));
    };
    let times = || rows.iter().map(|row| row.created_at);
    let stretch = Stretch {
        after_id,
        last_id: last.source.id,
        first_at: times().min().unwrap_or(last.created_at),
        last_at: times().max().unwrap_or(last.created_at),
    };
    let sessions: BTreeSet<Uuid> = rows.iter().map(|row| row.source.session_id).collect();
    let segment = build(rows).await?;
    if !store::insert(tx.conn(), user, &stretch, &segment).await? {
        return Ok(Err(NoSegment::Overtaken));
    }
    // Last, as it keeps messages from being added: whoever deletes one of the sessions has done so by now, or will find the
    // segment.
    let sessions: Vec<Uuid> = sessions.into_iter().collect();
    let held = store::hold_sessions(tx.conn(), user, &sessions).await?;
    Ok(if held == sessions.len() { Ok(()) } else { Err(NoSegment::Overtaken) })
}

/// Makes a segment again from which messages were deleted; false if there is none.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn refresh_segment(tx: &mut Tx, size: SegmentSize) -> Result<bool, DbError> {
    let Some(stale) = store::lock_stale(tx.conn()).await? else {
        return Ok(false);
    };
    // All of its messages are taken; texts beyond the bytes, of replies that ended since, are left to be read.
    let size = SegmentSize { messages: i64::MAX, ..size };
    let range = (stale.after_id, stale.last_id);
    let segment = build(store::sources(tx.conn(), &stale.user_id, range, size).await?).await?;
    store::replace(tx.conn(), &stale, &segment).await?;
    Ok(true)
}

/// Takes some tenths of a second, on a thread of its own.
async fn build(rows: Vec<SourceRow>) -> Result<Segment, DbError> {
    let building = spawn_blocking(move || {
        let sources: Vec<Source> = rows.into_iter().map(|row| row.source).collect();
        segment::build(&sources)
    });
    building.await.map_err(|error| DbError::Inconsistent(error.to_string()))
}

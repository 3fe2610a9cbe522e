//! Making of the segments of the message index.

use std::collections::BTreeSet;

use diesel_async::AsyncPgConnection;
use kernel::UserId;
use pg::{DbError, Tx};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::segment::{self, Segment};
use crate::{
    IndexHorizon, NoSegment, SegmentSize,
    store::{
        search::{Stretch, last_segment},
        search_index::{self as store, SourceRow, Stale},
    },
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

/// Adds the next segment of a user, or lets the last one grow, if there are messages for a step up to a horizon that [`is_past`].
///
/// Several processes may do it at the same time: one of them succeeds. What is refused must be rolled back.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn add_segment(
    tx: &mut Tx,
    horizon: &IndexHorizon,
    size: SegmentSize,
) -> Result<Result<(), NoSegment>, DbError> {
    let user = &horizon.user_id;
    let last = last_segment(tx.conn(), user).await?;
    let covered = last.as_ref().map_or(0, |last| last.last_id);
    if !store::has_rest(tx.conn(), user, (covered, horizon.up_to), size.step()).await? {
        return Ok(Err(NoSegment::TooFewMessages));
    }
    let growing = last.filter(|last| !last.is_full);
    let after_id = growing.as_ref().map_or(covered, |growing| growing.after_id);
    let mut rows = store::sources(tx.conn(), user, (after_id, horizon.up_to), size).await?;
    let fitting = rows.iter().take_while(|row| row.fits).count();
    let is_full = fitting < rows.len() || i64::try_from(fitting).is_ok_and(|rows| rows >= size.messages);
    rows.truncate(fitting);
    let Some(last) = rows.last().filter(|_| is_full || size.steps > 1) else {
        return Ok(Err(NoSegment::TooFewMessages));
    };
    let times = || rows.iter().map(|row| row.created_at);
    let stretch = Stretch {
        after_id,
        last_id: last.source.id,
        first_at: times().min().unwrap_or(last.created_at),
        last_at: times().max().unwrap_or(last.created_at),
        is_full,
    };
    let sessions: BTreeSet<Uuid> = rows.iter().map(|row| row.source.session_id).collect();
    let sessions: Vec<Uuid> = sessions.into_iter().collect();
    let segment = build(rows).await?;
    // As late as possible, as it keeps messages from being added: whoever deletes one of the sessions has done so by now, or will
    // find the segment. A new one, which nobody else sees, is written before; one that grows is locked after its sessions, as by
    // those who delete them.
    let is_held = async |tx: &mut Tx| {
        store::hold_sessions(tx.conn(), user, &sessions).await.map(|held| held == sessions.len())
    };
    let is_done = match growing {
        None => store::insert(tx.conn(), user, &stretch, &segment).await? && is_held(tx).await?,
        Some(growing) => {
            let is_locked = is_held(tx).await? && store::lock_growing(tx.conn(), user, &growing).await?;
            if is_locked {
                store::replace(tx.conn(), user, &stretch, &segment).await?;
            }
            is_locked
        }
    };
    Ok(if is_done { Ok(()) } else { Err(NoSegment::Overtaken) })
}

/// Makes a segment again from which messages were deleted; false if there is none.
///
/// # Errors
/// [`DbError`]; then the transaction must be given up.
pub async fn refresh_segment(tx: &mut Tx, size: SegmentSize) -> Result<bool, DbError> {
    let Some(Stale { user_id, stretch }) = store::lock_stale(tx.conn()).await? else {
        return Ok(false);
    };
    // All of its messages are taken; texts beyond the bytes, of replies that ended since, are left to be read.
    let size = SegmentSize { messages: i64::MAX, ..size };
    let range = (stretch.after_id, stretch.last_id);
    let segment = build(store::sources(tx.conn(), &user_id, range, size).await?).await?;
    store::replace(tx.conn(), &user_id, &stretch, &segment).await?;
    Ok(true)
}

/// Takes up to a second, on a thread of its own.
async fn build(rows: Vec<SourceRow>) -> Result<Segment, DbError> {
    let building = spawn_blocking(move || segment::build(rows.into_iter().map(|row| row.source).collect()));
    building.await.map_err(|error| DbError::Inconsistent(error.to_string()))
}

//! Writing and reading events.

use kernel::UserId;
use pg::{DbError, PgConnection, Tx};

use crate::{
    model::{Event, NewEvent, Wanted},
    store,
};

mod receivers;

pub use receivers::{Receivers, configure};

/// Writes the events that are wanted in the transaction of their causes, in this order; one statement for any number. It needs
/// no answer to another statement of the transaction, so it may be sent beside them.
///
/// # Errors
/// [`DbError`]; then nothing of the transaction may be committed.
pub async fn enqueue(tx: &Tx, wanted: &Wanted, events: Vec<NewEvent>) -> Result<(), DbError> {
    let is_wanted = |event: &NewEvent| wanted.contains(&event.user_id, event.kind.event_type());
    let events: Vec<NewEvent> = events.into_iter().filter(is_wanted).collect();
    if events.is_empty() {
        return Ok(());
    }
    store::events::insert(tx.shared(), &events).await
}

/// The newest events of a user, newest first, at most `limit` (1 to 500).
///
/// # Errors
/// [`DbError`] when the database cannot be read.
pub async fn newest(conn: &mut PgConnection, user_id: &UserId, limit: i64) -> Result<Vec<Event>, DbError> {
    store::events::newest(conn, user_id, limit.clamp(1, 500)).await
}

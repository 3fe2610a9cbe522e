//! The receivers of events, and the copy of them in the process.

use std::sync::{Arc, PoisonError, RwLock};

use kernel::Clock;
use pg::{DbError, PgConnection, Tx};
use uuid::Uuid;

use crate::{
    model::{Receiver, Wanted},
    store,
};

/// The events that receivers want, kept in the process and never out of date.
///
/// Clones share the same copy. It belongs to one database.
#[derive(Debug, Clone, Default)]
pub struct Receivers(Arc<RwLock<Option<Edition>>>);

/// Stamp of an edition, and the events that are wanted.
type Edition = (Uuid, Arc<Wanted>);

impl Receivers {
    /// The stamp of the edition if, by the copy of the process, no receiver wants anything. A cause without events that is booked
    /// while [`STAMP`](crate::STAMP) has this value is complete.
    #[must_use]
    pub fn none(&self) -> Option<Uuid> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(_, wanted)| wanted.is_empty()).map(|(stamp, _)| *stamp)
    }

    /// The events that are wanted until the end of the transaction of this connection.
    ///
    /// To be called before the instant of the cause is read: the call waits for a change of the receivers, and a change waits for
    /// the transaction. So every cause that is booked while an event is wanted has its event, whatever process books it. One
    /// statement; two after a change.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be read.
    pub async fn wanted(&self, conn: &PgConnection) -> Result<Arc<Wanted>, DbError> {
        let stamp = store::receivers::lock_shared(conn).await?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, wanted)) = known.filter(|(known, _)| *known == stamp) {
            return Ok(wanted);
        }
        let wanted = Arc::new(Wanted::new(store::receivers::load(conn, None).await?));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((stamp, Arc::clone(&wanted)));
        Ok(wanted)
    }
}

/// Sets the events that the receiver `name` wants from now on; `None` for no events. Returns true if that is a change; only a
/// change waits for the transactions that write events.
///
/// # Errors
/// [`DbError`] when the database cannot be written; [`DbError::LockTimeout`] when a transaction that may write events takes long:
/// nothing was done, and another attempt helps.
pub async fn configure(
    tx: &mut Tx,
    clock: &dyn Clock,
    name: &str,
    receiver: Option<&Receiver>,
) -> Result<bool, DbError> {
    let wanted: Vec<Receiver> = receiver.into_iter().cloned().collect();
    let conn = tx.conn();
    if store::receivers::load(conn, Some(name)).await? == wanted {
        return Ok(false);
    }
    store::receivers::lock(conn).await?;
    store::receivers::end(conn, clock.pinned(), name).await?;
    for receiver in &wanted {
        store::receivers::begin(conn, clock.pinned(), name, receiver).await?;
    }
    store::receivers::renew_edition(conn).await?;
    Ok(true)
}

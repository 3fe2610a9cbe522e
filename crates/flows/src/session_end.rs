//! The end of a session, with the hold of a reply that runs in it.
//!
//! Guarantees that a session never goes and leaves its hold open. Touches credits, sessions and webhooks.

use credits::{Action, Command, Defaults};
use kernel::{Actor, CallerClass, Clock, FreeForm, Ids, Scope, UserId};
use pg::{Attempts, DbError, Pool, Tx};
use sessions::{Deleted, SessionRefusal, replies};
use uuid::Uuid;
use webhooks::Receivers;

use crate::events;

/// Deletes a session with its messages. A reply that runs in it ends, and its hold is released.
///
/// Refused as by [`sessions::delete`].
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn delete(
    pool: &Pool,
    clock: &dyn Clock,
    ids: &dyn Ids,
    session_id: Uuid,
    scope: &Scope,
) -> Result<Result<Deleted, SessionRefusal>, DbError> {
    let mut attempts = Attempts::up_to(5);
    loop {
        let running = pool.read(async |conn| replies::of_session(conn, session_id).await).await?;
        let held = running.and_then(|(user_id, hold_id)| Some((user_id, hold_id?)));
        let deleted = Tx::decide(pool, async |tx| {
            // The ledger first, as everywhere.
            if let Some((user_id, hold_id)) = &held {
                release(tx, clock, ids, user_id, *hold_id).await?;
            }
            let deleted = sessions::delete(tx, session_id, scope).await?;
            match &deleted {
                Ok(Deleted { hold_id: Some(hold_id), .. })
                    if held.as_ref().is_none_or(|(_, released)| released != hold_id) =>
                {
                    // Its reply began after the first look.
                    Err(DbError::overtaken())
                }
                _ => Ok(deleted),
            }
        });
        match deleted.await {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

async fn release(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    user_id: &UserId,
    hold_id: Uuid,
) -> Result<(), DbError> {
    let wanted = Receivers::default().wanted(tx.shared()).await?;
    let command = Command {
        user_id: user_id.clone(),
        actor: Actor::Service,
        caller: CallerClass::Service,
        nonce: ids.uuid(),
        description: None,
        metadata: FreeForm::empty(),
        action: Action::Release { hold_id },
    };
    // Refused if it was released, captured or has expired: then there is nothing to free.
    let done = credits::execute(tx, clock, Defaults::default(), std::slice::from_ref(&command)).await?;
    webhooks::enqueue(tx, &wanted, events::of_entries(&wanted, &done.entries, &done.low)).await
}

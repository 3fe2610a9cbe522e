//! The receiver of events that the configuration names, brought into the database at each start (HTTP contract 10 and 14).
//!
//! Of processes with different configurations the last one to start decides.

use kernel::Clock;
use pg::{Attempts, DbError, Pool, Tx};
use webhooks::Receiver;

/// Name of the receiver in the database.
const NAME: &str = "configured";

/// Lets the events of all users be stored from now on if there is a receiver, else no more.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn apply(pool: &Pool, clock: &dyn Clock, is_configured: bool) -> Result<(), DbError> {
    let receiver = is_configured.then_some(Receiver { only_user_id: None, event_types: None });
    let mut attempts = Attempts::up_to(3);
    let set = async |tx: &mut Tx| webhooks::configure(tx, clock, NAME, receiver.as_ref()).await;
    let is_changed = loop {
        match Tx::run(pool, set).await {
            Err(error) if attempts.again(&error).await => {}
            result => break result?,
        }
    };
    match (is_changed, is_configured) {
        (true, true) => tracing::info!("events are stored for WEBHOOK_URL from now on"),
        (true, false) => {
            tracing::info!("WEBHOOK_URL is not set any more: no events are stored for it from now on")
        }
        (false, _) => {}
    }
    Ok(())
}

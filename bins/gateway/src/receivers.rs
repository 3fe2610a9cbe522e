//! The receiver of events that the configuration names, brought into the database at each start (HTTP contract 10 and 14).
//!
//! Of processes with different configurations the last one to start decides.

use std::{sync::Arc, time::Duration};

use flows::jobs::{Job, Next};
use kernel::Clock;
use pg::{Attempts, DbError, Pool, Tx};
use webhooks::Receiver;

/// Name of the receiver in the database.
const NAME: &str = "configured";

/// Pause before another attempt, when a transaction that may write events takes long.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Lets the events of all users be stored from now on if there is a receiver, else no more. A change that would have to wait is left
/// to the job that this returns; nothing else is done later, because another process may have started since.
///
/// # Errors
/// [`DbError`] when the database cannot be asked.
pub async fn begin(pool: &Pool, clock: &Arc<dyn Clock>, is_configured: bool) -> Result<Option<Job>, DbError> {
    match apply(pool, &**clock, is_configured).await {
        Ok(()) => Ok(None),
        Err(DbError::LockTimeout(_)) => {
            tracing::warn!("WEBHOOK_URL takes effect later: a transaction that may write events takes long");
            Ok(Some(job(pool, clock, is_configured)))
        }
        Err(error) => Err(error),
    }
}

fn job(pool: &Pool, clock: &Arc<dyn Clock>, is_configured: bool) -> Job {
    let job = Job::new(
        "apply_webhook_url",
        AGAIN_AFTER,
        (pool.clone(), Arc::clone(clock), is_configured),
        |(pool, clock, is_configured)| {
            Box::pin(async { apply(pool, &**clock, *is_configured).await.map(|()| Next::Never) })
        },
    );
    job.first_after(AGAIN_AFTER)
}

async fn apply(pool: &Pool, clock: &dyn Clock, is_configured: bool) -> Result<(), DbError> {
    let receiver = is_configured.then_some(Receiver { only_user_id: None, event_types: None });
    let set = async |tx: &mut Tx| webhooks::configure(tx, clock, NAME, receiver.as_ref()).await;
    let mut attempts = Attempts::up_to(3);
    let is_changed = loop {
        match Tx::run(pool, set).await {
            Err(error) if attempts.again(&error).await => {}
            result => break result?,
        }
    };
    match (is_changed, is_configured) {
        (true, true) => tracing::info!("events are stored for WEBHOOK_URL from now on"),
        (true, false) => {
            tracing::info!("WEBHOOK_URL is not set any more: no events are stored for it from now on");
        }
        (false, _) => {}
    }
    Ok(())
}

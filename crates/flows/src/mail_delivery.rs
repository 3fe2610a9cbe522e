//! Sends the mails of the outbox. Touches identity.

use std::{sync::Arc, time::Duration};

use identity::mail::Mailer;
use pg::Pool;

use crate::jobs::{Job, Next};

/// Pause between two looks: somebody waits for the mail.
const EVERY: Duration = Duration::from_secs(2);

/// The job that sends mails. Each process passes over the mails that another one is sending.
#[must_use]
pub fn job(pool: &Pool, mailer: &Arc<Mailer>) -> Job {
    Job::new("deliver_mails", EVERY, (pool.clone(), Arc::clone(mailer)), |(pool, mailer)| {
        Box::pin(async {
            let mails = mailer.round(pool).await?;
            Ok(if mails > 0 { Next::AtOnce } else { Next::Later })
        })
    })
}

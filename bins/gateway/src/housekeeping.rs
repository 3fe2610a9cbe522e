//! Background jobs of the gateway.

use std::{sync::Arc, time::Duration};

use flows::{
    audit_pruning, erasure,
    jobs::Job,
    last_use::{self, Uses},
    ledger_audit,
    message_index::{self, IndexRequests},
    pruning, sweeper, usage_anomalies, usage_upkeep,
};
use kernel::{Clock, Ids};
use pg::Pool;

use crate::{administrators, config::Config, own_tokens};

/// Time from the start to the first audit of the ledger: not in the rush after an upgrade, and not a day later.
const FIRST_AUDIT_AFTER: Duration = Duration::from_mins(5);

/// The jobs that the configuration asks for, and those that do what requests have noted.
#[must_use]
pub fn jobs(
    config: &Config,
    pool: &Pool,
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn Ids>),
    (uses, index_requests): (&Arc<Uses>, &Arc<IndexRequests>),
) -> Vec<Job> {
    let mut jobs = Vec::from(usage_upkeep::jobs(pool, clock));
    jobs.extend([
        administrators::job(pool, clock, &config.auth.admin_user_ids),
        sweeper::job(pool, clock, config.credits.defaults),
        pruning::job(pool, clock, config.limits.idempotency_kept),
        erasure::job(pool, clock, ids),
        audit_pruning::job(pool, clock, config.limits.audit_kept),
        last_use::job(pool, uses),
        message_index::job(pool, index_requests),
    ]);
    jobs.extend(own_tokens::jobs(pool, clock));
    jobs.extend(config.usage.anomalies.map(|rule| usage_anomalies::job(pool, clock, rule)));
    let every = config.credits.verify_every;
    if !every.is_zero() {
        jobs.push(ledger_audit::job(pool, clock, FIRST_AUDIT_AFTER, every));
    }
    jobs
}

//! What runs without being asked for: due holds and grants, forgotten keys, months, anomalies, the audit of the ledger, the
//! second look at the administrators.

use std::{sync::Arc, time::Duration};

use flows::ledger_audit::Schedule;
use kernel::Clock;
use pg::Pool;
use tokio::task::JoinHandle;

use crate::{administrators, config::Config};

/// How long after the start the ledger is audited first: not in the rush after an upgrade, and not a day later.
const FIRST_AUDIT_AFTER: Duration = Duration::from_mins(5);

/// The tasks of the background. They go on until they are stopped.
#[derive(Debug)]
pub struct Housekeeping(Vec<JoinHandle<()>>);

impl Housekeeping {
    /// Starts what the configuration wants, on the present tokio runtime.
    #[must_use]
    pub fn start(config: &Config, pool: &Pool, clock: &Arc<dyn Clock>) -> Self {
        let (defaults, kept) = (config.credits.defaults, config.limits.idempotency_kept);
        let with = || (pool.clone(), Arc::clone(clock));
        let (sweeper, pruning, upkeep) = (with(), with(), with());
        let listed = config.auth.admin_user_ids.clone();
        let (pool_of_roles, clock_of_roles) = with();
        let mut tasks = vec![
            tokio::spawn(administrators::apply_again(
                pool_of_roles,
                clock_of_roles,
                listed,
                administrators::AGAIN_AFTER,
            )),
            flows::sweeper::start(sweeper.0, sweeper.1, defaults),
            flows::pruning::start(pruning.0, pruning.1, kept),
            flows::usage_upkeep::start(upkeep.0, upkeep.1),
        ];
        if let Some(rule) = config.usage.anomalies {
            let (pool, clock) = with();
            tasks.push(flows::usage_anomalies::start(pool, clock, rule));
        }
        let every = config.credits.verify_every;
        if !every.is_zero() {
            let ((pool, clock), first_after) = (with(), FIRST_AUDIT_AFTER);
            tasks.push(flows::ledger_audit::start(pool, clock, Schedule { first_after, every }));
        }
        Self(tasks)
    }

    /// Ends the tasks where they are; what they had not committed is not done.
    pub fn stop(&self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

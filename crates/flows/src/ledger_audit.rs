//! Audits the ledger now and then, while it works: what nobody notices in an answer is noticed here.
//!
//! The result is told as metrics, for an alarm, and as an error in the log that names the first drift. Reads only, in short
//! snapshots and at half speed, so that it takes no capacity to speak of; any number of processes may do so.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::Clock;
use pg::{DbError, Pool};

use crate::{
    jobs::{Job, Next},
    verify::{Report, Verification},
};

/// The job that audits: first after this time, then `every` after each end.
#[must_use]
pub fn job(pool: &Pool, clock: &Arc<dyn Clock>, first_after: Duration, every: Duration) -> Job {
    // Until one has ended the start counts, so that an alarm for the lack of audits works for those that never end, too.
    tell_time(&**clock);
    let job = Job::new("audit_ledger", every, (pool.clone(), Arc::clone(clock)), |(pool, clock)| {
        Box::pin(async {
            let report = run(pool, &**clock).await;
            if report.is_err() {
                metrics::counter!("ledger_verify_failures_total").increment(1);
            }
            report.map(|_| Next::Later)
        })
    });
    job.first_after(first_after).retry_after(first_after.min(every))
}

/// One audit of everything, told as metrics and in the log.
///
/// # Errors
/// [`DbError`] when the database could not be read to the end; then nothing is told.
pub async fn run(pool: &Pool, clock: &dyn Clock) -> Result<Report, DbError> {
    let began = Instant::now();
    let mut verification = Verification::default();
    loop {
        let chunk_began = Instant::now();
        if !verification.advance(pool).await? {
            break;
        }
        // Half of the time belongs to those who wait for an answer.
        tokio::time::sleep(chunk_began.elapsed()).await;
    }
    let report = verification.report();
    tell(&report, began.elapsed(), clock);
    Ok(report)
}

fn tell(report: &Report, took: Duration, clock: &dyn Clock) {
    metrics::gauge!("ledger_verify_violations").set(shown(report.found));
    metrics::gauge!("ledger_verify_accounts").set(shown(report.accounts));
    metrics::gauge!("ledger_verify_entries").set(shown(report.entries));
    metrics::gauge!("ledger_verify_usage_records").set(shown(report.records));
    metrics::gauge!("ledger_verify_duration_seconds").set(took);
    tell_time(clock);
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if let Some(first) = report.violations.first() {
        tracing::error!(
            ledger.rule = first.rule,
            user.id = first.user_id,
            entry.seq = first.seq,
            usage.at = first.at.map(kernel::rfc3339),
            ledger.detail = first.detail,
            ledger.violations = report.found,
            duration_ms,
            "the ledger has drifted; `gateway ledger verify` tells all of it"
        );
    } else {
        tracing::info!(
            ledger.accounts = report.accounts,
            ledger.entries = report.entries,
            usage.records = report.records,
            duration_ms,
            "the ledger was audited and is clean"
        );
    }
}

fn tell_time(clock: &dyn Clock) {
    let since_1970 = u64::try_from(clock.now().unix_timestamp()).unwrap_or(0);
    metrics::gauge!("ledger_verify_timestamp_seconds").set(Duration::from_secs(since_1970));
}

/// A count as a metric takes it: more than four billion are shown as that.
fn shown(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

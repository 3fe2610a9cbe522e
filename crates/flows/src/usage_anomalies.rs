//! Notices users who suddenly spend far more than usual: a leaked key, a loop that never ends.
//!
//! Guarantees one event for each hour of a user, however many processes look. Touches usage and webhooks, one commit for up to
//! 200 users. Nothing is stopped by it: that is what budgets are for.

use std::{sync::Arc, time::Duration};

use kernel::{Clock, UserId, rfc3339};
use pg::{DbError, Pool, Tx};
use time::OffsetDateTime;
use usage::{Anomaly, AnomalyRule};
use webhooks::{EventKind, NewEvent, Receivers};

use crate::jobs::{Job, Next};

/// Pause between two looks: how late a spike may be noticed.
const EVERY: Duration = Duration::from_secs(2 * 60);
/// Most users that one look compares, the largest spenders of an hour.
const USERS_MAX: i64 = 10_000;
/// Users of one commit: some ten thousand roll-ups are read for them.
const USERS_A_COMMIT: usize = 200;

/// The job that looks for them.
#[must_use]
pub fn job(pool: &Pool, clock: &Arc<dyn Clock>, rule: AnomalyRule) -> Job {
    Job::new("find_usage_anomalies", EVERY, (pool.clone(), Arc::clone(clock), rule), |(pool, clock, rule)| {
        Box::pin(async { run(pool, &**clock, *rule).await.map(|_| Next::Later) })
    })
}

/// One look at the present hour and at the one that ended last, for what was recorded at its end. Answers how many anomalies
/// were new; counted in `usage_anomalies_total`.
///
/// # Errors
/// [`DbError`]; what was noted before it stays.
pub async fn run(pool: &Pool, clock: &dyn Clock, rule: AnomalyRule) -> Result<usize, DbError> {
    let now = usage::hour_of(clock.now());
    let before = now.checked_sub(time::Duration::HOUR).unwrap_or(now);
    let mut noted = 0_usize;
    for hour in [before, now] {
        let users = pool.read(async |conn| usage::spenders(conn, hour, rule, USERS_MAX).await).await?;
        for some in users.chunks(USERS_A_COMMIT) {
            noted = noted.saturating_add(note(pool, clock, hour, rule, some).await?);
        }
    }
    Tx::run(pool, async |tx| usage::forget_anomalies(tx.conn(), clock).await).await?;
    Ok(noted)
}

async fn note(
    pool: &Pool,
    clock: &dyn Clock,
    hour: OffsetDateTime,
    rule: AnomalyRule,
    users: &[UserId],
) -> Result<usize, DbError> {
    let anomalies = Tx::run(pool, async |tx| note_in(tx, clock, hour, rule, users).await).await?;
    for anomaly in &anomalies {
        metrics::counter!("usage_anomalies_total").increment(1);
        tracing::warn!(
            user.id = %anomaly.user_id,
            usage.hour = rfc3339(anomaly.hour),
            usage.spent = %anomaly.spent,
            usage.usual = %anomaly.usual,
            "a user spends far more than usual"
        );
    }
    Ok(anomalies.len())
}

async fn note_in(
    tx: &mut Tx,
    clock: &dyn Clock,
    hour: OffsetDateTime,
    rule: AnomalyRule,
    users: &[UserId],
) -> Result<Vec<Anomaly>, DbError> {
    let anomalies = usage::note_anomalies(tx, clock, hour, rule, users).await?;
    let wanted = Receivers::default().wanted(tx.shared()).await?;
    let at = clock.now();
    let events = anomalies.iter().map(|one| event(one, rule, at)).collect();
    webhooks::enqueue(tx, &wanted, events).await?;
    Ok(anomalies)
}

fn event(anomaly: &Anomaly, rule: AnomalyRule, at: OffsetDateTime) -> NewEvent {
    NewEvent {
        user_id: anomaly.user_id.clone(),
        kind: EventKind::UsageAnomaly(webhooks::Anomaly {
            hour: rfc3339(anomaly.hour),
            spent: anomaly.spent,
            usual: anomaly.usual,
            factor: rule.factor,
        }),
        at,
    }
}

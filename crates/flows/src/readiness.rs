//! Readiness for requests: the database takes writes, the schema is this version's, and no queue is stuck.
//!
//! Guarantees an answer within [`ANSWER_MAX`], also while every connection hangs, and no more than one probe at a time
//! and a second, however many ask. While the result of a probe holds, callers find it on their own thread.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pg::{
    DbError, Pool, QueueHealth,
    pool::chain,
    probe::{self, ProbeDepth},
};
use tokio::sync::{mpsc, oneshot};

use crate::{BalanceReads, MIGRATIONS, StatusReads, Writes};

/// Longest time until there is an answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest time a probe may take.
const PROBE_MAX: Duration = Duration::from_millis(1_800);
/// Time that the result of a probe holds.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// A batch that is under way for longer than this is stuck; usually it takes milliseconds.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// As many attempts of a queue that failed through the database, none succeeding between, are no accident.
const FAILURES_MAX: u32 = 3;
/// Time for which they count. Without attempts the probe decides.
const FAILURES_COUNT_FOR: Duration = Duration::from_secs(10);
/// Pause between probes that need room on the disk, while nothing is suspicious.
const PAGE_EVERY: Duration = Duration::from_secs(30);
/// Callers that wait for an answer; further ones are told that it is not ready.
const CALLERS_MAX: usize = 1_024;

/// The findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// True if the database takes writes and every queue moves.
    pub database: bool,
    /// True if the schema has every migration of this version.
    pub migrations: bool,
}

/// Finds out on demand. Cheap to clone; usable from any runtime.
#[derive(Clone)]
pub struct ReadinessProbe {
    ask: mpsc::Sender<oneshot::Sender<Readiness>>,
    findings: Arc<Findings>,
}

/// The state of the queues, and the result of the last probe.
struct Findings {
    health: Box<dyn Fn() -> [QueueHealth; 4] + Send + Sync>,
    last: Mutex<Option<(Instant, Readiness)>>,
}

/// The queues whose health counts.
#[derive(Debug, Clone)]
pub struct Queues {
    /// Writes of requests.
    pub writes: Writes,
    /// Writes in bulk.
    pub bulk: Writes,
    /// Reads of balances.
    pub balances: BalanceReads,
    /// Reads of users' status.
    pub statuses: StatusReads,
}

impl ReadinessProbe {
    /// Starts on the present tokio runtime; ends with the last clone.
    #[must_use]
    pub fn start(pool: Pool, queues: Queues) -> Self {
        let health = move || {
            [queues.writes.health(), queues.bulk.health(), queues.balances.health(), queues.statuses.health()]
        };
        Self::judging(pool, health)
    }

    fn judging(pool: Pool, health: impl Fn() -> [QueueHealth; 4] + Send + Sync + 'static) -> Self {
        let (ask, asked) = mpsc::channel(CALLERS_MAX);
        let findings = Arc::new(Findings { health: Box::new(health), last: Mutex::default() });
        let prober = Prober { pool, findings: Arc::clone(&findings), last_page: None, reported: None };
        tokio::spawn(prober.serve(asked));
        Self { ask, findings }
    }

    /// Returns true if requests should be sent here, as of a second ago at most.
    pub async fn ask(&self) -> Readiness {
        if let Some(readiness) = self.findings.judge().ok().flatten() {
            return readiness;
        }
        let (caller, answer) = oneshot::channel();
        if self.ask.try_send(caller).is_err() {
            return Readiness::default();
        }
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(Ok(readiness)) => readiness,
            _ => Readiness::default(),
        }
    }
}

impl fmt::Debug for ReadinessProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadinessProbe")
    }
}

impl Findings {
    /// The result of the last probe, while it holds.
    ///
    /// # Errors
    /// Why no request should be sent here, whatever a probe says.
    fn judge(&self) -> Result<Option<Readiness>, String> {
        let (health, now) = ((self.health)(), Instant::now());
        match health.iter().find_map(|queue| fault(queue, now)) {
            Some(fault) => Err(fault),
            None => Ok(self
                .last()
                .filter(|(at, _)| now.saturating_duration_since(*at) < FRESH_FOR)
                .map(|(_, last)| last)),
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, Readiness)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Prober {
    pool: Pool,
    findings: Arc<Findings>,
    /// When the last probe that needed room on the disk succeeded.
    last_page: Option<Instant>,
    /// Last value in the log.
    reported: Option<bool>,
}

impl Prober {
    async fn serve(mut self, mut asked: mpsc::Receiver<oneshot::Sender<Readiness>>) {
        let mut callers = Vec::new();
        while asked.recv_many(&mut callers, CALLERS_MAX).await > 0 {
            let readiness = self.find_out().await;
            for caller in callers.drain(..) {
                if caller.send(readiness).is_err() {
                    tracing::trace!("a caller of the readiness probe is gone");
                }
            }
        }
    }

    async fn find_out(&mut self) -> Readiness {
        match self.findings.judge() {
            Err(fault) => {
                let migrations = self.findings.last().is_some_and(|(_, last)| last.migrations);
                self.report(Err(fault));
                return Readiness { database: false, migrations };
            }
            Ok(Some(last)) => return last,
            Ok(None) => {}
        }
        let health = (self.findings.health)();
        let failed_at = health.iter().filter_map(|queue| queue.failed_at).max();
        let depth = match self.last_page {
            Some(page) if page.elapsed() < PAGE_EVERY && failed_at.is_none_or(|failed| failed < page) => {
                ProbeDepth::Row
            }
            _ => ProbeDepth::Page,
        };
        let began = Instant::now();
        let outcome = match tokio::time::timeout(PROBE_MAX, ask_database(&self.pool, depth)).await {
            Ok(Ok(migrations)) => Ok(migrations),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_elapsed) => Err("the database did not answer in time".to_owned()),
        };
        if outcome.is_ok() && depth == ProbeDepth::Page {
            self.last_page = Some(began);
        }
        let readiness = Readiness {
            database: outcome.is_ok(),
            migrations: outcome.as_ref().is_ok_and(|applied| *applied),
        };
        self.report(match outcome {
            Ok(true) => Ok(()),
            Ok(false) => Err("a migration is missing".to_owned()),
            Err(why) => Err(why),
        });
        *self.findings.last() = Some((Instant::now(), readiness));
        readiness
    }

    /// Logs a change, not each question.
    fn report(&mut self, outcome: Result<(), String>) {
        let changed = self.reported.replace(outcome.is_ok()) != Some(outcome.is_ok());
        match outcome {
            Err(reason) if changed => tracing::warn!(reason, "not ready for requests"),
            Ok(()) if changed => tracing::info!("ready for requests"),
            _ => {}
        }
    }
}

/// Writes, then looks for migrations that are missing.
async fn ask_database(pool: &Pool, depth: ProbeDepth) -> Result<bool, DbError> {
    probe::write(pool, depth).await?;
    Ok(pg::migrate::pending(pool, MIGRATIONS).await?.is_empty())
}

/// Why no request should be sent to this queue, whatever the probe says.
fn fault(queue: &QueueHealth, now: Instant) -> Option<String> {
    let name = queue.name;
    if queue.stuck_for >= STUCK_AFTER {
        return Some(format!("the queue {name} has been at one batch for {} s", queue.stuck_for.as_secs()));
    }
    let recent = |at: Instant| now.saturating_duration_since(at) < FAILURES_COUNT_FOR;
    let failing = queue.failures >= FAILURES_MAX && queue.failed_at.is_some_and(recent);
    failing.then(|| {
        format!("the last {} batches of the queue {name} failed through the database", queue.failures)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt as _;
    use pg::PoolSettings;
    use tokio::net::TcpListener;

    use super::*;

    const FINE: QueueHealth =
        QueueHealth { name: "writes", stuck_for: Duration::ZERO, failures: 0, failed_at: None };

    #[test]
    fn queues_that_are_stuck_or_keep_failing_are_faults_for_a_while() {
        let now = Instant::now();
        assert_eq!(fault(&FINE, now), None);
        let stuck = |stuck_for| fault(&QueueHealth { stuck_for, ..FINE }, now).is_some();
        assert!(stuck(STUCK_AFTER) && !stuck(STUCK_AFTER / 2));
        let failing = |failures, now| {
            let failed_at = Some(Instant::now());
            fault(&QueueHealth { failures, failed_at, ..FINE }, now).is_some()
        };
        assert!(failing(FAILURES_MAX, now) && !failing(FAILURES_MAX - 1, now));
        assert!(!failing(FAILURES_MAX, now + 2 * FAILURES_COUNT_FOR));
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_not_ready_within_a_bounded_time() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let mut settings = PoolSettings::new(format!("postgresql://app@127.0.0.1:{port}/app"));
        settings.connect_timeout = Duration::from_secs(3_600);
        let probe = ReadinessProbe::judging(Pool::new(&settings).unwrap(), || [FINE; 4]);
        let asked = async { (probe.ask().await, probe.ask().await) };
        let answers = tokio::time::timeout(Duration::from_secs(60), asked).await;
        assert_eq!(answers, Ok((Readiness::default(), Readiness::default())));
    }

    /// Nothing runs beside the caller on this runtime, so only what they find themselves is there at once.
    #[tokio::test]
    async fn callers_find_what_holds_themselves_and_faults_at_once() {
        let is_stuck = Arc::new(AtomicBool::new(false));
        let stuck = Arc::clone(&is_stuck);
        let health = move || {
            let stuck_for = if stuck.load(Ordering::Relaxed) { STUCK_AFTER } else { Duration::ZERO };
            [FINE, FINE, FINE, QueueHealth { stuck_for, ..FINE }]
        };
        let settings = PoolSettings::new("postgresql://app@127.0.0.1:1/app".to_owned());
        let probe = ReadinessProbe::judging(Pool::new(&settings).unwrap(), health);
        let ready = Readiness { database: true, migrations: true };
        let at_once = || probe.ask().now_or_never();
        assert_eq!(at_once(), None, "nothing is known yet");
        *probe.findings.last() = Some((Instant::now(), ready));
        assert_eq!(at_once(), Some(ready));
        is_stuck.store(true, Ordering::Relaxed);
        assert_eq!(at_once(), None);
        assert_eq!(probe.ask().await, Readiness { database: false, migrations: true });
        is_stuck.store(false, Ordering::Relaxed);
        *probe.findings.last() = Instant::now().checked_sub(FRESH_FOR).map(|at| (at, ready));
        assert_eq!(at_once(), None, "it does not hold any more");
        assert_eq!(probe.ask().await, Readiness::default());
    }
}

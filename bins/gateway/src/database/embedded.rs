//! The private server, kept running: one that was killed or crashed is started again, a few times.
//!
//! While it is away the service is up and refuses what needs the database (503, `/readyz` too), as with a remote server
//! that restarts. A server that keeps ending needs a person: then [`Embedded::ended`] tells, and the process ends, so that
//! whoever supervises it notices.

use std::{
    collections::VecDeque,
    process::ExitStatus,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use local_postgres::{Error, ExitWatch, LocalPostgres, Settings};
use tokio::sync::watch;

use super::error::DatabaseError;

/// Most starts after an end that nobody asked for, within [`RESTARTS_WITHIN`].
const RESTARTS_MAX: usize = 5;
const RESTARTS_WITHIN: Duration = Duration::from_mins(10);
/// Time that another program may have the data folder when the server is to be started again.
const VISITOR_PATIENCE: Duration = Duration::from_secs(60);
const VISITOR_POLL: Duration = Duration::from_millis(100);

/// A private server that runs, or is just being started again.
#[derive(Debug)]
pub(super) struct Embedded {
    slot: Arc<Slot>,
    url: String,
    /// Why it is not started any more; nothing while it is.
    ended: watch::Receiver<Option<String>>,
}

/// State shared by user and watcher.
#[derive(Debug)]
struct Slot {
    /// The server; none once it was asked to stop.
    server: Mutex<Option<LocalPostgres>>,
    /// True if it was asked to stop, also while it is being started again.
    stopping: AtomicBool,
}

impl Slot {
    fn server(&self) -> MutexGuard<'_, Option<LocalPostgres>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the server out, so that nobody starts another. Waits for a start that is under way.
    fn empty(&self) -> Option<LocalPostgres> {
        self.stopping.store(true, Ordering::Release);
        self.server().take()
    }
}

impl Embedded {
    /// Starts the server.
    ///
    /// # Errors
    /// [`DatabaseError::Start`].
    pub(super) async fn start(settings: Settings) -> Result<Self, DatabaseError> {
        let its_settings = settings.clone();
        let server = tokio::task::spawn_blocking(move || LocalPostgres::start(&its_settings))
            .await
            .map_err(DatabaseError::BrokeOff)?
            .map_err(DatabaseError::Start)?;
        let (url, exit) = (server.url(), server.exit_watch());
        let (teller, ended) = watch::channel(None);
        let slot = Arc::new(Slot { server: Mutex::new(Some(server)), stopping: AtomicBool::new(false) });
        let keeper = Keeper { slot: Arc::clone(&slot), settings, restarts: Restarts::default() };
        // A thread of its own: a blocking task would keep the runtime from ending while the server lives.
        let spawned = std::thread::Builder::new().name("database-watch".to_owned()).spawn(move || {
            if let Some(how) = keeper.keep(exit) {
                teller.send_replace(Some(how));
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "the private PostgreSQL is not watched");
        }
        Ok(Self { slot, url, ended })
    }

    /// Where it is; the same after each start.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it has ended for good without having been asked to, and says how.
    pub(super) async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "is not watched any more".to_owned(),
        }
    }

    /// Stops it. Waits for a start that is under way.
    ///
    /// # Errors
    /// [`DatabaseError::Stop`] when it had to be forced.
    pub(super) async fn stop(self) -> Result<(), DatabaseError> {
        let slot = Arc::clone(&self.slot);
        let stop = move || match slot.empty() {
            Some(server) => server.stop(),
            None => Ok(()),
        };
        tokio::task::spawn_blocking(stop).await.map_err(DatabaseError::BrokeOff)?.map_err(DatabaseError::Stop)
    }
}

impl Drop for Embedded {
    /// Whoever gives up before [`Embedded::stop`] leaves no server behind: dropping one stops it.
    fn drop(&mut self) {
        drop(self.slot.empty());
    }
}

/// State of the watching thread.
struct Keeper {
    slot: Arc<Slot>,
    settings: Settings,
    restarts: Restarts,
}

impl Keeper {
    /// Starts the server again each time it ends, until it is stopped, or has ended for good: then says how.
    fn keep(mut self, mut exit: ExitWatch) -> Option<String> {
        let slot = Arc::clone(&self.slot);
        loop {
            let status = exit.wait();
            // Whoever wants to stop it waits meanwhile, and then stops the new one.
            let mut slot = slot.server();
            // Dropping what is left of the old one frees the data folder.
            drop(slot.take()?);
            let again = match self.judge(status) {
                Ok(()) => self.start_again(),
                Err(how) => Err(how),
            };
            match again {
                Ok(server) => {
                    exit = server.exit_watch();
                    *slot = Some(server);
                }
                Err(how) => return Some(how),
            }
        }
    }

    /// Returns true if the server is to be started again; else the end.
    fn judge(&mut self, status: ExitStatus) -> Result<(), String> {
        if status.success() {
            // Somebody told it to, who would have to do so again and again.
            return Err("was shut down by somebody".to_owned());
        }
        if !self.restarts.allow(Instant::now()) {
            return Err(format!(
                "ended unexpectedly ({status}), after {RESTARTS_MAX} starts in {} minutes",
                RESTARTS_WITHIN.as_secs() / 60
            ));
        }
        tracing::error!(%status, "the private PostgreSQL ended unexpectedly and is started again");
        metrics::counter!("database_restarts_total").increment(1);
        Ok(())
    }

    /// The folder was free for an instant, and a program that audits it may have it now, for as long as it needs.
    fn start_again(&self) -> Result<LocalPostgres, String> {
        let began = Instant::now();
        loop {
            match LocalPostgres::start(&self.settings) {
                Err(Error::Locked { .. })
                    if began.elapsed() < VISITOR_PATIENCE && !self.slot.stopping.load(Ordering::Acquire) =>
                {
                    std::thread::sleep(VISITOR_POLL);
                }
                outcome => {
                    return outcome.map_err(|error| {
                        format!("ended unexpectedly and did not start again: {}", pg::pool::chain(&error))
                    });
                }
            }
        }
    }
}

/// When it was started again.
#[derive(Debug, Default)]
struct Restarts(VecDeque<Instant>);

impl Restarts {
    /// Returns true if one more is allowed at `now`; then it counts.
    fn allow(&mut self, now: Instant) -> bool {
        while self.0.front().is_some_and(|earlier| now.duration_since(*earlier) >= RESTARTS_WITHIN) {
            self.0.pop_front();
        }
        let allowed = self.0.len() < RESTARTS_MAX;
        if allowed {
            self.0.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_that_is_dropped_is_stopped_and_frees_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut settings = Settings::new(folder.path().join("data"));
        settings.path = Some(testkit::search_path().into());
        settings.durability = local_postgres::Durability::Disposable;
        drop(Embedded::start(settings.clone()).await.unwrap());
        // Its folder is locked as long as it lives.
        let next = Embedded::start(settings).await.unwrap();
        next.stop().await.unwrap();
    }

    #[test]
    fn restarts_are_bounded_within_a_while_and_not_forever() {
        let (mut restarts, began) = (Restarts::default(), Instant::now());
        let at = |minutes| began + Duration::from_mins(minutes);
        for minute in 0..5 {
            assert!(restarts.allow(at(minute)));
        }
        assert!(!restarts.allow(at(9)));
        assert!(restarts.allow(at(10)) && !restarts.allow(at(10)), "the first has been forgotten");
        assert!(restarts.allow(at(11)));
    }
}

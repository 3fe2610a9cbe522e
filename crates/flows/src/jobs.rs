//! Background work: jobs, and the one runner of all of them.
//!
//! Any number of processes may run the same jobs at the same time.

use std::{
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use kernel::Clock;
use pg::{DbError, pool::chain};
use tokio::task::JoinHandle;

/// Time of the next run after a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// After its pause.
    Later,
    /// At once: there is more to do.
    AtOnce,
    /// Never.
    Never,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Next, DbError>> + Send + 'a>>;

/// Work that is done again and again.
pub struct Job {
    name: &'static str,
    first_after: Duration,
    pause: Duration,
    retry_after: Duration,
    work: Box<dyn Work>,
}

impl Job {
    /// A job that runs first at once, then `pause` after each end, also after a failure. `run` gets the state of the job; a
    /// failure in it is logged and counted here.
    pub fn new<S: Send + 'static>(
        name: &'static str,
        pause: Duration,
        state: S,
        run: for<'a> fn(&'a mut S) -> Running<'a>,
    ) -> Self {
        let work = Box::new(Stateful { state, run });
        Self { name, first_after: Duration::ZERO, pause, retry_after: pause, work }
    }

    /// The same job, which waits before its first run.
    #[must_use]
    pub fn first_after(self, first_after: Duration) -> Self {
        Self { first_after, ..self }
    }

    /// The same job with another pause after a failure.
    #[must_use]
    pub fn retry_after(self, retry_after: Duration) -> Self {
        Self { retry_after, ..self }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).field("pause", &self.pause).finish_non_exhaustive()
    }
}

trait Work: Send {
    fn run(&mut self) -> Running<'_>;
}

struct Stateful<S> {
    state: S,
    run: for<'a> fn(&'a mut S) -> Running<'a>,
}

impl<S: Send> Work for Stateful<S> {
    fn run(&mut self) -> Running<'_> {
        (self.run)(&mut self.state)
    }
}

/// Runs jobs beside one another until it is stopped or dropped.
///
/// Metrics by job: `job_success_timestamp_seconds` (the end of the last run that succeeded; the start of the runner until then),
/// `job_duration_seconds` (of the last run), `job_failures_total`. A panic in a job is a failure of that run.
#[derive(Debug)]
pub struct JobRunner(Vec<JoinHandle<()>>);

impl JobRunner {
    /// Starts the jobs on the present tokio runtime.
    #[must_use]
    pub fn start(jobs: impl IntoIterator<Item = Job>, clock: &Arc<dyn Clock>) -> Self {
        Self(jobs.into_iter().map(|job| tokio::spawn(run(job, Arc::clone(clock)))).collect())
    }

    /// Waits until every job has ended by itself ([`Next::Never`]).
    pub async fn ended(mut self) {
        for job in std::mem::take(&mut self.0) {
            drop(job.await);
        }
    }

    /// Ends the jobs where they are; what they had not committed is not done.
    pub fn stop(&self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for JobRunner {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(mut job: Job, clock: Arc<dyn Clock>) {
    note_success(job.name, &*clock);
    let mut pause = job.first_after;
    loop {
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        let done = AssertUnwindSafe(job.work.run()).catch_unwind().await;
        metrics::gauge!("job_duration_seconds", "job" => job.name).set(began.elapsed());
        let done = done.unwrap_or_else(|_panic| Err(DbError::Inconsistent("the job panicked".to_owned())));
        pause = match done {
            Ok(next) => {
                note_success(job.name, &*clock);
                match next {
                    Next::Later => job.pause,
                    Next::AtOnce => Duration::ZERO,
                    Next::Never => return,
                }
            }
            Err(error) => {
                metrics::counter!("job_failures_total", "job" => job.name).increment(1);
                let retry_after_seconds = job.retry_after.as_secs();
                tracing::warn!(
                    error = chain(&error),
                    job.name = job.name,
                    retry_after_seconds,
                    "a background job failed and will be tried again"
                );
                job.retry_after
            }
        };
    }
}

fn note_success(name: &'static str, clock: &dyn Clock) {
    let since_1970 = u64::try_from(clock.now().unix_timestamp()).unwrap_or(0);
    metrics::gauge!("job_success_timestamp_seconds", "job" => name).set(Duration::from_secs(since_1970));
}

//! Background jobs: when they run, and how they end.

use std::{sync::Arc, time::Duration};

use flows::jobs::{Job, JobRunner, Next};
use kernel::Clock;
use pg::DbError;
use tokio::sync::mpsc;

/// A pause that no test waits for.
const LONG: Duration = Duration::from_secs(3_600);

/// Kind of failure of a run.
enum Failure {
    Error,
    Panic,
}

type Runs = mpsc::UnboundedReceiver<usize>;

/// A job whose runs end as listed, and report their number. After the list it ends.
fn scripted(pause: Duration, script: Vec<Result<Next, Failure>>) -> (Job, Runs) {
    let (told, runs) = mpsc::unbounded_channel();
    let job = Job::new("scripted", pause, (told, script.into_iter().enumerate()), |(told, script)| {
        Box::pin(async {
            let Some((number, result)) = script.next() else { return Ok(Next::Never) };
            told.send(number).unwrap();
            result.map_err(|failure| match failure {
                Failure::Error => DbError::Inconsistent("as planned".to_owned()),
                Failure::Panic => panic!("as planned"),
            })
        })
    });
    (job, runs)
}

fn start(job: Job) -> JobRunner {
    let clock: Arc<dyn Clock> = Arc::new(testkit::clock());
    JobRunner::start([job], &clock)
}

async fn told(mut runs: Runs) -> Vec<usize> {
    let mut told = Vec::new();
    while let Some(number) = runs.recv().await {
        told.push(number);
    }
    told
}

#[tokio::test]
async fn a_job_runs_until_it_needs_no_more() {
    let (job, runs) = scripted(Duration::ZERO, vec![Ok(Next::Later), Ok(Next::AtOnce), Ok(Next::Never)]);
    start(job).ended().await;
    assert_eq!(told(runs).await, [0, 1, 2]);
}

#[tokio::test]
async fn more_to_do_waits_for_no_pause() {
    let (job, runs) = scripted(LONG, vec![Ok(Next::AtOnce), Ok(Next::AtOnce)]);
    start(job).ended().await;
    assert_eq!(told(runs).await, [0, 1]);
}

#[tokio::test]
async fn a_failure_or_a_panic_is_tried_again_after_its_own_pause() {
    let (job, runs) = scripted(LONG, vec![Err(Failure::Error), Err(Failure::Panic), Ok(Next::AtOnce)]);
    start(job.retry_after(Duration::ZERO)).ended().await;
    assert_eq!(told(runs).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_job_that_waits_for_its_first_run_is_stopped() {
    let (job, runs) = scripted(LONG, vec![Ok(Next::AtOnce)]);
    drop(start(job.first_after(LONG)));
    assert!(told(runs).await.is_empty());
}

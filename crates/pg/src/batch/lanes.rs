//! The way into the lanes: bounded in items and in bytes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

use super::{
    answer::{Answer, Rejected},
    executor::Executor,
    items::Waiting,
    limits::BatchLimits,
    monitor::{Monitor, QueueHealth},
    runner::Runner,
    turn::Turns,
    worker::serve,
};

pub(super) struct Lanes<E: Executor> {
    entrances: RwLock<Vec<Entrance<E::Item, E::Outcome>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    runner: Arc<Runner<E>>,
}

/// Where the items of a lane go in.
struct Entrance<I, O> {
    sender: mpsc::Sender<Waiting<I, O>>,
    /// Waiting items of the lane.
    bytes: Arc<AtomicUsize>,
}

impl<E: Executor> Lanes<E> {
    /// Starts the workers of all lanes on the present tokio runtime.
    pub(super) fn start(limits: BatchLimits, executor: E) -> Arc<Self> {
        let (mut entrances, mut workers) = (Vec::new(), Vec::new());
        let runner = Arc::new(Runner::new(executor, limits));
        for _ in 0..limits.lanes.max(1) {
            let (sender, lane) = mpsc::channel(limits.queue_items_max.max(1));
            let bytes = Arc::default();
            let turns = Turns::new(lane, Arc::clone(&bytes));
            let worker = |_| tokio::spawn(serve(Arc::clone(&runner), Arc::clone(&turns)));
            workers.extend((0..limits.workers.max(1)).map(worker));
            entrances.push(Entrance { sender, bytes });
        }
        Arc::new(Self { entrances: RwLock::new(entrances), workers: Mutex::new(workers), runner })
    }

    pub(super) async fn submit(
        &self,
        key: &str,
        item: E::Item,
        weight: usize,
    ) -> Result<E::Outcome, Rejected> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let (answer, outcome) = Answer::to_come();
        let is_plain = self.runner.executor.is_plain(&item);
        self.enter(Waiting { item, key: hasher.finish(), weight, is_plain, since: Instant::now(), answer })?;
        // An answer is given even when it is dropped, so the last word is never needed.
        outcome.await.unwrap_or(Err(Rejected::OutcomeUnknown))
    }

    fn enter(&self, waiting: Waiting<E::Item, E::Outcome>) -> Result<(), Rejected> {
        let entrances = self.entrances.read().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(entrances.len()).unwrap_or(u64::MAX);
        let lane = waiting.key.checked_rem(count);
        lane.and_then(|lane| entrances.get(usize::try_from(lane).ok()?)).ok_or(Rejected::Full)?.enter(
            waiting,
            &self.runner.monitor,
            self.runner.limits.queue_bytes_max,
        )
    }

    pub(super) fn health(&self) -> QueueHealth {
        let entrances = self.entrances.read().unwrap_or_else(PoisonError::into_inner);
        let waits = |entrance: &Entrance<_, _>| entrance.bytes.load(Ordering::Relaxed) > 0;
        self.runner.monitor.health(entrances.iter().any(waits))
    }

    pub(super) async fn flush(&self) {
        self.entrances.write().unwrap_or_else(PoisonError::into_inner).clear();
        for worker in self.workers.lock().await.drain(..) {
            if let Err(error) = worker.await {
                tracing::error!(error = %error, "a batching lane ended badly");
            }
        }
    }
}

impl<I, O> Entrance<I, O> {
    fn enter(&self, waiting: Waiting<I, O>, monitor: &Monitor, bytes_max: usize) -> Result<(), Rejected> {
        let weight = waiting.weight;
        if self.bytes.load(Ordering::Relaxed) == 0 {
            monitor.wake();
        }
        let before = self.bytes.fetch_add(weight, Ordering::Relaxed);
        let fits = before.saturating_add(weight) <= bytes_max;
        if fits && self.sender.try_send(waiting).is_ok() {
            return Ok(());
        }
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
        Err(Rejected::Full)
    }
}

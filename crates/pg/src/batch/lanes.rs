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

pub(super) struct Lanes<I, O> {
    entrances: Arc<RwLock<Vec<Entrance<I, O>>>>,
    workers: Arc<Mutex<Vec<JoinHandle<()>>>>,
    monitor: Arc<Monitor>,
}

/// Where the items of a lane go in.
struct Entrance<I, O> {
    sender: mpsc::Sender<Waiting<I, O>>,
    /// What waits in the lane.
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl<I, O> Clone for Lanes<I, O> {
    fn clone(&self) -> Self {
        Self {
            entrances: Arc::clone(&self.entrances),
            workers: Arc::clone(&self.workers),
            monitor: Arc::clone(&self.monitor),
        }
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Lanes<I, O> {
    /// Starts the workers of all lanes on the present tokio runtime.
    pub(super) fn start<E>(limits: BatchLimits, executor: &E) -> Self
    where
        E: Executor<Item = I, Outcome = O> + Clone,
    {
        let (mut entrances, mut workers) = (Vec::new(), Vec::new());
        let monitor = Monitor::new(limits.name);
        for _ in 0..limits.lanes.max(1) {
            let (sender, lane) = mpsc::channel(limits.queue_items_max.max(1));
            let bytes = Arc::default();
            let turns = Turns::new(lane, Arc::clone(&bytes));
            workers.extend((0..limits.workers.max(1)).map(|_| {
                let runner = Runner::new(executor.clone(), limits, Arc::clone(&monitor));
                tokio::spawn(serve(runner, turns.clone()))
            }));
            entrances.push(Entrance { sender, bytes, bytes_max: limits.queue_bytes_max });
        }
        Self { entrances: Arc::new(RwLock::new(entrances)), workers: Arc::new(Mutex::new(workers)), monitor }
    }

    pub(super) async fn submit(&self, key: &str, item: I, weight: usize) -> Result<O, Rejected> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let (answer, outcome) = Answer::to_come();
        self.enter(Waiting { item, key: hasher.finish(), weight, since: Instant::now(), answer })?;
        // An answer is given even when it is dropped, so the last word is never needed.
        outcome.await.unwrap_or(Err(Rejected::OutcomeUnknown))
    }

    fn enter(&self, waiting: Waiting<I, O>) -> Result<(), Rejected> {
        let entrances = self.entrances.read().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(entrances.len()).unwrap_or(u64::MAX);
        let lane = waiting.key.checked_rem(count);
        lane.and_then(|lane| entrances.get(usize::try_from(lane).ok()?))
            .ok_or(Rejected::Full)?
            .enter(waiting, &self.monitor)
    }

    pub(super) fn health(&self) -> QueueHealth {
        let entrances = self.entrances.read().unwrap_or_else(PoisonError::into_inner);
        let waits = |entrance: &Entrance<I, O>| entrance.bytes.load(Ordering::Relaxed) > 0;
        self.monitor.health(entrances.iter().any(waits))
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
    fn enter(&self, waiting: Waiting<I, O>, monitor: &Monitor) -> Result<(), Rejected> {
        let weight = waiting.weight;
        if self.bytes.load(Ordering::Relaxed) == 0 {
            monitor.wake();
        }
        let before = self.bytes.fetch_add(weight, Ordering::Relaxed);
        let fits = before.saturating_add(weight) <= self.bytes_max;
        if fits && self.sender.try_send(waiting).is_ok() {
            return Ok(());
        }
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
        Err(Rejected::Full)
    }
}

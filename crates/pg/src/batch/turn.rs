//! The workers of a lane take turns: one decides, the others write, commit or wait.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};

use super::{
    answer::Rejected,
    items::{Batch, Caller, Waiting},
    limits::BatchLimits,
    meters::Meters,
};

/// Pause between two looks at what is blocked while nothing new comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// State shared by the workers of a lane.
pub(super) struct Turns<I, O> {
    turn: Arc<Mutex<Turn<I, O>>>,
    /// Number of workers need the turn although nothing new came.
    claims: watch::Sender<usize>,
}

/// Who has it takes what waits and decides it, and passes it on when only writing is left.
pub(super) struct Turn<I, O> {
    lane: mpsc::Receiver<Waiting<I, O>>,
    taken: Vec<Waiting<I, O>>,
    /// Items that were taken and have to wait for the next batch, in the order in which they came: their key is in a batch
    /// that is under way, so they would wait for its locks and all others with them, or this batch is heavy
    /// enough without them.
    behind: Vec<Waiting<I, O>>,
    /// Bytes of what waits, those behind included.
    bytes: Arc<AtomicUsize>,
    /// Items that were set aside because another transaction holds them up, in the order in which they came.
    pub(super) held: Batch<I, O>,
    pub(super) committing: Arc<Committing>,
    claims: watch::Receiver<usize>,
}

pub(super) type MyTurn<I, O> = OwnedMutexGuard<Turn<I, O>>;

/// Outcome of a turn.
pub(super) enum Taken<I, O> {
    /// Something is to be done: these items, or those that are blocked.
    Work(Batch<I, O>, Kind, UnderWay),
    /// Another worker needs the turn.
    Claimed,
    /// Nothing can come any more.
    Closed,
}

/// Kind of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All items are plain.
    Plain,
    /// Any items.
    Mixed,
}

/// Number of batches under way that have an item of a key, and how many of them still write.
#[derive(Default)]
pub(super) struct Committing {
    counts: std::sync::Mutex<HashMap<u64, usize>>,
    writing: watch::Sender<usize>,
}

/// A batch that is decided, until its commit begins, or a statement for plain items.
pub(super) struct Writing(Arc<Committing>);

/// The keys of a batch under way, until it is done.
pub(super) struct UnderWay {
    keys: Vec<u64>,
    committing: Arc<Committing>,
}

impl<I: Send + Sync + 'static, O: Send + 'static> Turns<I, O> {
    /// The turns at `lane`, in which `bytes` wait.
    pub(super) fn new(lane: mpsc::Receiver<Waiting<I, O>>, bytes: Arc<AtomicUsize>) -> Arc<Self> {
        let (claims, claimed) = watch::channel(0);
        let turn = Turn {
            lane,
            taken: Vec::new(),
            behind: Vec::new(),
            bytes,
            held: Batch::empty(),
            committing: Arc::default(),
            claims: claimed,
        };
        Arc::new(Self { turn: Arc::new(Mutex::new(turn)), claims })
    }

    pub(super) async fn next(&self) -> MyTurn<I, O> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// The turn, for a worker that passed it on too early: whoever waits for new items with it gives it up.
    pub(super) async fn claim(&self) -> MyTurn<I, O> {
        self.claims.send_modify(|claims| *claims += 1);
        let turn = self.next().await;
        self.claims.send_modify(|claims| *claims -= 1);
        turn
    }
}

impl<I: Send + Sync + 'static, O: Send + 'static> Turn<I, O> {
    /// Takes what waits: at least one item, unless something is blocked and wants to be looked at again.
    pub(super) async fn take<'m>(
        &mut self,
        limits: BatchLimits,
        meters: impl FnOnce() -> &'m Meters,
    ) -> Taken<I, O> {
        let items_max = limits.batch_items_max.max(1);
        if !self.behind.is_empty() {
            self.take_at_once(items_max);
        } else if self.held.is_empty() {
            tokio::select! {
                biased;
                count = self.lane.recv_many(&mut self.taken, items_max) => if count == 0 {
                    return Taken::Closed;
                },
                _ = self.claims.wait_for(|claims| *claims > 0) => return Taken::Claimed,
            }
        } else {
            let received = self.lane.recv_many(&mut self.taken, items_max);
            if tokio::time::timeout(LOOK_EVERY, received).await == Ok(0) {
                // The lane is closed and would answer at once for ever.
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        self.leave_heavy(limits.batch_bytes_max);
        if limits.workers > 1 && self.held.is_empty() && self.leave_behind() {
            let mut writing = self.committing.writing.subscribe();
            tokio::select! {
                biased;
                _ = self.claims.wait_for(|claims| *claims > 0) => {
                    self.taken.append(&mut self.behind);
                    std::mem::swap(&mut self.taken, &mut self.behind);
                    return Taken::Claimed;
                },
                _ = writing.wait_for(|writing| *writing == 0) => {}
            }
        }
        let kind = if self.held.is_empty() { self.leave_other_kind() } else { Kind::Mixed };
        let keys = self.taken.iter().map(|waiting| waiting.key).collect();
        let under_way = self.committing.begin(keys);
        Taken::Work(self.admit(limits, meters()), kind, under_way)
    }

    fn take_at_once(&mut self, items_max: usize) {
        self.taken.append(&mut self.behind);
        while self.taken.len() < items_max {
            match self.lane.try_recv() {
                Ok(waiting) => self.taken.push(waiting),
                Err(_) => break,
            }
        }
    }

    /// Leaves for the next batch what would make this one too heavy, but for its first item.
    fn leave_heavy(&mut self, bytes_max: usize) {
        let mut bytes = 0_usize;
        let fits = |waiting: &&Waiting<I, O>| {
            bytes = bytes.saturating_add(waiting.weight);
            bytes <= bytes_max
        };
        let count = self.taken.iter().take_while(fits).count().max(1);
        if count < self.taken.len() {
            self.behind = self.taken.split_off(count);
        }
    }

    /// Leaves behind what would wait for a batch that is under way. Answers whether that would be all of it: then nothing is
    /// left, and it may begin with the commit of that batch.
    fn leave_behind(&mut self) -> bool {
        let counts = self.committing.counts();
        if counts.is_empty() {
            return false;
        }
        if self.taken.iter().all(|waiting| counts.contains_key(&waiting.key)) {
            return true;
        }
        let (mut behind, taken): (Vec<_>, Vec<_>) =
            self.taken.drain(..).partition(|waiting| counts.contains_key(&waiting.key));
        drop(counts);
        behind.append(&mut self.behind);
        (self.behind, self.taken) = (behind, taken);
        false
    }

    /// Leaves for the next batch what is of another kind than the first item. Items of a key of which any is not plain stay together.
    fn leave_other_kind(&mut self) -> Kind {
        if self.taken.iter().all(|waiting| !waiting.is_plain) {
            return Kind::Mixed;
        }
        let mixed: HashSet<u64> =
            self.taken.iter().filter(|waiting| !waiting.is_plain).map(|waiting| waiting.key).collect();
        let is_plain = |waiting: &Waiting<I, O>| !mixed.contains(&waiting.key);
        let kind = if self.taken.first().is_some_and(is_plain) { Kind::Plain } else { Kind::Mixed };
        if !mixed.is_empty() {
            let (taken, mut behind): (Vec<_>, Vec<_>) =
                self.taken.drain(..).partition(|waiting| is_plain(waiting) == (kind == Kind::Plain));
            behind.append(&mut self.behind);
            (self.taken, self.behind) = (taken, behind);
        }
        kind
    }

    /// Makes a batch of what was taken; what waited too long is given up here, before anything is done.
    fn admit(&mut self, limits: BatchLimits, meters: &Meters) -> Batch<I, O> {
        if !self.taken.is_empty() {
            meters.batch(self.taken.len(), self.lane.len() + self.behind.len());
        }
        let (now, mut bytes) = (Instant::now(), 0_usize);
        let mut batch = Batch::with_capacity(self.taken.len());
        for waiting in self.taken.drain(..) {
            bytes = bytes.saturating_add(waiting.weight);
            let waited = now.saturating_duration_since(waiting.since);
            meters.waited(waited);
            if waited > limits.wait_max {
                waiting.answer.give(Err(Rejected::Unavailable));
            } else {
                batch.push(waiting.item, Caller::new(waiting.answer, waiting.weight, now));
            }
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        batch
    }
}

impl Committing {
    /// A batch has decided; from now on it writes.
    pub(super) fn write(self: &Arc<Self>) -> Writing {
        self.writing.send_modify(|writing| *writing = writing.saturating_add(1));
        Writing(Arc::clone(self))
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, HashMap<u64, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, keys: Vec<u64>) -> UnderWay {
        let mut counts = self.counts();
        for key in &keys {
            *counts.entry(*key).or_default() += 1;
        }
        drop(counts);
        UnderWay { keys, committing: Arc::clone(self) }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.writing.send_modify(|writing| *writing = writing.saturating_sub(1));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.committing.counts();
        for key in &self.keys {
            if let Entry::Occupied(mut count) = counts.entry(*key) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }
}

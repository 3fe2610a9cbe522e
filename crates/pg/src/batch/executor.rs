//! Work of a lane on a batch: writing in a transaction, or reading.

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;

use super::{
    answer::Rejected,
    turn::{MyTurn, Writing},
    work::{Lookup, Work},
};
use crate::{Attempts, DbError, Pool, Tx};

const ATTEMPTS_MAX: u32 = 3;

pub(super) trait Executor: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Outcome: Send + 'static;

    /// State of items whose batch was cut short.
    const CUT_SHORT: Rejected;

    /// Does the items, and says how far it is.
    fn execute(
        &self,
        items: &[Self::Item],
        progress: &mut Progress<Self::Item, Self::Outcome>,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, DbError>> + Send;

    /// As [`Work::is_plain`]; nothing that is read is.
    fn is_plain(&self, _item: &Self::Item) -> bool {
        false
    }

    /// As [`Work::at_once`].
    fn at_once(
        &self,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Option<Self::Outcome>>, DbError>> + Send {
        let nothing = items.iter().map(|_| None).collect();
        async move { Ok(nothing) }
    }

    /// As [`Work::blocked`]; reading is blocked by nobody.
    fn blocked(&self, items: &[Self::Item]) -> impl Future<Output = Result<Vec<bool>, DbError>> + Send {
        let free = vec![false; items.len()];
        async move { Ok(free) }
    }
}

/// Progress of an attempt.
pub(super) struct Progress<I, O> {
    turn: Option<MyTurn<I, O>>,
    /// From when everything was decided, also while it is tried again, until the commit begins.
    writing: Option<Writing>,
    commits: bool,
}

impl<I, O> Progress<I, O> {
    /// Passes `turn` on when everything is decided.
    pub(super) fn passing(turn: MyTurn<I, O>) -> Self {
        Self { turn: Some(turn), writing: None, commits: false }
    }

    /// Passes nothing on.
    pub(super) fn alone() -> Self {
        Self { turn: None, writing: None, commits: false }
    }

    /// The turn, if it was not passed on.
    pub(super) fn into_turn(self) -> Option<MyTurn<I, O>> {
        self.turn
    }

    /// Only writes are left; the next batch may begin.
    fn decided(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.writing = Some(turn.committing.write());
        }
    }

    /// From here on the items may be done, whatever happens.
    fn commit_begins(&mut self) {
        self.writing = None;
        self.commits = true;
    }

    /// Returns true if the last attempt came as far as its commit.
    pub(super) fn is_committing(&self) -> bool {
        self.commits
    }

    fn after_panic(&self) -> DbError {
        if self.commits {
            DbError::unknown()
        } else {
            DbError::Inconsistent("the work of a batch panicked".to_owned())
        }
    }
}

pub(super) struct Writer<W> {
    pub(super) pool: Pool,
    pub(super) work: W,
}

impl<W: Work> Writer<W> {
    async fn work_in(
        &self,
        tx: &mut Tx,
        items: &[W::Item],
        opening: W::Opening,
        progress: &mut Progress<W::Item, W::Outcome>,
    ) -> Result<Vec<W::Outcome>, DbError> {
        let plan = self.work.decide(tx, items, opening).await?;
        progress.decided();
        let outcomes = self.work.save(tx, items, plan).await?;
        DbError::expect_rows("a batch", items.len(), outcomes.len())?;
        progress.commit_begins();
        Ok(outcomes)
    }
}

impl<W: Work> Executor for Writer<W> {
    type Item = W::Item;
    type Outcome = W::Outcome;

    const CUT_SHORT: Rejected = Rejected::OutcomeUnknown;

    async fn execute(
        &self,
        items: &[W::Item],
        progress: &mut Progress<W::Item, W::Outcome>,
    ) -> Result<Vec<W::Outcome>, DbError> {
        let (mut tx, opening) =
            Tx::begin_with(&self.pool, async |conn| self.work.open(conn, items).await).await?;
        let outcomes = self.work_in(&mut tx, items, opening, progress).await;
        tx.end(outcomes).await
    }

    fn is_plain(&self, item: &W::Item) -> bool {
        !self.pool.session().is_pooled() && self.work.is_plain(item)
    }

    async fn at_once(&self, items: &[W::Item]) -> Result<Vec<Option<W::Outcome>>, DbError> {
        let outcomes = Tx::at_once(&self.pool, async |conn| self.work.at_once(conn, items).await).await?;
        // It is committed: what has no outcome here may be done.
        if outcomes.len() == items.len() { Ok(outcomes) } else { Err(DbError::unknown()) }
    }

    async fn blocked(&self, items: &[W::Item]) -> Result<Vec<bool>, DbError> {
        let mut tx = Tx::begin(&self.pool).await?;
        let blocked = self.work.blocked(&mut tx, items).await;
        match &blocked {
            Ok(_) => tx.rollback().await,
            Err(error) => tx.abort(error).await,
        }
        blocked
    }
}

pub(super) struct Reader<L> {
    pub(super) pool: Pool,
    pub(super) lookup: L,
}

impl<L: Lookup> Executor for Reader<L> {
    type Item = L::Item;
    type Outcome = L::Outcome;

    const CUT_SHORT: Rejected = Rejected::Unavailable;

    async fn execute(
        &self,
        items: &[L::Item],
        _progress: &mut Progress<L::Item, L::Outcome>,
    ) -> Result<Vec<L::Outcome>, DbError> {
        let outcomes = self.pool.read(async |conn| self.lookup.load(conn, items).await).await?;
        DbError::expect_rows("a lookup", items.len(), outcomes.len())?;
        Ok(outcomes)
    }
}

/// Does the items, again while it is certain that they were not done and that this may help.
pub(super) async fn attempt<E: Executor>(
    executor: &E,
    items: &[E::Item],
    progress: &mut Progress<E::Item, E::Outcome>,
) -> Result<Vec<E::Outcome>, DbError> {
    let mut attempts = Attempts::up_to(ATTEMPTS_MAX);
    loop {
        progress.commits = false;
        // A panic must not end the lane: everyone after this batch would be turned away until the process restarts.
        let executed = AssertUnwindSafe(executor.execute(items, progress)).catch_unwind().await;
        match executed.unwrap_or_else(|_| Err(progress.after_panic())) {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

/// Does plain items. The statement is its own commit, so after a panic nothing is known.
pub(super) async fn at_once<E: Executor>(
    executor: &E,
    items: &[E::Item],
) -> Result<Vec<Option<E::Outcome>>, DbError> {
    let executed = AssertUnwindSafe(executor.at_once(items)).catch_unwind().await;
    executed.unwrap_or_else(|_| Err(DbError::unknown()))
}

/// The blocked items; a panic is a failure like others.
pub(super) async fn ask_blocked<E: Executor>(executor: &E, items: &[E::Item]) -> Result<Vec<bool>, DbError> {
    AssertUnwindSafe(executor.blocked(items)).catch_unwind().await.unwrap_or_else(|_| {
        let fault = "the question what is blocked panicked";
        Err(DbError::Inconsistent(fault.to_owned()))
    })
}

/// The error for every item of a batch; `None` when the fault may lie in a single one.
pub(super) fn rejection(error: &DbError) -> Option<Rejected> {
    match error {
        DbError::OutcomeUnknown(_) => Some(Rejected::OutcomeUnknown),
        DbError::LockTimeout(_) => Some(Rejected::Blocked),
        error if error.is_unavailable() => Some(Rejected::Unavailable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Panics before or in the commit.
    struct Panics {
        commits: bool,
        runs: AtomicU32,
    }

    impl Executor for Panics {
        type Item = ();
        type Outcome = ();

        const CUT_SHORT: Rejected = Rejected::OutcomeUnknown;

        async fn execute(&self, _: &[()], progress: &mut Progress<(), ()>) -> Result<Vec<()>, DbError> {
            self.runs.fetch_add(1, Ordering::SeqCst);
            if self.commits {
                progress.commit_begins();
            }
            panic!("a panic of the test");
        }
    }

    #[tokio::test]
    async fn what_panics_in_its_commit_has_an_unknown_outcome_and_is_not_run_again() {
        for (commits, rejected) in [(true, Some(Rejected::OutcomeUnknown)), (false, None)] {
            let runs = AtomicU32::new(0);
            let executor = Panics { commits, runs };
            let error = attempt(&executor, &[()], &mut Progress::alone()).await.unwrap_err();
            assert_eq!(rejection(&error), rejected, "{error:?}");
            assert_eq!(executor.runs.into_inner(), 1);
        }
    }
}

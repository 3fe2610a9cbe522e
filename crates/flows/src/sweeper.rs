//! Makes visible what is due: holds that ended, grants that expired or became effective.
//!
//! Housekeeping only: every answer of the ledger counts what is due as gone, whether this runs or not. It lets entries and
//! events appear soon after their instant also where nobody asks. Touches credits and webhooks, one commit a round.
//!
//! A damaged account blocks nobody else: when a round fails, its accounts are booked one by one, and those that fail
//! alone are set aside for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use credits::{Defaults, Swept};
use kernel::{Clock, UserId};
use pg::{DbError, Pool, Tx, pool::chain};
use time::OffsetDateTime;
use webhooks::Receivers;

use crate::{
    events,
    jobs::{Job, Next},
};

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Most due items of each kind in one round. A round that booked something is followed by the next one at once.
const ITEMS_MAX: i64 = 256;
/// Time that an account that could not be booked is left alone. Its own requests report the damage in that time.
const SET_ASIDE_FOR: time::Duration = time::Duration::minutes(10);
/// Most accounts that are left alone at a time. With more damage than that the books need an operator, not a sweeper.
const SET_ASIDE_MAX: usize = 1_000;

/// Books what is due, round by round.
pub struct Sweeper {
    pool: Pool,
    clock: Arc<dyn Clock>,
    defaults: Defaults,
    receivers: Receivers,
    /// Accounts that could not be booked, with the instant from which they are tried again.
    set_aside: BTreeMap<UserId, OffsetDateTime>,
    /// Accounts that were found in the last round, and had nothing to be booked.
    idle: BTreeSet<UserId>,
}

/// Results of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    /// Accounts that were booked.
    pub booked: usize,
    /// Accounts that could not be booked, and were set aside.
    pub failed: usize,
}

/// The job that sweeps. Accounts that are set aside or locked by somebody are no reason to look again at once.
#[must_use]
pub fn job(pool: &Pool, clock: &Arc<dyn Clock>, defaults: Defaults) -> Job {
    Job::new("book_due_items", EVERY, Sweeper::new(pool.clone(), Arc::clone(clock), defaults), |sweeper| {
        Box::pin(async {
            let round = sweeper.round().await?;
            Ok(if round.booked > 0 { Next::AtOnce } else { Next::Later })
        })
    })
}

impl Sweeper {
    /// A sweeper that has set nothing aside. `defaults` hold for accounts that say nothing of their own.
    #[must_use]
    pub fn new(pool: Pool, clock: Arc<dyn Clock>, defaults: Defaults) -> Self {
        let (set_aside, idle) = (BTreeMap::new(), BTreeSet::new());
        Self { pool, clock, defaults, receivers: Receivers::default(), set_aside, idle }
    }

    /// One round. An account that cannot be booked is no error: it is logged, counted in `sweeper_failed_accounts_total`
    /// and left out for ten minutes.
    ///
    /// # Errors
    /// [`DbError`] when the database cannot be reached; then the rest of the round was not done.
    pub async fn round(&mut self) -> Result<Round, DbError> {
        let now = self.clock.now();
        self.set_aside.retain(|_, until| *until > now);
        let except = self.set_aside.keys().cloned().collect();
        let find =
            self.pool.read(async |conn| credits::find_due(conn, &*self.clock, &except, ITEMS_MAX).await);
        let found = find.await?;
        let mut round = Round::default();
        let idle = match self.book(&found).await {
            Ok(swept) => {
                round.booked = swept.accounts - swept.idle.len();
                swept.idle
            }
            Err(error) if is_about_the_way(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(error = %chain(&error), accounts = found.len(), "a sweep failed; its accounts are booked one by one");
                self.one_by_one(found, &mut round).await?
            }
        };
        // An account that is found twice in a row without anything to be booked is damaged: somebody who was faster would
        // have left nothing to be found.
        let before = std::mem::take(&mut self.idle);
        for user in idle {
            if before.contains(&user) {
                self.set_aside(user, "something is due that its figures hide", &mut round);
            } else {
                self.idle.insert(user);
            }
        }
        Ok(round)
    }

    /// Books each account in a commit of its own; answers in which of them nothing was to be booked.
    async fn one_by_one(
        &mut self,
        users: BTreeSet<UserId>,
        round: &mut Round,
    ) -> Result<BTreeSet<UserId>, DbError> {
        let mut idle = BTreeSet::new();
        for user in users {
            match self.book(&BTreeSet::from([user.clone()])).await {
                Ok(swept) => {
                    round.booked += swept.accounts - swept.idle.len();
                    idle.extend(swept.idle);
                }
                Err(error) if is_about_the_way(&error) => return Err(error),
                Err(error) => self.set_aside(user, &chain(&error), round),
            }
        }
        Ok(idle)
    }

    /// Books the accounts in one commit, with their events.
    async fn book(&self, users: &BTreeSet<UserId>) -> Result<Swept, DbError> {
        if users.is_empty() {
            return Ok(Swept::default());
        }
        Tx::run(&self.pool, async |tx| self.book_in(tx, users).await).await
    }

    async fn book_in(&self, tx: &mut Tx, users: &BTreeSet<UserId>) -> Result<Swept, DbError> {
        let wanted = self.receivers.wanted(tx.shared()).await?;
        let swept = credits::book_due(tx, &*self.clock, self.defaults, users).await?;
        webhooks::enqueue(tx, &wanted, events::of_entries(&wanted, &swept.entries, &swept.low)).await?;
        Ok(swept)
    }

    fn set_aside(&mut self, user: UserId, why: &str, round: &mut Round) {
        tracing::error!(
            user.id = %user, error = why,
            "what is due at an account cannot be booked; it is left alone for ten minutes"
        );
        metrics::counter!("sweeper_failed_accounts_total").increment(1);
        round.failed += 1;
        if self.set_aside.len() >= SET_ASIDE_MAX {
            let first = self.set_aside.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(user, _)| user.clone()) {
                self.set_aside.remove(&first);
            }
        }
        let until = self.clock.now().saturating_add(SET_ASIDE_FOR);
        self.set_aside.insert(user, until);
    }
}

impl std::fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweeper").field("set_aside", &self.set_aside).finish_non_exhaustive()
    }
}

/// Returns true if no account is to blame: the database could not be reached or does not write, or nobody knows whether it
/// committed. A statement that takes too long may be an account's doing.
fn is_about_the_way(error: &DbError) -> bool {
    error.is_transient()
        || matches!(error, DbError::OutcomeUnknown(_))
        || (error.is_unavailable() && !error.is_too_slow())
}

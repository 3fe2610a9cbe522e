//! Hot questions: those that wait at the same time are answered by one query.
//!
//! Guarantees that an answer shows every write acknowledged before it was asked. Reads identity and credits.

use std::{sync::Arc, time::Duration};

use futures_util::try_join;
use identity::{Standing, StatusQuery};
use kernel::{Clock, UserId};
use pg::{BatchLimits, Coalescer, DbError, Lookup, PgConnection, Pool, QueueHealth, Rejected};

use crate::caller::{CallerCheck, CallerRejected, CallerStatuses};

/// One lane each: a second one would only split the batches.
const fn limits(name: &'static str) -> BatchLimits {
    BatchLimits {
        name,
        lanes: 1,
        workers: 1,
        batch_items_max: 512,
        queue_items_max: 8_192,
        batch_bytes_max: 16 << 20,
        queue_bytes_max: 64 << 20,
        wait_max: Duration::from_secs(10),
    }
}

/// Balances of users. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BalanceReads(Coalescer<Balances>);

/// Users, logins and keys of callers, asked at every authenticated request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StatusReads(Coalescer<Statuses>);

impl BalanceReads {
    /// Starts on the present tokio runtime.
    #[must_use]
    pub fn start(pool: Pool, clock: Arc<dyn Clock>) -> Self {
        Self(Coalescer::start(pool, Balances { clock }, limits("balances")))
    }

    /// The balance of a user; `None` without an account. With a check that is due, only of a user who is active.
    ///
    /// # Errors
    /// [`Rejected`] when the database cannot be asked.
    pub async fn ask(
        &self,
        user_id: &UserId,
        check: CallerCheck,
    ) -> Result<Result<Option<credits::Balance>, CallerRejected>, Rejected> {
        self.0.ask(user_id.as_str(), (user_id.clone(), check)).await
    }

    /// State of the queue.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        self.0.health()
    }
}

impl StatusReads {
    /// Starts on the present tokio runtime.
    #[must_use]
    pub fn start(pool: Pool) -> Self {
        Self(Coalescer::start(pool, Statuses, limits("statuses")))
    }

    /// The status of a caller, or of a user acted upon.
    ///
    /// # Errors
    /// [`Rejected`] when the database cannot be asked.
    pub async fn ask(&self, asked: StatusQuery) -> Result<Standing, Rejected> {
        let lane = asked.user_id.as_ref().map_or_else(String::new, ToString::to_string);
        self.0.ask(&lane, asked).await
    }

    /// State of the queue.
    #[must_use]
    pub fn health(&self) -> QueueHealth {
        self.0.health()
    }
}

struct Balances {
    clock: Arc<dyn Clock>,
}

impl Lookup for Balances {
    type Item = (UserId, CallerCheck);
    type Outcome = Result<Option<credits::Balance>, CallerRejected>;

    async fn load(
        &self,
        conn: &mut PgConnection,
        asked: &[(UserId, CallerCheck)],
    ) -> Result<Vec<Self::Outcome>, DbError> {
        let conn = &*conn;
        let users: Vec<UserId> = asked.iter().map(|(user_id, _)| user_id.clone()).collect();
        let (callers, balances) = try_join!(
            CallerStatuses::load(conn, asked.iter().map(|(user_id, check)| (user_id, *check))),
            credits::balances(conn, &*self.clock, &users),
        )?;
        let answers = asked.iter().zip(balances);
        Ok(answers
            .map(|((user_id, check), balance)| callers.admit(user_id, *check).map(|_| balance))
            .collect())
    }
}

struct Statuses;

impl Lookup for Statuses {
    type Item = StatusQuery;
    type Outcome = Standing;

    async fn load(&self, conn: &mut PgConnection, asked: &[StatusQuery]) -> Result<Vec<Standing>, DbError> {
        identity::users::statuses(conn, asked).await
    }
}

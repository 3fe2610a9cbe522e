//! Metering as a caller sees it who has no transaction of his own: in its own words, without a connection.

use std::{future::Future, sync::Arc};

use kernel::{Clock, Detail, Failure, Kind, Page, Slice, TimePlace, UserId};
use pg::{Attempts, DbError, Pool, Tx};

use crate::{
    Corrected, Correction, Outcome, Prices, Record, RecordFilter, Recorded, Series, SeriesQuery, Stats,
    Totals, UsageInput, UsageRefusal, service,
};

/// What callers may ask of metering. What is recorded is durable when it is answered; nothing is charged.
pub trait Meter: Send + Sync {
    /// Records an event, rated by the price of its model where the charge is not stated. With an event id it may be repeated
    /// until it is answered.
    fn record(&self, input: UsageInput) -> impl Future<Output = Result<Recorded, MeterError>> + Send;

    /// Records events in their order, each with its own outcome, in one commit.
    fn record_all(
        &self,
        inputs: Vec<UsageInput>,
    ) -> impl Future<Output = Result<Vec<Outcome>, MeterError>> + Send;

    /// Takes a record back, once.
    fn correct(&self, correction: Correction) -> impl Future<Output = Result<Corrected, MeterError>> + Send;

    /// The records of a user, newest first.
    fn list(
        &self,
        user: &UserId,
        filter: &RecordFilter,
        page: &Page<TimePlace>,
    ) -> impl Future<Output = Result<Slice<Record, TimePlace>, MeterError>> + Send;

    /// What the records of a user sum up to.
    fn stats(
        &self,
        user: &UserId,
        filter: &RecordFilter,
    ) -> impl Future<Output = Result<Stats, MeterError>> + Send;

    /// The same over time.
    fn series(
        &self,
        user: &UserId,
        query: &SeriesQuery,
    ) -> impl Future<Output = Result<Series<Totals>, MeterError>> + Send;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum MeterError {
    /// A decided no.
    #[error(transparent)]
    Refused(#[from] UsageRefusal),
    /// The database cannot be reached, or is too busy. Surely not done.
    #[error("metering is not available")]
    Unavailable(#[source] DbError),
    /// The connection broke while committing: done or not. A repeat with the same event id tells.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown(#[source] DbError),
    /// A fault of ours. Surely not done.
    #[error("metering failed")]
    Failed(#[source] DbError),
}

impl From<DbError> for MeterError {
    fn from(error: DbError) -> Self {
        match error {
            error if error.is_unavailable() => Self::Unavailable(error),
            error @ DbError::OutcomeUnknown(_) => Self::OutcomeUnknown(error),
            error => Self::Failed(error),
        }
    }
}

impl Failure for MeterError {
    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Unavailable(_) => "ServiceUnavailableException",
            Self::OutcomeUnknown(_) => "OutcomeUnknownException",
            Self::Failed(_) => "InternalServerException",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => refusal.kind(),
            Self::Unavailable(_) | Self::OutcomeUnknown(_) => Kind::Unavailable,
            Self::Failed(_) => Kind::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, Detail)> {
        match self {
            Self::Refused(refusal) => refusal.details(),
            _ => Vec::new(),
        }
    }
}

/// Attempts at one change while it is certain that nothing was done. An event that many send at once is met again each time.
const ATTEMPTS: u32 = 5;

/// Metering on one database: each change is a transaction of its own. Cheap to clone.
#[derive(Clone)]
pub struct PgMeter {
    pool: Pool,
    clock: Arc<dyn Clock>,
    prices: Prices,
}

impl PgMeter {
    /// Metering behind `pool`.
    #[must_use]
    pub fn new(pool: Pool, clock: Arc<dyn Clock>) -> Self {
        let prices = Prices::new();
        Self { pool, clock, prices }
    }

    async fn record_once(&self, inputs: &[UsageInput]) -> Result<Vec<Outcome>, DbError> {
        let mut tx = Tx::begin(&self.pool).await?;
        let done = self.record_in(&mut tx, inputs).await;
        end(tx, done).await
    }

    async fn record_in(&self, tx: &mut Tx, inputs: &[UsageInput]) -> Result<Vec<Outcome>, DbError> {
        let book = self.prices.book(tx.conn()).await?;
        let now = self.clock.now();
        let priced: Vec<_> = inputs.iter().map(|input| input.clone().priced(&book, now)).collect();
        let new: Vec<_> = priced.iter().flatten().cloned().collect();
        let mut outcomes = service::record(tx, &*self.clock, &new).await?.into_iter();
        let outcome = |priced| match priced {
            Ok(_) => outcomes.next(),
            Err(refusal) => Some(Err(refusal)),
        };
        Ok(priced.into_iter().filter_map(outcome).collect())
    }

    async fn correct_once(
        &self,
        correction: &Correction,
    ) -> Result<Result<Corrected, UsageRefusal>, DbError> {
        let mut tx = Tx::begin(&self.pool).await?;
        let done = service::correct(&mut tx, &*self.clock, correction).await;
        end(tx, done).await
    }
}

/// Commits what was done, or gives it up.
async fn end<T>(tx: Tx, done: Result<T, DbError>) -> Result<T, DbError> {
    match done {
        Ok(done) => tx.commit().await.map(|()| done),
        Err(error) => {
            tx.abort(&error).await;
            Err(error)
        }
    }
}

impl std::fmt::Debug for PgMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgMeter").finish_non_exhaustive()
    }
}

impl Meter for PgMeter {
    async fn record(&self, input: UsageInput) -> Result<Recorded, MeterError> {
        let outcome = self.record_all(vec![input]).await?.into_iter().next();
        let none = || DbError::Inconsistent("an event without an outcome".to_owned());
        Ok(outcome.ok_or_else(none)??)
    }

    async fn record_all(&self, inputs: Vec<UsageInput>) -> Result<Vec<Outcome>, MeterError> {
        let mut attempts = Attempts::up_to(ATTEMPTS);
        loop {
            match self.record_once(&inputs).await {
                Err(error) if attempts.again(&error).await => {}
                done => return Ok(done?),
            }
        }
    }

    async fn correct(&self, correction: Correction) -> Result<Corrected, MeterError> {
        let mut attempts = Attempts::up_to(ATTEMPTS);
        loop {
            match self.correct_once(&correction).await {
                Err(error) if attempts.again(&error).await => {}
                done => return Ok(done??),
            }
        }
    }

    async fn list(
        &self,
        user: &UserId,
        filter: &RecordFilter,
        page: &Page<TimePlace>,
    ) -> Result<Slice<Record, TimePlace>, MeterError> {
        let read = self.pool.read(async |conn| service::list(conn, user, filter, page).await);
        Ok(read.await?)
    }

    async fn stats(&self, user: &UserId, filter: &RecordFilter) -> Result<Stats, MeterError> {
        let read = self.pool.read(async |conn| service::stats(conn, user, filter).await);
        Ok(read.await?)
    }

    async fn series(&self, user: &UserId, query: &SeriesQuery) -> Result<Series<Totals>, MeterError> {
        let read = self.pool.read(async |conn| service::series(conn, user, query).await);
        Ok(read.await??)
    }
}

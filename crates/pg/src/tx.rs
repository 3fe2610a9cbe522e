//! One transaction as an owned guard.

use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::join;

use crate::{
    DbError,
    connect::answer_timeout,
    pool::{Abandonable, Pool},
};

/// An open transaction (READ COMMITTED), with the settings of [`crate::session`]. What must be atomic with something else takes `&mut Tx` (I4).
///
/// Begin it, use it, [`Tx::commit`] it. Dropped without commit it is rolled back: the connection is thrown away,
/// with the statement that may still run on it, because a rollback cannot be awaited in a destructor. [`Tx::rollback`] keeps the connection.
///
/// No network call other than to the database may be made while it is open (I8).
#[derive(Debug)]
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Tx {
    connection: Abandonable<Pool>,
}

impl Tx {
    /// Runs `work` in a transaction of its own: commits what succeeds, and rolls back after an error.
    ///
    /// # Errors
    /// Those of [`Tx::begin`], of the work and of [`Tx::commit`].
    pub async fn run<T>(
        pool: &Pool,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let mut tx = Self::begin(pool).await?;
        let outcome = work(&mut tx).await;
        tx.end(outcome).await
    }

    /// Commits after a success, and rolls back after an error.
    pub(crate) async fn end<T>(self, outcome: Result<T, DbError>) -> Result<T, DbError> {
        match &outcome {
            Ok(_) => self.commit().await?,
            Err(error) => self.abort(error).await,
        }
        outcome
    }

    /// Like [`Tx::run`], for work that may be refused: a refusal stores nothing.
    ///
    /// # Errors
    /// Like [`Tx::run`]; a refusal is `Ok(Err(_))`.
    pub async fn decide<T, R>(
        pool: &Pool,
        work: impl AsyncFnOnce(&mut Self) -> Result<Result<T, R>, DbError>,
    ) -> Result<Result<T, R>, DbError> {
        let mut tx = Self::begin(pool).await?;
        match work(&mut tx).await {
            Ok(Err(refusal)) => {
                tx.rollback().await;
                Ok(Err(refusal))
            }
            outcome => tx.end(outcome).await,
        }
    }

    /// Runs one statement that commits by itself.
    ///
    /// # Errors
    /// [`DbError::OutcomeUnknown`] when the connection broke or the answer could not be read; after other errors nothing was done.
    pub(crate) async fn at_once<T>(
        pool: &Pool,
        statement: impl AsyncFnOnce(&AsyncPgConnection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let connection = Abandonable::borrow(pool).await?;
        let outcome = statement(&connection).await.map_err(DbError::alone);
        if !matches!(outcome, Err(DbError::OutcomeUnknown(_))) {
            connection.release();
        }
        outcome
    }

    /// Borrows a connection and begins a transaction on it.
    ///
    /// # Errors
    /// [`DbError::Connect`] without a connection, [`DbError::Lost`] when it broke.
    pub async fn begin(pool: &Pool) -> Result<Self, DbError> {
        let mut tx = Self::prepare(pool).await?;
        tx.conn().batch_execute(&pool.session().begin()).await?;
        Ok(tx)
    }

    /// Begins a transaction that only reads, and in which every statement sees the database as the first one does
    /// (REPEATABLE READ).
    ///
    /// # Errors
    /// As [`Tx::begin`].
    pub async fn snapshot(pool: &Pool) -> Result<Self, DbError> {
        let mut tx = Self::prepare(pool).await?;
        tx.conn().batch_execute(&pool.session().begin_snapshot()).await?;
        Ok(tx)
    }

    /// Begins with the first statements travelling along: they are sent without waiting for the answer to `BEGIN`, and run
    /// in the transaction.
    pub(crate) async fn begin_with<T>(
        pool: &Pool,
        first: impl AsyncFnOnce(&AsyncPgConnection) -> Result<T, DbError>,
    ) -> Result<(Self, T), DbError> {
        let mut tx = Self::prepare(pool).await?;
        let conn = &*tx.conn();
        let mut beginning = conn;
        let begin = pool.session().begin();
        let (begun, opening) = join!(beginning.batch_execute(&begin), first(conn));
        begun?;
        match opening {
            Ok(opening) => Ok((tx, opening)),
            Err(error) => {
                tx.abort(&error).await;
                Err(error)
            }
        }
    }

    /// A transaction that has not begun.
    async fn prepare(pool: &Pool) -> Result<Self, DbError> {
        Ok(Self { connection: Abandonable::borrow(pool.clone()).await? })
    }

    /// The connection, for statements of this transaction. See [`Tx::shared`] for those that travel together.
    pub fn conn(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }

    /// The connection, for statements of this transaction that do not wait for one another: any number of them may be sent
    /// at once.
    #[must_use]
    pub fn shared(&self) -> &AsyncPgConnection {
        &self.connection
    }

    /// Gives each further statement of this transaction its own time; zero for no limit. The connection waits for an answer
    /// accordingly.
    ///
    /// # Errors
    /// [`DbError`] when the server does not take it.
    pub async fn limit_statements(&mut self, statement_timeout: Duration) -> Result<(), DbError> {
        let sql = format!("SET LOCAL statement_timeout = {}", statement_timeout.as_millis());
        self.conn().batch_execute(&sql).await?;
        self.connection.answer_timeout(answer_timeout(statement_timeout));
        Ok(())
    }

    /// Commits.
    ///
    /// # Errors
    /// [`DbError::OutcomeUnknown`] when the server sent nothing for too long or the connection broke in the commit, [`DbError::Contention`] and
    /// [`DbError::Constraint`] when deferred checks refused: nothing was done. [`DbError::Statement`] when an earlier
    /// statement of the transaction had failed and its error was ignored: nothing was done.
    pub async fn commit(mut self) -> Result<(), DbError> {
        // Behind a failed statement PostgreSQL answers a bare COMMIT with a silent rollback; any other statement is
        // refused there. The empty SELECT travels with the COMMIT, so this costs no round trip.
        self.conn().batch_execute("SELECT; COMMIT").await.map_err(DbError::in_commit)?;
        self.connection.release();
        Ok(())
    }

    /// Rolls back and gives the connection back to the pool.
    pub async fn rollback(mut self) {
        match self.conn().batch_execute("ROLLBACK").await {
            Ok(()) => self.connection.release(),
            Err(error) => tracing::debug!(error = %error, "rollback failed; the connection is dropped"),
        }
    }

    /// Rolls back after `error`. When the server only reads, this connection and the idle ones would fail the next writers
    /// too, for as long as they live: new ones may reach the server that writes.
    pub async fn abort(self, error: &DbError) {
        if error.is_read_only() {
            tracing::warn!("the database server only reads; its connections are dropped");
            self.connection.pool.drop_idle(&self.connection);
        } else {
            self.rollback().await;
        }
    }
}

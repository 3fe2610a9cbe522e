//! The ledger on a PostgreSQL of its own.

use std::sync::Arc;

use kernel::{Actor, CallerClass, Clock, Credits, Ids, Page, Slice, UserId};
use pg::{Attempts, DbError, Pool, Tx};
use uuid::Uuid;

use crate::{
    error::Refusal,
    model::{
        AccountView, Action, Applied, Command, Defaults, Entry, GrantFilter, GrantPlace, GrantView,
        HoldFilter, HoldView, IdempotencyKey, NewGrant, Outcome, ReferenceScope, TransactionFilter,
    },
    port::{HoldWish, Ledger, LedgerError, Request, fingerprint::fingerprint},
    service,
};

/// Attempts at one change while it is certain that nothing was done.
const ATTEMPTS: u32 = 3;

/// The ledger of one database: each change is a transaction of its own. Cheap to clone.
///
/// It writes no events. Who wants them runs [`execute`](crate::execute) in a transaction with his outbox.
#[derive(Clone)]
pub struct PgLedger {
    pool: Pool,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    actor: Actor,
}

impl PgLedger {
    /// The ledger behind `pool`, for a caller who acts as `actor`.
    #[must_use]
    pub fn new(pool: Pool, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>, actor: Actor) -> Self {
        Self { pool, clock, ids, actor }
    }

    /// Creates the account, with an initial grant unless that is zero; an account that exists is left as it is.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn open(&self, request: Request, initial: Credits) -> Result<Applied, LedgerError> {
        self.run(request, Action::Open { initial }).await
    }

    /// Runs any action.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn run(&self, request: Request, action: Action) -> Result<Applied, LedgerError> {
        let fingerprint = fingerprint(&request, self.actor, &action);
        let key = request.idempotency_key;
        let idempotency = key.map(|key| IdempotencyKey::new(key, fingerprint)).transpose()?;
        let command = Command {
            user_id: request.user_id,
            actor: self.actor,
            caller: match self.actor {
                Actor::User => CallerClass::User,
                Actor::Service | Actor::Admin | Actor::System => CallerClass::Service,
            },
            transaction_id: self.ids.uuid(),
            description: request.description,
            metadata: request.metadata,
            idempotency,
            action,
        };
        let mut attempts = Attempts::up_to(ATTEMPTS);
        let outcome = loop {
            match self.once(&command).await {
                Err(error) if attempts.again(&error).await => {}
                Err(error) => return Err(failed(error, command.idempotency.as_ref())),
                Ok(outcome) => break outcome,
            }
        };
        Ok(outcome.result?)
    }

    async fn once(&self, command: &Command) -> Result<Outcome, DbError> {
        let mut tx = Tx::begin(&self.pool).await?;
        let command = std::slice::from_ref(command);
        // Nobody is told of low balances: it writes no events.
        let executed = service::execute(&mut tx, &*self.clock, Defaults::default(), command).await?;
        tx.commit().await?;
        let outcome = executed.outcomes.into_iter().next();
        outcome.ok_or_else(|| DbError::Inconsistent("a command had no outcome".to_owned()))
    }
}

/// A keyed command whose account stays locked may be a repeat that came while the first request still runs.
fn failed(error: DbError, key: Option<&IdempotencyKey>) -> LedgerError {
    match (error, key) {
        (DbError::LockTimeout(_), Some(key)) => LedgerError::InProgress { key: key.key().to_owned() },
        (error, _) => error.into(),
    }
}

impl std::fmt::Debug for PgLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgLedger").field("actor", &self.actor).finish()
    }
}

impl Ledger for PgLedger {
    async fn consume(
        &self,
        request: Request,
        amount: Credits,
        usage_record_id: Option<i64>,
    ) -> Result<Applied, LedgerError> {
        let action = Action::Consume { amount, usage_record_id };
        self.run(request, action).await
    }

    async fn recharge(
        &self,
        request: Request,
        amount: Credits,
        reference_id: Option<String>,
    ) -> Result<Applied, LedgerError> {
        let scope = ReferenceScope::User;
        let action = Action::Recharge { amount, reference_id, scope };
        self.run(request, action).await
    }

    async fn grant(&self, request: Request, grant: NewGrant) -> Result<Applied, LedgerError> {
        self.run(request, Action::Grant(grant)).await
    }

    async fn hold(&self, request: Request, wish: HoldWish) -> Result<Applied, LedgerError> {
        let action =
            Action::Hold { hold_id: self.ids.uuid(), amount: wish.amount, mode: wish.mode, ttl: wish.ttl };
        self.run(request, action).await
    }

    async fn capture(
        &self,
        request: Request,
        hold_id: Uuid,
        amount: Option<Credits>,
    ) -> Result<Applied, LedgerError> {
        let action = Action::Capture { hold_id, amount, usage_record_id: None };
        self.run(request, action).await
    }

    async fn release(&self, request: Request, hold_id: Uuid) -> Result<Applied, LedgerError> {
        self.run(request, Action::Release { hold_id }).await
    }

    async fn refund(
        &self,
        request: Request,
        transaction_id: Uuid,
        amount: Option<Credits>,
        reason: String,
    ) -> Result<Applied, LedgerError> {
        let action = Action::Refund { transaction_id, amount, reason };
        self.run(request, action).await
    }

    async fn account(&self, user_id: &UserId) -> Result<AccountView, LedgerError> {
        let account =
            self.pool.read(async |conn| service::account(conn, &*self.clock, user_id).await).await?;
        Ok(account.ok_or_else(|| Refusal::UserNotFound { user_id: user_id.clone() })?)
    }

    async fn grants(
        &self,
        user_id: &UserId,
        filter: GrantFilter,
        page: &Page<GrantPlace>,
    ) -> Result<Slice<GrantView, GrantPlace>, LedgerError> {
        let read =
            self.pool.read(async |conn| service::grants(conn, &*self.clock, user_id, filter, page).await);
        Ok(read.await?)
    }

    async fn holds(
        &self,
        user_id: &UserId,
        filter: HoldFilter,
        page: &Page<i64>,
    ) -> Result<Slice<HoldView, i64>, LedgerError> {
        let read =
            self.pool.read(async |conn| service::holds(conn, &*self.clock, user_id, filter, page).await);
        Ok(read.await?)
    }

    async fn transactions(
        &self,
        user_id: &UserId,
        filter: &TransactionFilter,
        page: &Page<i64>,
    ) -> Result<Slice<Entry, i64>, LedgerError> {
        let read = self.pool.read(async |conn| service::transactions(conn, user_id, filter, page).await);
        Ok(read.await?)
    }
}

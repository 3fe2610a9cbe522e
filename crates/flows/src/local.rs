//! The traits of the domains, for callers in the process that has the database.

use std::{fmt, sync::Arc};

use credits::{
    AccountView, Action, Applied, Change, Command, Entry, GrantFilter, GrantKind, GrantPlace, GrantView,
    HoldFilter, HoldView, Ledger, LedgerError, NewGrant, ReferenceScope, Refusal, Request, TransactionFilter,
};
use futures_util::future::join_all;
use kernel::{
    Actor, CallError, CallerClass, Clock, Fingerprint, IdempotencyKey, Ids, Page, Slice, TimePlace, UserId,
};
use pg::{DbError, Pool, Rejected};
use usage::{
    Corrected, Correction, Meter, MeterError, Record, RecordFilter, Recorded, Series, SeriesQuery, Stats,
    Totals, UsageInput,
};

use crate::{
    caller::{CallerCheck, CallerRejected},
    operations::{
        Writes,
        correction::{Correct, CorrectError, Replacement},
        ledger::CommandRefusal,
        metering::{MeterRefusal, UsageCommand},
    },
};

/// The ledger and metering on one database, as the gateway uses them: with idempotency keys and events. Callers act as services.
#[derive(Clone)]
pub struct LocalClient {
    writes: Writes,
    pool: Pool,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl LocalClient {
    /// A client of these writes, which reads from `pool`.
    #[must_use]
    pub fn new(writes: Writes, pool: Pool, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { writes, pool, clock, ids }
    }

    async fn record_one(&self, input: UsageInput) -> Result<Recorded, MeterError> {
        let user_id = input.user_id.clone();
        let metered = UsageCommand {
            input,
            from: None,
            actor: Actor::Service,
            nonce: self.ids.uuid(),
            idempotency: None,
        };
        let done = self.writes.usage(metered, CallerCheck::Exists).await;
        let done = done.map_err(|rejected| not_run(rejected, None))?;
        let outcome = done.map_err(|rejected| elsewhere(user_not_found(rejected, user_id)))?;
        let recorded = outcome.result.map_err(refused)?;
        Ok(Recorded { record: recorded.record, replay: recorded.replay })
    }
}

impl fmt::Debug for LocalClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalClient").finish_non_exhaustive()
    }
}

impl Ledger for LocalClient {
    async fn change(&self, request: Request, change: Change) -> Result<Applied, LedgerError> {
        let fingerprint = fingerprint(&request, &change);
        let key = request.idempotency_key.map(|key| IdempotencyKey::new(key, fingerprint));
        let key = key.transpose().map_err(CallError::InvalidKey)?;
        let user_id = request.user_id;
        let command = Command {
            user_id: user_id.clone(),
            actor: Actor::Service,
            caller: CallerClass::Service,
            nonce: self.ids.uuid(),
            description: request.description,
            metadata: request.metadata,
            action: action(change, &*self.ids),
        };
        let done = self.writes.ledger(command, key.clone(), CallerCheck::Exists).await;
        let done = done.map_err(|rejected| not_run(rejected, key.as_ref()))?;
        let outcome = done.map_err(|rejected| CallError::Refused(user_not_found(rejected, user_id)))?;
        outcome.result.map_err(|refusal| match refusal {
            CommandRefusal::Ledger(refusal) => CallError::Refused(refusal),
            CommandRefusal::Key(conflict) => elsewhere(conflict),
        })
    }

    async fn account(&self, user_id: &UserId) -> Result<AccountView, LedgerError> {
        let read = self.pool.read(async |conn| credits::account(conn, &*self.clock, user_id).await);
        let account = read.await.map_err(failed)?;
        account.ok_or_else(|| CallError::Refused(Refusal::UserNotFound { user_id: user_id.clone() }))
    }

    async fn grants(
        &self,
        user_id: &UserId,
        filter: GrantFilter,
        page: &Page<GrantPlace>,
    ) -> Result<Slice<GrantView, GrantPlace>, LedgerError> {
        let clock = &*self.clock;
        let read = self.pool.read(async |conn| credits::grants(conn, clock, user_id, filter, page).await);
        read.await.map_err(failed)
    }

    async fn holds(
        &self,
        user_id: &UserId,
        filter: HoldFilter,
        page: &Page<i64>,
    ) -> Result<Slice<HoldView, i64>, LedgerError> {
        let clock = &*self.clock;
        let read = self.pool.read(async |conn| credits::holds(conn, clock, user_id, filter, page).await);
        read.await.map_err(failed)
    }

    async fn transactions(
        &self,
        user_id: &UserId,
        filter: &TransactionFilter,
        page: &Page<i64>,
    ) -> Result<Slice<Entry, i64>, LedgerError> {
        let read = self.pool.read(async |conn| credits::transactions(conn, user_id, filter, page).await);
        read.await.map_err(failed)
    }
}

impl Meter for LocalClient {
    async fn record(&self, input: UsageInput) -> Result<Recorded, MeterError> {
        self.record_one(input).await
    }

    async fn record_all(&self, inputs: Vec<UsageInput>) -> Vec<Result<Recorded, MeterError>> {
        join_all(inputs.into_iter().map(|input| self.record_one(input))).await
    }

    async fn correct(&self, correction: Correction) -> Result<Corrected, MeterError> {
        let Correction { user_id, record_id, reason, replacement } = correction;
        let correct = Correct {
            user_id,
            record_id,
            reason,
            replacement: replacement.map(|input| Replacement { input, is_charged: false }),
            actor: Actor::Service,
            caller: CallerClass::Service,
            refund_nonce: self.ids.uuid(),
            charge_nonce: self.ids.uuid(),
            idempotency: None,
            audited: None,
        };
        let outcome = self.writes.correct(&self.pool, correct).await.map_err(|error| match error {
            CorrectError::Rejected(rejected) => not_run(rejected, None),
            CorrectError::Database(error) => failed(error),
        })?;
        let corrected = outcome.result.map_err(refused)?;
        Ok(Corrected { correction: corrected.correction, replacement: corrected.replacement })
    }

    async fn list(
        &self,
        user: &UserId,
        filter: &RecordFilter,
        page: &Page<TimePlace>,
    ) -> Result<Slice<Record, TimePlace>, MeterError> {
        let read = self.pool.read(async |conn| usage::list(conn, user, filter, page).await);
        read.await.map_err(failed)
    }

    async fn stats(&self, user: &UserId, filter: &RecordFilter) -> Result<Stats, MeterError> {
        let read = self.pool.read(async |conn| usage::stats(conn, user, filter).await);
        read.await.map_err(failed)
    }

    async fn series(&self, user: &UserId, query: &SeriesQuery) -> Result<Series<Totals>, MeterError> {
        let read = self.pool.read(async |conn| usage::series(conn, user, query).await);
        read.await.map_err(failed)?.map_err(CallError::Refused)
    }
}

fn action(change: Change, ids: &dyn Ids) -> Action {
    match change {
        Change::Consume { amount, usage_record_id } => Action::Consume { amount, usage_record_id },
        Change::Recharge { amount, reference_id } => {
            Action::Recharge { amount, reference_id, scope: ReferenceScope::User }
        }
        Change::Grant(grant) => Action::Grant(grant),
        Change::Hold { amount, mode, ttl } => Action::Hold { hold_id: ids.uuid(), amount, mode, ttl },
        Change::Capture { hold_id, amount } => Action::Capture { hold_id, amount, usage_record_id: None },
        Change::Release { hold_id } => Action::Release { hold_id },
        Change::Refund { transaction_id, amount, reason } => {
            Action::Refund { transaction_id, amount, reason }
        }
    }
}

/// The fingerprint of a request. It is stored with keys, so it must stay the same in later versions.
fn fingerprint(request: &Request, change: &Change) -> [u8; kernel::fingerprint::FINGERPRINT_BYTES] {
    let amount = |amount: Option<kernel::Credits>| amount.map(|amount| amount.micro().to_string());
    let hash =
        Fingerprint::new().word("ledger").maybe(request.description.as_deref()).json(&request.metadata);
    let hash = match change {
        Change::Consume { amount, usage_record_id } => {
            let id = usage_record_id.map(|id| id.to_string());
            hash.word("consume").number(amount.micro()).maybe(id.as_deref())
        }
        Change::Recharge { amount, reference_id } => {
            hash.word("recharge").number(amount.micro()).maybe(reference_id.as_deref())
        }
        Change::Grant(NewGrant { kind, amount, priority, effective_at, expires_at, reference_id, scope }) => {
            let at = |at: &Option<time::OffsetDateTime>| at.map(|at| at.unix_timestamp_nanos().to_string());
            hash.word("grant")
                .word(GrantKind::from(*kind).as_str())
                .number(amount.micro())
                .number((*priority).into())
                .maybe(at(effective_at).as_deref())
                .maybe(at(expires_at).as_deref())
                .maybe(reference_id.as_deref())
                .word(match scope {
                    ReferenceScope::User => "user",
                    ReferenceScope::Global => "global",
                })
        }
        Change::Hold { amount, mode, ttl } => hash
            .word("hold")
            .number(amount.micro())
            .word(mode.as_str())
            .word(&ttl.whole_nanoseconds().to_string()),
        Change::Capture { hold_id, amount: part } => {
            hash.word("capture").id(*hold_id).maybe(amount(*part).as_deref())
        }
        Change::Release { hold_id } => hash.word("release").id(*hold_id),
        Change::Refund { transaction_id, amount: part, reason } => {
            hash.word("refund").id(*transaction_id).maybe(amount(*part).as_deref()).word(reason)
        }
    };
    hash.finish()
}

fn user_not_found(_unknown: CallerRejected, user_id: UserId) -> Refusal {
    Refusal::UserNotFound { user_id }
}

fn refused(refusal: MeterRefusal) -> MeterError {
    match refusal {
        MeterRefusal::Usage(refusal) => CallError::Refused(refusal),
        MeterRefusal::Ledger(refusal) => elsewhere(refusal),
        MeterRefusal::Key(conflict) => elsewhere(conflict),
    }
}

fn elsewhere<R>(refusal: impl kernel::Failure + Send + Sync + 'static) -> CallError<R> {
    CallError::RefusedElsewhere(Box::new(refusal))
}

/// With a key, an account that stays locked may be due to the first request under it.
fn not_run<R>(rejected: Rejected, key: Option<&IdempotencyKey>) -> CallError<R> {
    match (rejected, key) {
        (Rejected::Blocked, Some(key)) => CallError::InProgress { key: key.key().to_owned() },
        (Rejected::Full | Rejected::Unavailable | Rejected::Blocked, _) => {
            CallError::Unavailable(rejected.into())
        }
        (Rejected::OutcomeUnknown, _) => CallError::OutcomeUnknown(rejected.into()),
        (Rejected::Failed, _) => CallError::Failed(rejected.into()),
    }
}

fn failed<R>(error: DbError) -> CallError<R> {
    match error {
        error if error.is_unavailable() => CallError::Unavailable(error.into()),
        error @ DbError::OutcomeUnknown(_) => CallError::OutcomeUnknown(error.into()),
        error => CallError::Failed(error.into()),
    }
}

//! Erases a user in every domain (HTTP contract 3.4).
//!
//! The first commit removes the user: from then on every route answers that there is none, and no write is accepted for them. The
//! commits after it remove what is left, in parts of a bounded size, so that neither locks nor time limits depend on the size of
//! the account. Each part can be repeated: an erase that was interrupted is ended by [`job`], in any process, and until it has
//! ended the id cannot be made again.
//!
//! Nothing is written for the user afterwards. Operations read the user in their transaction, after a lock that the erase waits for once; other
//! writes hold the row of the user ([`identity::users::hold`]), which the first commit removes. A plain charge takes no lock, but what is
//! left is written off before the texts of entries are emptied, and without credit there is no plain charge.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use identity::{
    audit::{self, Action, AuditActor, AuditEvent, AuditOrigin},
    erasures::{self, Begun},
    seal::Sealer,
};
use kernel::{Clock, Ids, UserId};
use pg::{Attempts, DbError, PersonalTable, Pool, Tx, pool::chain};
use time::OffsetDateTime;
use webhooks::{EventKind, NewEvent, Nothing, Receivers};

use crate::{
    events,
    jobs::{Job, Next},
};

/// Declarations of all tables with personal data.
pub const PERSONAL_DATA: &[&[PersonalTable]] = &[
    identity::PERSONAL_DATA_AT_ONCE,
    identity::PERSONAL_DATA,
    credits::PERSONAL_DATA,
    sessions::PERSONAL_DATA,
    files::PERSONAL_DATA,
    idempotency::PERSONAL_DATA,
    usage::PERSONAL_DATA,
    webhooks::PERSONAL_DATA,
];

/// Pause between two looks for erases that were interrupted.
const EVERY: Duration = Duration::from_secs(60);
/// Age of an erase that counts as interrupted: before, the process that began it is at work.
const AGE_MIN: time::Duration = time::Duration::minutes(1);
/// Longest wait for the transactions of operations, each of which is bounded.
const OPERATIONS_MAX: Duration = Duration::from_secs(10);
/// Most users of one look.
const USERS_MAX: i64 = 20;

/// The erase of a user, as it is asked for.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// The user.
    pub user_id: UserId,
    /// The caller.
    pub actor: AuditActor,
    /// The id of the request. Its address is not kept.
    pub request_id: String,
}

/// Erases a user, or ends an erase that has begun, and returns the instant of the first commit; `None` if there is no such user.
///
/// # Errors
/// [`DbError`]; what was removed before stays removed, and [`job`] ends what was begun.
pub async fn run(
    pool: &Pool,
    clock: &dyn Clock,
    ids: &dyn Ids,
    sealer: Option<&Sealer>,
    erasure: &Erasure,
) -> Result<Option<OffsetDateTime>, DbError> {
    let user_id = &erasure.user_id;
    let begun = match begin(pool, clock, sealer, erasure).await? {
        None => pool.read(async |conn| erasures::begun_at(conn, user_id).await).await?,
        at => at,
    };
    if let Some(erased_at) = begun {
        finish(pool, clock, ids, &Begun { user_id: user_id.clone(), erased_at }).await?;
    }
    Ok(begun)
}

/// Removes the user, and returns the instant; `None` if there is no such user. [`finish`] removes what is left.
///
/// # Errors
/// [`DbError`]; then nothing was done, unless the outcome is unknown.
pub async fn begin(
    pool: &Pool,
    clock: &dyn Clock,
    sealer: Option<&Sealer>,
    erasure: &Erasure,
) -> Result<Option<OffsetDateTime>, DbError> {
    let mut attempts = Attempts::up_to(3);
    loop {
        match Tx::run(pool, async |tx| begin_in(tx, clock, sealer, erasure).await).await {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

async fn begin_in(
    tx: &mut Tx,
    clock: &dyn Clock,
    sealer: Option<&Sealer>,
    erasure: &Erasure,
) -> Result<Option<OffsetDateTime>, DbError> {
    let wanted = Receivers::default().wanted(tx.shared()).await?;
    let user_id = &erasure.user_id;
    let Some(at) = erasures::begin(tx, clock, sealer, user_id).await? else {
        return Ok(None);
    };
    let origin = AuditOrigin { address: None, request_id: erasure.request_id.clone() };
    let event =
        AuditEvent::new(at, erasure.actor.clone(), Action::UserErased, origin).of_user(user_id.clone());
    audit::record(tx.conn(), &[event]).await?;
    let kind = EventKind::UserDeleted(Nothing {});
    webhooks::enqueue(tx, &wanted, vec![NewEvent { user_id: user_id.clone(), kind, at }]).await?;
    Ok(Some(at))
}

/// Removes what is left of a user who was removed, and ends the erase. May be repeated, also at the same time: those who do it take
/// turns, and nothing is done after one of them has ended it.
///
/// # Errors
/// [`DbError`]; what was removed before stays removed.
pub async fn finish(pool: &Pool, clock: &dyn Clock, ids: &dyn Ids, erase: &Begun) -> Result<(), DbError> {
    wait_for_operations(pool).await?;
    let closed = Tx::run(pool, async |tx| close_account(tx, clock, ids, erase).await).await?;
    if closed.is_none() {
        return Ok(());
    }
    for tables in PERSONAL_DATA {
        for table in *tables {
            if erase_table(pool, table, erase).await?.is_none() {
                return Ok(());
            }
        }
    }
    Tx::run(pool, async |tx| erasures::finish(tx, clock, erase).await).await
}

/// Erases the rows of a table, piece by piece; `None` if the erase has been ended meanwhile.
async fn erase_table(pool: &Pool, table: &PersonalTable, erase: &Begun) -> Result<Option<()>, DbError> {
    let mut after = None;
    loop {
        let piece = Tx::run(pool, async |tx| {
            if !erasures::goes_on(tx, erase).await? {
                return Ok(None);
            }
            let user_id = erase.user_id.as_str();
            pg::personal::erase_piece(tx.conn(), table, user_id, after.as_ref()).await.map(Some)
        });
        match piece.await? {
            None => return Ok(None),
            Some(None) => return Ok(Some(())),
            Some(last) => after = last,
        }
    }
}

/// Waits for the transactions that may have read the user before they were removed: milliseconds. Nobody waits for it.
///
/// # Errors
/// [`DbError::LockTimeout`] when one of them takes too long.
pub async fn wait_for_operations(pool: &Pool) -> Result<(), DbError> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    // Those of batches with a command of the ledger hold the lock of the receivers, which they take first, and no other.
    let locks = [erasures::OPERATIONS, webhooks::RECEIVERS_LOCK];
    let mut left = pool.read(async |conn| erasures::operations(conn, &locks).await).await?;
    while !left.is_empty() {
        if began.elapsed() > OPERATIONS_MAX {
            return Err(DbError::waited());
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(Duration::from_millis(50));
        let present = pool.read(async |conn| erasures::operations(conn, &locks).await).await?;
        left.retain(|transaction| present.contains(transaction));
    }
    Ok(())
}

async fn close_account(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    erase: &Begun,
) -> Result<Option<()>, DbError> {
    let wanted = Receivers::default().wanted(tx.shared()).await?;
    if !erasures::goes_on(tx, erase).await? {
        return Ok(None);
    }
    let closed = credits::close(tx, clock, ids, &erase.user_id).await?;
    webhooks::enqueue(tx, &wanted, events::of_entries(&wanted, &closed.entries, &closed.low)).await?;
    Ok(Some(()))
}

/// The job that ends erases that were interrupted.
#[must_use]
pub fn job(pool: &Pool, clock: &Arc<dyn Clock>, ids: &Arc<dyn Ids>) -> Job {
    let state = (pool.clone(), Arc::clone(clock), Arc::clone(ids));
    Job::new("finish_erasures", EVERY, state, |(pool, clock, ids)| {
        Box::pin(async {
            let finished = finish_all(pool, &**clock, &**ids).await?;
            Ok(if finished == 0 { Next::Later } else { Next::AtOnce })
        })
    })
}

/// Ends erases that began a while ago; returns the number of them. One that fails stops no other.
///
/// # Errors
/// The first [`DbError`]; all erases that can be ended are.
pub async fn finish_all(pool: &Pool, clock: &dyn Clock, ids: &dyn Ids) -> Result<usize, DbError> {
    let before = clock.now() - AGE_MIN;
    let (mut finished, mut failed, mut after) = (0_usize, None, None::<Begun>);
    loop {
        let begun = pool
            .read(async |conn| erasures::unfinished(conn, before, after.as_ref(), USERS_MAX).await)
            .await?;
        for erase in &begun {
            match finish(pool, clock, ids, erase).await {
                Ok(()) => {
                    finished = finished.saturating_add(1);
                    tracing::info!(user.id = %erase.user_id, "an erase that was interrupted is finished");
                }
                Err(error) => {
                    tracing::warn!(user.id = %erase.user_id, error = %chain(&error), "an erase cannot be finished yet");
                    failed = failed.or(Some(error));
                }
            }
        }
        after = begun.into_iter().next_back();
        if after.is_none() {
            return failed.map_or(Ok(finished), Err);
        }
    }
}

//! Erases a user in every domain (HTTP contract 3.4).
//!
//! The first commit removes the user: from then on every route answers that there is none, and no write is accepted for them. The
//! commits after it remove what is left, in parts of a bounded size, so that neither locks nor time limits depend on the size of
//! the account. Each part can be repeated: an erase that was interrupted is ended by [`job`], in any process, and until it has
//! ended the id cannot be made again.
//!
//! Nothing is written behind it. Operations read the user in their transaction, after a lock that the erase waits for once; other
//! writes hold the row of the user ([`identity::users::hold`]), which the first commit removes. A plain charge takes no lock, but what is
//! left is written off before the texts of entries are emptied, and without credit there is no plain charge.

use std::sync::Arc;

use identity::{
    audit::{self, Action, AuditActor, AuditEvent, AuditOrigin},
    erasures,
    seal::Sealer,
};
use kernel::{Clock, Ids, UserId};
use pg::{Attempts, DbError, PersonalTable, Pool, Tx};
use time::OffsetDateTime;
use webhooks::{EventKind, NewEvent, Nothing, Receivers};

use crate::{
    events,
    jobs::{Job, Next},
};

/// Declarations of all tables with personal data.
pub const PERSONAL_DATA: &[&[PersonalTable]] = &[
    identity::PERSONAL_DATA,
    credits::PERSONAL_DATA,
    sessions::PERSONAL_DATA,
    idempotency::PERSONAL_DATA,
    usage::PERSONAL_DATA,
    webhooks::PERSONAL_DATA,
];

/// Pause between two looks for erases that were interrupted.
const EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// Most users of one look.
const USERS_MAX: i64 = 20;

/// The erase of a user, as it is asked for.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// The user.
    pub user_id: UserId,
    /// Who asks.
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
    if begun.is_some() {
        finish(pool, clock, ids, user_id).await?;
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

/// Removes what is left of a user who was removed, and ends the erase. May be repeated, also at the same time.
///
/// # Errors
/// [`DbError`]; what was removed before stays removed.
pub async fn finish(pool: &Pool, clock: &dyn Clock, ids: &dyn Ids, user_id: &UserId) -> Result<(), DbError> {
    Tx::run(pool, erasures::wait_for_operations).await?;
    Tx::run(pool, async |tx| close_account(tx, clock, ids, user_id).await).await?;
    for tables in PERSONAL_DATA {
        pg::personal::erase(pool, tables, user_id.as_str()).await?;
    }
    Tx::run(pool, async |tx| erasures::finish(tx.conn(), clock, user_id).await).await
}

async fn close_account(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    user_id: &UserId,
) -> Result<(), DbError> {
    let wanted = Receivers::default().wanted(tx.shared()).await?;
    let closed = credits::close(tx, clock, ids, user_id).await?;
    webhooks::enqueue(tx, &wanted, events::of_entries(&wanted, &closed.entries, &closed.low)).await
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

/// Ends erases that have begun; returns the number of them.
///
/// # Errors
/// [`DbError`]; the erases before it are ended.
pub async fn finish_all(pool: &Pool, clock: &dyn Clock, ids: &dyn Ids) -> Result<usize, DbError> {
    let unfinished = pool.read(async |conn| erasures::unfinished(conn, USERS_MAX).await).await?;
    for user_id in &unfinished {
        finish(pool, clock, ids, user_id).await?;
        tracing::info!(user.id = %user_id, "an erase that was interrupted is finished");
    }
    Ok(unfinished.len())
}

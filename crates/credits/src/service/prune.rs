//! Forgetting first outcomes after a while, but never that a request took effect.

use kernel::Clock;
use pg::{DbError, PgConnection};
use time::Duration;

use crate::store;

/// What pruning removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Refusals, which are gone: the same key is a new request from now on.
    pub refusals: usize,
    /// Outcomes of successes, whose keys stay for good.
    pub successes: usize,
}

/// Prunes idempotency records that are older than `older_than`: at most `limit` refusals and `limit` successes. The
/// caller comes again while something was pruned.
///
/// A repeat of a pruned success takes no effect either. Its answer is rebuilt from the books: entry, instant, posted and
/// held credit are those of the first answer, while hold and grant are shown as they are now, `lifetime_granted` is the
/// present one, and `replayed` (by reference) is false.
///
/// # Errors
/// [`DbError`] when the database cannot be written.
pub async fn prune_idempotency(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    older_than: Duration,
    limit: i64,
) -> Result<Pruned, DbError> {
    let Some(before) = clock.now().checked_sub(older_than) else {
        return Ok(Pruned::default());
    };
    let pruned = store::idempotency::prune(conn, before, limit).await?;
    Ok(Pruned {
        refusals: pruned.refusals,
        successes: pruned.successes,
    })
}

//! Removes what uploads left: rows that did not become ready in time, objects of rows that are gone, and objects without a row.
//!
//! Any number of processes may do it at the same time.

use std::{sync::Arc, time::Duration};

use files::objects::{FINAL, SELF_TEST, UPLOADED};
use futures_util::StreamExt;
use pg::{DbError, Tx};
use uuid::Uuid;

use super::{Files, FilesError, Shared};
use crate::jobs::{Job, Next};

/// Pause between two looks for rows and objects that are to be removed.
const EVERY: Duration = Duration::from_secs(5);
/// Rows, and objects, of one look.
const ITEMS_MAX: i64 = 100;
/// Pause between two looks for objects without a row: the store is listed whole.
const LISTED_EVERY: Duration = Duration::from_hours(24);
const FIRST_LISTED_AFTER: Duration = Duration::from_hours(1);
/// Objects that are looked up at once.
const LISTED_AT_ONCE: usize = 500;
/// Age of an object without a row that nobody can be about to give one.
const UNKNOWN_FOR: time::Duration = time::Duration::hours(24);

impl Files {
    /// The jobs that remove what is left.
    #[must_use]
    pub fn jobs(&self) -> [Job; 3] {
        [
            Job::new("give_up_uploads", EVERY, self.clone(), |files| Box::pin(files.give_up_expired())),
            Job::new("remove_files", EVERY, self.clone(), |files| Box::pin(files.remove_due())),
            Job::new("find_lost_files", LISTED_EVERY, self.clone(), |files| Box::pin(files.find_lost()))
                .first_after(FIRST_LISTED_AFTER),
        ]
    }

    /// One look for rows that did not become ready in time.
    ///
    /// # Errors
    /// [`DbError`]. A row that cannot be removed does not keep others.
    pub async fn give_up_expired(&self) -> Result<Next, DbError> {
        let Shared { pool, clock, .. } = &*self.0;
        let expired = pool.read(async |conn| files::expired(conn, &**clock, ITEMS_MAX).await).await?;
        let (mut given_up, mut failed) = (0_usize, None);
        for (user_id, file_id) in &expired {
            match Tx::run(pool, async |tx| files::give_up(tx, user_id, *file_id).await).await {
                Ok(_) => given_up = given_up.saturating_add(1),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None if given_up == 0 => Ok(Next::Later),
            None => Ok(Next::AtOnce),
        }
    }

    /// One look for objects that are to be removed.
    ///
    /// # Errors
    /// [`DbError`]. A store that does not answer is logged and tried again.
    pub async fn remove_due(&self) -> Result<Next, DbError> {
        let Shared { pool, clock, .. } = &*self.0;
        let keys = Tx::run(pool, async |tx| files::take_removals(tx, &**clock, ITEMS_MAX).await).await?;
        if keys.is_empty() {
            return Ok(Next::Later);
        }
        let removed = u64::try_from(keys.len()).unwrap_or_default();
        let home = Arc::clone(&self.0);
        match self.0.on_home(async move { home.remove_objects(&keys).await }).await {
            Ok(()) => {
                metrics::counter!("files_removed_total").increment(removed);
                Ok(Next::AtOnce)
            }
            Err(error) => later(error, "objects could not be removed; they are tried again"),
        }
    }

    /// One look at the whole store, for objects without a row.
    ///
    /// # Errors
    /// As [`Files::remove_due`].
    pub async fn find_lost(&self) -> Result<Next, DbError> {
        let home = Arc::clone(&self.0);
        match self.0.on_home(async move { home.find_lost().await }).await {
            Ok(0) => Ok(Next::Later),
            Ok(lost) => {
                tracing::warn!(objects.count = lost, "objects without a file were removed");
                Ok(Next::Later)
            }
            Err(error) => later(error, "the file storage could not be listed"),
        }
    }
}

/// Goes on later after a failure of the store.
fn later(error: FilesError, message: &str) -> Result<Next, DbError> {
    match error {
        FilesError::Database(error) => Err(error),
        FilesError::Storage(error) => {
            tracing::warn!(error = %pg::pool::chain(&error), "{message}");
            Ok(Next::Later)
        }
    }
}

impl Shared {
    async fn find_lost(&self) -> Result<usize, FilesError> {
        let before = self.clock.now().saturating_sub(UNKNOWN_FOR);
        let mut lost: usize = 0;
        for prefix in [FINAL, UPLOADED, SELF_TEST] {
            let mut batches = self.objects.list(prefix).ready_chunks(LISTED_AT_ONCE);
            while let Some(batch) = batches.next().await {
                let mut old = Vec::new();
                for object in batch {
                    let object = object?;
                    if object.modified < before {
                        old.push(object.key);
                    }
                }
                let ids: Vec<Uuid> = old.iter().filter_map(|key| id_of(key)).collect();
                let known = self.pool.read(async |conn| files::existing(conn, &ids).await).await?;
                for key in old {
                    if id_of(&key).is_none_or(|id| !known.contains(&id)) {
                        self.objects.delete(&key).await?;
                        lost = lost.saturating_add(1);
                    }
                }
            }
        }
        Ok(lost)
    }
}

/// The id of the file of an object; none for the rest of a writing.
fn id_of(key: &str) -> Option<Uuid> {
    let (_, name) = key.rsplit_once('/')?;
    Uuid::parse_str(name).ok()
}

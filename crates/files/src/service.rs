//! Operations on files. Reading takes a connection, changing takes an open transaction (I4).
//!
//! The row of `files.quotas` is locked before rows of `files.files`, by everyone.

use diesel_async::AsyncPgConnection;
use kernel::{Clock, Page, Slice, TimePlace, UserId};
use pg::{DbError, Tx};
use uuid::Uuid;

use crate::{
    File, FileFilter, FileLimits, FileRefusal, NewFile, Offer, Published, Quota, ReservedAs,
    store::{files as store, quotas, removals},
};

/// Longest that another process may take to remove an object; after that it is tried again.
const REMOVAL_LEASE: time::Duration = time::Duration::minutes(2);

/// Adds the row of a file that is to come, and reserves its bytes; returns how many.
///
/// Refused as [`FileRefusal::QuotaExceeded`].
///
/// # Errors
/// [`DbError`]; [`DbError::Contention`] if the path is taken: try again with another one.
pub async fn reserve(
    tx: &mut Tx,
    clock: &dyn Clock,
    limits: &FileLimits,
    new: &NewFile,
) -> Result<Result<i64, FileRefusal>, DbError> {
    let quota = quotas::lock_or_make(tx.conn(), &new.user_id).await?;
    let files = quota.used_files.saturating_add(quota.reserved_files);
    if files >= limits.user_files {
        let unit = "files";
        return Ok(Err(FileRefusal::QuotaExceeded {
            unit,
            used: files,
            limit: limits.user_files,
            requested: 1,
        }));
    }
    let used = quota.used_bytes.saturating_add(quota.reserved_bytes);
    let left = limits.user_bytes.saturating_sub(used);
    let (bytes, least) = match &new.bytes {
        ReservedAs::AtMost(bytes) => (*bytes.min(&left), 1),
        ReservedAs::Offered { size, .. } => (*size, *size),
    };
    if left < least {
        let (unit, limit) = ("bytes", limits.user_bytes);
        return Ok(Err(FileRefusal::QuotaExceeded { unit, used, limit, requested: least }));
    }
    if !store::insert(tx.conn(), clock, new, bytes).await? {
        return Err(DbError::overtaken());
    }
    let change = Quota { reserved_bytes: bytes, reserved_files: 1, ..Quota::default() };
    quotas::add(tx.conn(), &new.user_id, change).await?;
    Ok(Ok(bytes))
}

/// Makes a file ready whose bytes are stored; `None` if its row is gone. One that is ready already is returned as it is, with
/// false.
///
/// # Errors
/// [`DbError`].
pub async fn publish(
    tx: &mut Tx,
    clock: &dyn Clock,
    user: &UserId,
    file_id: Uuid,
    published: Published,
) -> Result<Option<(File, bool)>, DbError> {
    if quotas::lock(tx.conn(), user).await?.is_none() {
        return Ok(None);
    }
    let Some(waiting) = store::lock_waiting(tx.conn(), user, file_id).await? else {
        let ready = store::find_own(tx.conn(), user, file_id).await?;
        return Ok(ready.map(|file| (file, false)));
    };
    let file = store::publish(tx.conn(), clock, user, file_id, published).await?;
    let change = Quota {
        used_bytes: published.size_bytes,
        used_files: 1,
        reserved_bytes: waiting.size_bytes.saturating_neg(),
        reserved_files: -1,
    };
    quotas::add(tx.conn(), user, change).await?;
    if let Some(due_at) = waiting.offered_until {
        removals::note_upload(tx.conn(), file_id, due_at).await?;
    }
    Ok(Some((file, true)))
}

/// Removes a file; `None` if there is none. Its object is noted as to be removed.
///
/// # Errors
/// [`DbError`].
pub async fn remove(tx: &mut Tx, user: &UserId, file_path: &str) -> Result<Option<File>, DbError> {
    if quotas::lock(tx.conn(), user).await?.is_none() {
        return Ok(None);
    }
    let Some(file) = store::delete_ready(tx.conn(), user, file_path).await? else {
        return Ok(None);
    };
    let change = Quota { used_bytes: file.size_bytes.saturating_neg(), used_files: -1, ..Quota::default() };
    quotas::add(tx.conn(), user, change).await?;
    Ok(Some(file))
}

/// Removes the row of a file that is not ready, if there is one, and frees what it reserved.
///
/// # Errors
/// [`DbError`].
pub async fn give_up(tx: &mut Tx, user: &UserId, file_id: Uuid) -> Result<bool, DbError> {
    if quotas::lock(tx.conn(), user).await?.is_none() {
        return Ok(false);
    }
    let Some(bytes) = store::delete_waiting(tx.conn(), user, file_id).await? else {
        return Ok(false);
    };
    let change = Quota { reserved_bytes: bytes.saturating_neg(), reserved_files: -1, ..Quota::default() };
    quotas::add(tx.conn(), user, change).await?;
    Ok(true)
}

/// Some files that were not ready in time, with their owners.
///
/// # Errors
/// [`DbError`].
pub async fn expired(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    limit: i64,
) -> Result<Vec<(UserId, Uuid)>, DbError> {
    store::expired(conn, clock, limit).await
}

/// The file with this path.
///
/// # Errors
/// [`DbError`].
pub async fn find_by_path(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    file_path: &str,
) -> Result<Option<File>, DbError> {
    store::find_by_path(conn, user, file_path).await
}

/// The file with this id, of any user: for holders of a signed link.
///
/// # Errors
/// [`DbError`].
pub async fn find(conn: &mut AsyncPgConnection, file_id: Uuid) -> Result<Option<File>, DbError> {
    store::find(conn, file_id).await
}

/// The direct upload with this id, of any user, if it is not complete.
///
/// # Errors
/// [`DbError`].
pub async fn offer(conn: &mut AsyncPgConnection, file_id: Uuid) -> Result<Option<Offer>, DbError> {
    store::offer(conn, file_id).await
}

/// One page of the files of a user that are ready, newest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &FileFilter,
    page: &Page<TimePlace>,
) -> Result<Slice<File, TimePlace>, DbError> {
    let files = store::list(conn, user, filter, page).await?;
    Ok(page.cut(files, File::place))
}

/// The use of the quota of a user.
///
/// # Errors
/// [`DbError`].
pub async fn quota(conn: &mut AsyncPgConnection, user: &UserId) -> Result<Quota, DbError> {
    quotas::read(conn, user).await
}

/// Takes some objects that are to be removed; others get them again only if they are not forgotten within two minutes.
///
/// # Errors
/// [`DbError`].
pub async fn take_removals(tx: &mut Tx, clock: &dyn Clock, limit: i64) -> Result<Vec<String>, DbError> {
    removals::take(tx.conn(), clock, REMOVAL_LEASE, limit).await
}

/// Forgets objects that were removed.
///
/// # Errors
/// [`DbError`].
pub async fn forget(tx: &mut Tx, keys: &[String]) -> Result<(), DbError> {
    removals::forget(tx.conn(), keys).await
}

/// The id of the part of the storage that belongs to this database.
///
/// # Errors
/// [`DbError`].
pub async fn store_id(conn: &mut AsyncPgConnection) -> Result<Uuid, DbError> {
    store::store_id(conn).await
}

/// Those of these ids that are of an object of a file, or of a direct upload that is not complete.
///
/// # Errors
/// [`DbError`].
pub async fn existing(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, DbError> {
    store::existing(conn, ids).await
}

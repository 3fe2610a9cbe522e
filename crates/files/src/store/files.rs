//! The table `files.files`.

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Clock, Page, TimePlace, UserId};
use pg::{DbError, columns::Read};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{File, FileFilter, FileType, NewFile, Offer, Published, ReservedAs, Sha256};

impl pg::columns::FromColumn for Sha256 {
    type Sql = Binary;
    type Plain = Vec<u8>;

    fn from_plain(bytes: Vec<u8>) -> diesel::deserialize::Result<Self> {
        Ok(Self(bytes.try_into().map_err(|_| "no SHA-256 hash")?))
    }
}

pg::word_columns!(FileType; by_content_type);
pg::read_columns! {
    File: { file_id, user_id, number, object_id, file_path, filename, file_type = "content_type", size_bytes, sha256, uploaded_at }
}
pg::read_columns! {
    Offer: { file_id, user_id, file_path, filename, declared_type, size_bytes, sha256, expires_at }
}

/// A file that is not ready, locked.
pub(crate) struct Waiting {
    pub(crate) size_bytes: i64,
    pub(crate) offered_until: Option<OffsetDateTime>,
}
pg::read_columns! {
    Waiting: { size_bytes, offered_until = "CASE WHEN {}.status = 'offered' THEN {}.expires_at END" }
}

struct OwnedRow {
    user_id: UserId,
    file_id: Uuid,
}
pg::read_columns! { OwnedRow: { user_id, file_id } }

struct IdRow {
    id: Uuid,
}
pg::read_columns! { IdRow: { id } }

struct SizeRow {
    size_bytes: i64,
}
pg::read_columns! { SizeRow: { size_bytes } }

/// The place in front of the newest file there can be.
const NEWEST: TimePlace = TimePlace { at: datetime!(9999-12-31 23:59:59.999999 UTC), id: i64::MAX };

/// Adds the row of a file that is to come; false if its path is taken.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    new: &NewFile,
    bytes: i64,
) -> Result<bool, DbError> {
    let (status, declared_type, sha256) = match &new.bytes {
        ReservedAs::AtMost(_) => ("pending", None, None),
        ReservedAs::Offered { declared_type, sha256, .. } => {
            ("offered", Some(declared_type.as_str()), sha256.as_ref())
        }
    };
    let added = pg::sql(
        "INSERT INTO files.files (user_id, file_id, object_id, status, file_path, filename, declared_type, size_bytes, sha256,
             created_at, expires_at)
         SELECT $1, $2, $2, $3, $4, $5, $6, $7, $8, now, now + $9 * interval '1 second'
         FROM (SELECT coalesce($10, clock_timestamp()) AS now) AS clock
         ON CONFLICT (user_id, file_path) DO NOTHING",
    )
    .bind::<Text, _>(new.user_id.as_str())
    .bind::<SqlUuid, _>(new.file_id)
    .bind::<Text, _>(status)
    .bind::<Text, _>(new.file_path.as_str())
    .bind::<Text, _>(new.filename.as_str())
    .bind::<Nullable<Text>, _>(declared_type)
    .bind::<BigInt, _>(bytes)
    .bind::<Nullable<Binary>, _>(sha256.map(|hash| hash.0.as_slice()))
    .bind::<BigInt, _>(new.valid.whole_seconds())
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .execute(conn)
    .await?;
    Ok(added > 0)
}

pub(crate) async fn lock_waiting(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    file_id: Uuid,
) -> Result<Option<Waiting>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM files.files WHERE user_id = $1 AND file_id = $2 AND status <> 'ready' FOR UPDATE",
        Waiting::list("files")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(file_id)
    .get_result(conn)
    .await
    .optional()?)
}

/// Makes a locked file ready. The clock is read after the lock, so that files become ready in the order of their times.
pub(crate) async fn publish(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    user: &UserId,
    file_id: Uuid,
    published: Published,
) -> Result<File, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "UPDATE files.files
         SET status = 'ready', content_type = $3, size_bytes = $4, sha256 = $5, uploaded_at = $6, expires_at = NULL,
             declared_type = NULL, object_id = $7
         WHERE user_id = $1 AND file_id = $2 RETURNING {}",
        File::list("files")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(file_id)
    .bind::<Text, _>(published.file_type.content_type())
    .bind::<BigInt, _>(published.size_bytes)
    .bind::<Binary, _>(published.sha256.0.as_slice())
    .bind::<Timestamptz, _>(clock.now())
    .bind::<SqlUuid, _>(published.object_id)
    .get_result(conn)
    .await?)
}

/// Deletes a file that is ready.
pub(crate) async fn delete_ready(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    file_path: &str,
) -> Result<Option<File>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "DELETE FROM files.files WHERE user_id = $1 AND file_path = $2 AND status = 'ready' RETURNING {}",
        File::list("files")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(file_path)
    .get_result(conn)
    .await
    .optional()?)
}

/// Deletes a file that is not ready, and returns the bytes that it reserved.
pub(crate) async fn delete_waiting(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    file_id: Uuid,
) -> Result<Option<i64>, DbError> {
    let row: Option<SizeRow> = pg::sql(
        "DELETE FROM files.files WHERE user_id = $1 AND file_id = $2 AND status <> 'ready' RETURNING size_bytes",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(file_id)
    .get_result(conn)
    .await
    .optional()?;
    Ok(row.map(|row| row.size_bytes))
}

pub(crate) async fn expired(
    conn: &mut AsyncPgConnection,
    clock: &dyn Clock,
    limit: i64,
) -> Result<Vec<(UserId, Uuid)>, DbError> {
    let rows: Vec<OwnedRow> = pg::sql(
        "SELECT user_id, file_id FROM files.files
         WHERE status <> 'ready' AND expires_at < coalesce($1, clock_timestamp()) ORDER BY expires_at LIMIT $2",
    )
    .bind::<Nullable<Timestamptz>, _>(clock.pinned())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.file_id)).collect())
}

pub(crate) async fn find_by_path(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    file_path: &str,
) -> Result<Option<File>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM files.files WHERE user_id = $1 AND file_path = $2 AND status = 'ready'",
        File::list("files")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(file_path)
    .get_result(conn)
    .await
    .optional()?)
}

pub(crate) async fn find_own(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    file_id: Uuid,
) -> Result<Option<File>, DbError> {
    let file = find(conn, file_id).await?;
    Ok(file.filter(|file| file.user_id == *user))
}

pub(crate) async fn find(conn: &mut AsyncPgConnection, file_id: Uuid) -> Result<Option<File>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM files.files WHERE file_id = $1 AND status = 'ready'",
        File::list("files")
    )))
    .bind::<SqlUuid, _>(file_id)
    .get_result(conn)
    .await
    .optional()?)
}

pub(crate) async fn offer(conn: &mut AsyncPgConnection, file_id: Uuid) -> Result<Option<Offer>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM files.files WHERE file_id = $1 AND status = 'offered'",
        Offer::list("files")
    )))
    .bind::<SqlUuid, _>(file_id)
    .get_result(conn)
    .await
    .optional()?)
}

pub(crate) async fn list(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    filter: &FileFilter,
    page: &Page<TimePlace>,
) -> Result<Vec<File>, DbError> {
    let before = page.after().unwrap_or(&NEWEST);
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM files.files
         WHERE user_id = $1 AND status = 'ready' AND (uploaded_at, number) < ($2, $3)
             AND ($4::text IS NULL OR starts_with(file_path, $4))
         ORDER BY uploaded_at DESC, number DESC LIMIT $5 OFFSET $6",
        File::list("files")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<Timestamptz, _>(before.at)
    .bind::<BigInt, _>(before.id)
    .bind::<Nullable<Text>, _>(filter.path_prefix.as_deref())
    .bind::<BigInt, _>(page.rows())
    .bind::<BigInt, _>(page.offset())
    .load(conn)
    .await?)
}

pub(crate) async fn store_id(conn: &mut AsyncPgConnection) -> Result<Uuid, DbError> {
    let row: IdRow = pg::sql("SELECT store_id AS id FROM files.store").get_result(conn).await?;
    Ok(row.id)
}

pub(crate) async fn existing(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, DbError> {
    let rows: Vec<IdRow> = pg::sql(
        "SELECT file_id AS id FROM files.files WHERE file_id = ANY($1) AND status <> 'ready'
         UNION SELECT object_id FROM files.files WHERE object_id = ANY($1)",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

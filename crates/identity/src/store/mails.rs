//! The tables `identity.mails` and `identity.mail_links`.

use diesel::{
    OptionalExtension,
    sql_types::{Array, BigInt, Binary, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{DbError, columns::Read};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::{LinkPurpose, StoredLink, StoredMail};

/// Puts a mail into the outbox, to be sent at once.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    id: Uuid,
    sealed: &[u8],
) -> Result<(), DbError> {
    pg::sql("INSERT INTO identity.mails (id, sealed, attempt_at, created_at) VALUES ($1, $2, $3, $3)")
        .bind::<SqlUuid, _>(id)
        .bind::<Binary, _>(sealed)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Takes the mails whose turn it is, for which no other process is at work, and leaves them alone for as long as it is reasonable to
/// wait before the next attempt. Links that nobody used in time are forgotten on the way.
pub(crate) async fn claim(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    rows_max: i64,
) -> Result<Vec<StoredMail>, DbError> {
    pg::sql(
        "DELETE FROM identity.mail_links WHERE (user_id, mail_id) IN \
         (SELECT user_id, mail_id FROM identity.mail_links WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100 \
          FOR UPDATE SKIP LOCKED)",
    )
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(pg::sql(pg::once!(format!(
        "UPDATE identity.mails SET attempts = attempts + 1, \
         attempt_at = $1 + least(interval '1 hour', interval '2 minutes' * 2 ^ least(attempts, 10)) \
         WHERE id IN (SELECT id FROM identity.mails WHERE attempt_at <= $1 ORDER BY attempt_at LIMIT $2 \
         FOR UPDATE SKIP LOCKED) RETURNING {}",
        StoredMail::list("mails")
    )))
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(rows_max)
    .load(conn)
    .await?)
}

/// Forgets mails.
pub(crate) async fn delete(conn: &mut AsyncPgConnection, ids: &[Uuid]) -> Result<(), DbError> {
    if ids.is_empty() {
        return Ok(());
    }
    pg::sql("DELETE FROM identity.mails WHERE id = ANY ($1)")
        .bind::<Array<SqlUuid>, _>(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// Number of links of a user that are valid, except for that of one mail.
pub(crate) async fn count_links(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    user: &UserId,
    purpose: LinkPurpose,
    but: Uuid,
) -> Result<i64, DbError> {
    let row: CountRow = pg::sql(
        "SELECT count(*) AS links FROM identity.mail_links \
         WHERE user_id = $1 AND purpose = $2 AND expires_at > $3 AND mail_id <> $4",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Text, _>(purpose.as_str())
    .bind::<Timestamptz, _>(now)
    .bind::<SqlUuid, _>(but)
    .get_result(conn)
    .await?;
    Ok(row.links)
}

/// Stores the link of a mail, or renews it with a further attempt; false if the mail is not in the outbox any more, because a link of
/// its purpose was used.
pub(crate) async fn put_link(
    conn: &mut AsyncPgConnection,
    mail: Uuid,
    link: &StoredLink,
    purpose: LinkPurpose,
    digest: &[u8; 32],
    expires_at: OffsetDateTime,
) -> Result<bool, DbError> {
    let kept = pg::sql(
        "INSERT INTO identity.mail_links (user_id, mail_id, digest, purpose, email_folded, expires_at) \
         SELECT $1, id, $3, $4, $5, $6 FROM identity.mails WHERE id = $2 ON CONFLICT (user_id, mail_id) \
         DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at",
    )
    .bind::<Text, _>(link.user_id.as_str())
    .bind::<SqlUuid, _>(mail)
    .bind::<Binary, _>(digest.as_slice())
    .bind::<Text, _>(purpose.as_str())
    .bind::<Text, _>(link.email_folded.as_str())
    .bind::<Timestamptz, _>(expires_at)
    .execute(conn)
    .await?;
    Ok(kept == 1)
}

/// Forgets the link of a mail.
pub(crate) async fn delete_link(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    mail: Uuid,
) -> Result<(), DbError> {
    pg::sql("DELETE FROM identity.mail_links WHERE user_id = $1 AND mail_id = $2")
        .bind::<Text, _>(user.as_str())
        .bind::<SqlUuid, _>(mail)
        .execute(conn)
        .await?;
    Ok(())
}

/// The valid link with this token.
pub(crate) async fn find_link(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    purpose: LinkPurpose,
    digest: &[u8; 32],
) -> Result<Option<StoredLink>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM identity.mail_links WHERE digest = $1 AND purpose = $2 AND expires_at > $3",
        StoredLink::list("mail_links")
    )))
    .bind::<Binary, _>(digest.as_slice())
    .bind::<Text, _>(purpose.as_str())
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await
    .optional()?)
}

/// Forgets the links of a user that have one of these purposes, and the mails with them that would be tried again: a link that was
/// used must not be sent once more.
pub(crate) async fn delete_links(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    purposes: &[LinkPurpose],
) -> Result<(), DbError> {
    let purposes: Vec<&str> = purposes.iter().copied().map(LinkPurpose::as_str).collect();
    pg::sql(
        "WITH links AS (DELETE FROM identity.mail_links WHERE user_id = $1 AND purpose = ANY ($2) RETURNING mail_id) \
         DELETE FROM identity.mails WHERE id IN (SELECT mail_id FROM links)",
    )
    .bind::<Text, _>(user.as_str())
    .bind::<Array<Text>, _>(purposes)
    .execute(conn)
    .await?;
    Ok(())
}

struct CountRow {
    links: i64,
}
pg::read_columns! { CountRow: { links } }

pg::read_columns! { StoredMail: { id, sealed, created_at } }
pg::read_columns! { StoredLink: { user_id, email_folded } }

//! Tables `webhooks.receivers` and `webhooks.receivers_edition`.

use diesel::{
    QueryableByName,
    sql_types::{Array, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::model::Receiver;

struct EditionRow {
    stamp: Uuid,
}
pg::read_columns! { EditionRow: { stamp } }

#[derive(QueryableByName)]
struct ReceiverRow {
    #[diesel(sql_type = Nullable<Text>)]
    only_user_id: Option<String>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    event_types: Option<Vec<String>>,
}

/// Keeps the receivers as they are until the end of the transaction, and returns the stamp of their edition.
pub async fn lock_shared(mut conn: &AsyncPgConnection) -> Result<Uuid, DbError> {
    let row: EditionRow = pg::sql("SELECT webhooks.receivers_stamp() AS stamp").get_result(&mut conn).await?;
    Ok(row.stamp)
}

/// The receivers that want events now.
pub async fn load(mut conn: &AsyncPgConnection) -> Result<Vec<Receiver>, DbError> {
    let rows: Vec<ReceiverRow> =
        pg::sql("SELECT only_user_id, event_types FROM webhooks.receivers WHERE wanted_until IS NULL")
            .load(&mut conn)
            .await?;
    let receiver = |row: ReceiverRow| {
        let only_user_id = row.only_user_id.map(|text| UserId::stored(&text)).transpose();
        let only_user_id =
            only_user_id.map_err(|error| DbError::Inconsistent(format!("a receiver: {error}")))?;
        Ok(Receiver { only_user_id, event_types: row.event_types.map(|types| types.into_iter().collect()) })
    };
    rows.into_iter().map(receiver).collect()
}

/// Waits until no other transaction uses the receivers, and keeps them from being used until the end of this one.
pub async fn lock(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    pg::sql("SELECT pg_advisory_xact_lock(7284018846117465008)").execute(conn).await?;
    Ok(())
}

/// Ends the wishes of a receiver, unless they are these. Returns how many ended.
pub async fn end(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    name: &str,
    unless: Option<&Receiver>,
) -> Result<usize, DbError> {
    Ok(pg::sql(
        "UPDATE webhooks.receivers SET wanted_until = greatest(coalesce($1, clock_timestamp()), wanted_from) \
         WHERE name = $2 AND wanted_until IS NULL \
           AND ($3 IS NULL OR NOT (only_user_id IS NOT DISTINCT FROM $4 AND event_types IS NOT DISTINCT FROM $5))",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<Text, _>(name)
    .bind::<Nullable<Text>, _>(unless.map(|_| ""))
    .bind::<Nullable<Text>, _>(user_of(unless))
    .bind::<Nullable<Array<Text>>, _>(types_of(unless))
    .execute(conn)
    .await?)
}

/// Begins the wishes of a receiver that has none now. Returns how many began.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    name: &str,
    receiver: &Receiver,
) -> Result<usize, DbError> {
    Ok(pg::sql(
        "INSERT INTO webhooks.receivers (name, only_user_id, event_types, wanted_from) \
         VALUES ($1, $2, $3, coalesce($4, clock_timestamp())) ON CONFLICT (name) WHERE wanted_until IS NULL DO NOTHING",
    )
    .bind::<Text, _>(name)
    .bind::<Nullable<Text>, _>(user_of(Some(receiver)))
    .bind::<Nullable<Array<Text>>, _>(types_of(Some(receiver)))
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .execute(conn)
    .await?)
}

/// Makes every process read the receivers again.
pub async fn renew_edition(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    pg::sql("UPDATE webhooks.receivers_edition SET stamp = gen_random_uuid()").execute(conn).await?;
    Ok(())
}

fn user_of(receiver: Option<&Receiver>) -> Option<&str> {
    receiver.and_then(|receiver| receiver.only_user_id.as_ref()).map(UserId::as_str)
}

fn types_of(receiver: Option<&Receiver>) -> Option<Vec<&str>> {
    let types = receiver.and_then(|receiver| receiver.event_types.as_ref())?;
    Some(types.iter().map(String::as_str).collect())
}

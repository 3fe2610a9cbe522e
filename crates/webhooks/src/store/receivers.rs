//! Tables `webhooks.receivers` and `webhooks.receivers_edition`.

use diesel::{
    QueryableByName,
    sql_types::{Array, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
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

/// An expression in SQL that keeps the receivers as they are until the end of the transaction: the stamp of their edition, a `uuid`.
pub const STAMP: &str = "webhooks.receivers_stamp()";

/// The advisory lock that [`STAMP`] takes in shared mode, until the transaction ends.
pub const RECEIVERS_LOCK: i64 = 7_284_018_846_117_465_008;

/// Keeps the receivers as they are until the end of the transaction, and returns the stamp of their edition.
pub async fn lock_shared(mut conn: &AsyncPgConnection) -> Result<Uuid, DbError> {
    let row: EditionRow = pg::sql("SELECT webhooks.receivers_stamp() AS stamp").get_result(&mut conn).await?;
    Ok(row.stamp)
}

/// The receivers that want events now; those of one name, if one is given.
pub async fn load(mut conn: &AsyncPgConnection, name: Option<&str>) -> Result<Vec<Receiver>, DbError> {
    let rows: Vec<ReceiverRow> = pg::sql(
        "SELECT only_user_id, event_types FROM webhooks.receivers WHERE wanted_until IS NULL AND ($1 IS NULL OR name = $1)",
    )
    .bind::<Nullable<Text>, _>(name)
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

/// Keeps other transactions from using the receivers until the end of this one. Waits a moment for those that use them, and no
/// longer: transactions that write events wait after this one.
pub async fn lock(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    conn.batch_execute("SET LOCAL lock_timeout = '100ms'; SELECT pg_advisory_xact_lock(7284018846117465008)")
        .await?;
    Ok(())
}

/// Ends the present times of a receiver.
pub async fn end(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    name: &str,
) -> Result<(), DbError> {
    pg::sql(
        "UPDATE webhooks.receivers SET wanted_until = greatest(coalesce($1, clock_timestamp()), wanted_from) \
         WHERE name = $2 AND wanted_until IS NULL",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<Text, _>(name)
    .execute(conn)
    .await?;
    Ok(())
}

/// Begins a time of a receiver that has none now.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    name: &str,
    receiver: &Receiver,
) -> Result<(), DbError> {
    let types: Option<Vec<&str>> =
        receiver.event_types.as_ref().map(|types| types.iter().map(String::as_str).collect());
    pg::sql(
        "INSERT INTO webhooks.receivers (name, only_user_id, event_types, wanted_from) \
         VALUES ($1, $2, $3, coalesce($4, clock_timestamp()))",
    )
    .bind::<Text, _>(name)
    .bind::<Nullable<Text>, _>(receiver.only_user_id.as_ref().map(UserId::as_str))
    .bind::<Nullable<Array<Text>>, _>(types)
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes every process read the receivers again.
pub async fn renew_edition(conn: &mut AsyncPgConnection) -> Result<(), DbError> {
    pg::sql("UPDATE webhooks.receivers_edition SET stamp = gen_random_uuid()").execute(conn).await?;
    Ok(())
}

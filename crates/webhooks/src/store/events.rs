//! Table `webhooks.events`: appended to, read newest first.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{FreeForm, UserId};
use pg::DbError;
use time::OffsetDateTime;

use crate::model::{Event, NewEvent};

#[derive(QueryableByName)]
struct EventRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Text)]
    payload: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: OffsetDateTime,
}

/// Inserts in the order given: ids are drawn in that order.
pub async fn insert(mut conn: &AsyncPgConnection, events: &[NewEvent]) -> Result<(), DbError> {
    let users: Vec<&str> = events.iter().map(|event| event.user_id.as_str()).collect();
    let types: Vec<&str> = events.iter().map(|event| event.kind.event_type()).collect();
    let payloads: Result<Vec<String>, _> = events.iter().map(|event| event.kind.payload()).collect();
    let payloads =
        payloads.map_err(|error| DbError::Inconsistent(format!("the payload of an event: {error}")))?;
    let inserted = pg::sql(
        "INSERT INTO webhooks.events (user_id, event_type, payload, created_at) \
         SELECT n.user_id, n.event_type, n.payload::jsonb, n.created_at FROM unnest($1, $2, $3, $4) \
         WITH ORDINALITY AS n (user_id, event_type, payload, created_at, place) ORDER BY n.place",
    )
    .bind::<Array<Text>, _>(users)
    .bind::<Array<Text>, _>(types)
    .bind::<Array<Text>, _>(payloads)
    .bind::<Array<Timestamptz>, _>(events.iter().map(|event| event.at).collect::<Vec<_>>())
    .execute(&mut conn)
    .await?;
    DbError::expect_rows("insert webhooks.events", events.len(), inserted)
}

/// The newest events of a user.
pub async fn newest(
    conn: &mut AsyncPgConnection,
    user_id: &UserId,
    limit: i64,
) -> Result<Vec<Event>, DbError> {
    let rows: Vec<EventRow> = pg::sql(
        "SELECT id, user_id, event_type, payload::text AS payload, created_at FROM webhooks.events \
         WHERE user_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind::<Text, _>(user_id.as_str())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    rows.into_iter().map(EventRow::into_event).collect()
}

impl EventRow {
    fn into_event(self) -> Result<Event, DbError> {
        let user_id = UserId::stored(&self.user_id).map_err(|error| {
            DbError::Inconsistent(format!("user id {:?} of an event: {error}", self.user_id))
        })?;
        Ok(Event {
            id: self.id,
            user_id,
            event_type: self.event_type,
            payload: FreeForm::stored(self.payload),
            at: self.created_at,
        })
    }
}

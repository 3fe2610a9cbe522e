//! Table `webhooks.events`: appended to, read newest first.

use diesel::sql_types::{BigInt, Jsonb, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::UserId;
use pg::{
    DbError,
    columns::{Json, Placeholders, Read, Written},
};

use crate::model::{Event, NewEvent};

pg::read_columns! {
    Event: { id, user_id, event_type, payload, at = "{}.created_at" }
}

pg::written_columns! {
    /// An event with its payload as JSON.
    EventColumns = (event, payload): (&'a NewEvent, &'a str) {
        user_id: Text = event.user_id.as_str(),
        event_type: Text = event.kind.event_type(),
        payload: Jsonb = Json(payload.into()),
        created_at: Timestamptz = event.at,
    }
}

/// Inserts in the order given: ids are drawn in that order.
pub async fn insert(mut conn: &AsyncPgConnection, events: &[NewEvent]) -> Result<(), DbError> {
    let payloads: Result<Vec<String>, _> = events.iter().map(|event| event.kind.payload()).collect();
    let payloads =
        payloads.map_err(|error| DbError::Inconsistent(format!("the payload of an event: {error}")))?;
    let rows = events.iter().zip(payloads.iter().map(String::as_str));
    let inserted =
        pg::sql(pg::once!(Placeholders::default().insert_in_order("webhooks.events", EventColumns::COLUMNS)))
            .bind_rows::<EventColumns>(rows)
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
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM webhooks.events WHERE user_id = $1 ORDER BY id DESC LIMIT $2",
        Event::list("events")
    )))
    .bind::<Text, _>(user_id.as_str())
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?)
}

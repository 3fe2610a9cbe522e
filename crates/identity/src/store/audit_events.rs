//! The table `identity.audit_events`.

use std::sync::LazyLock;

use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Page, TimePlace, UserId};
use pg::{
    DbError,
    columns::{self, Json, Placeholders, Read, Written},
};
use time::OffsetDateTime;

use crate::model::audit_event::{AuditEvent, AuditFilter, StoredAuditEvent};

pg::written_columns! {
    /// New events. The address is a text until the table takes it.
    NewEvent = event: &'a AuditEvent {
        at: Timestamptz = event.at,
        actor: Text = event.actor.to_string(),
        action: Text = event.action.as_str(),
        user_id: Nullable<Text> = event.user_id.as_ref().map(UserId::as_str),
        address: Nullable<Text> = event.origin.address.map(|address| address.to_canonical().to_string()),
        request_id: Nullable<Text> = Some(event.origin.request_id.as_str()).filter(|id| !id.is_empty()),
        details: Jsonb = Json::new(&event.details),
    }
}

pg::read_columns! {
    StoredAuditEvent: { id, at, actor, action, user_id, address = "host({}.address)", request_id, details }
}

struct CountRow {
    count: i64,
}
pg::read_columns! { CountRow: { count } }

/// Inserts events; later ones of the list have the greater ids. Those that name a user who does not exist have no address: an erase
/// does not find them any more (HTTP contract 3.4). The users are kept from being erased until the transaction ends.
pub(crate) async fn insert(mut conn: &AsyncPgConnection, events: &[AuditEvent]) -> Result<(), DbError> {
    let inserted = pg::sql(&INSERT).bind_rows::<NewEvent>(events.iter()).execute(&mut conn).await?;
    DbError::expect_rows("events of the audit log", events.len(), inserted)
}

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let (names, rows) =
        (columns::names(NewEvent::COLUMNS), Placeholders::default().unnest(NewEvent::COLUMNS));
    let known = "CASE WHEN user_id IS NULL OR user_id IN (SELECT known.user_id FROM known) THEN
                 CASE WHEN named IS NULL OR named IN (SELECT known.user_id FROM known) THEN address::inet END END";
    format!(
        "WITH new AS MATERIALIZED (
             SELECT *, substring(actor FROM '^(?:user|admin):(.*)$') COLLATE \"C\" AS named
             FROM {rows} WITH ORDINALITY AS rows ({names}, place)),
         known AS MATERIALIZED (
             SELECT users.user_id FROM identity.users WHERE users.user_id IN (
                 SELECT new.user_id COLLATE \"C\" FROM new WHERE address IS NOT NULL
                 UNION SELECT named FROM new WHERE address IS NOT NULL)
             ORDER BY users.user_id FOR KEY SHARE)
         INSERT INTO identity.audit_events ({names})
         SELECT {} FROM new ORDER BY place",
        names.replace("address", known)
    )
});

/// A page of events, newest first. The narrowest filter names the index whose order is that of the list.
pub(crate) async fn list(
    conn: &mut AsyncPgConnection,
    filter: &AuditFilter,
    page: &Page<TimePlace>,
) -> Result<Vec<StoredAuditEvent>, DbError> {
    let text = match filter {
        AuditFilter { user_id: Some(_), .. } => pg::once!(page_of("user_id = $1")),
        AuditFilter { actor: Some(_), .. } => pg::once!(page_of("actor = $2")),
        AuditFilter { action: Some(_), .. } => pg::once!(page_of("action = $3")),
        _ => pg::once!(page_of("true")),
    };
    let after = page.after();
    Ok(pg::sql(text)
        .bind::<Nullable<Text>, _>(filter.user_id.as_ref().map(UserId::as_str))
        .bind::<Nullable<Text>, _>(filter.actor.as_deref())
        .bind::<Nullable<Text>, _>(filter.action.map(|action| action.as_str()))
        .bind::<Nullable<Timestamptz>, _>(filter.from)
        .bind::<Nullable<Timestamptz>, _>(filter.to)
        .bind::<Nullable<Timestamptz>, _>(after.map(|place| place.at))
        .bind::<Nullable<BigInt>, _>(after.map(|place| place.id))
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(page.offset())
        .load(conn)
        .await?)
}

fn page_of(condition: &str) -> String {
    format!(
        "SELECT {}
FROM identity.audit_events
WHERE {condition}
  AND ($1::text IS NULL OR user_id = $1) AND ($2::text IS NULL OR actor = $2) AND ($3::text IS NULL OR action = $3)
  AND at >= coalesce($4::timestamptz, '-infinity') AND at <= coalesce($5::timestamptz, 'infinity')
  AND (at, id) < (coalesce($6::timestamptz, 'infinity'), coalesce($7::bigint, 0))
ORDER BY at DESC, id DESC LIMIT $8 OFFSET $9",
        StoredAuditEvent::list("audit_events")
    )
}

pub(crate) async fn prune(
    conn: &mut AsyncPgConnection,
    pinned: Option<OffsetDateTime>,
    micros: i64,
    rows_max: i64,
) -> Result<i64, DbError> {
    let row: CountRow = pg::sql(
        "SELECT identity.prune_audit_events( \
           coalesce($1, clock_timestamp()) - $2 * interval '1 microsecond', $3) AS count",
    )
    .bind::<Nullable<Timestamptz>, _>(pinned)
    .bind::<BigInt, _>(micros)
    .bind::<BigInt, _>(rows_max)
    .get_result(conn)
    .await?;
    Ok(row.count)
}

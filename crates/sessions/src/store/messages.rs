//! The table `sessions.messages`.

use std::sync::LazyLock;

use diesel::{
    OptionalExtension, deserialize,
    sql_types::{Array, BigInt, Bool, Double, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Found, FreeForm, Page, UserId, page::PAGE_BYTES_MAX};
use pg::{
    DbError,
    columns::{FromColumn, Json, JsonText, Placeholders, Read, Written, get},
};
use uuid::Uuid;

use crate::{
    ImportanceScore, Message, MessageFilter, MessageStatus, NewMessage, Role, Session, rules::MessagePosition,
};

pg::word_columns!(MessageStatus, Role);

pg::read_columns! {
    Message: {
        id, message_id, session_id, user_id, seq, message_type, role, content, tool_call_id, message_metadata, tokens_used, cost_usd,
        is_summary_candidate, importance_score, status, created_at, updated_at
    } also { tool_calls } made |row| {
        tool_calls: get::<Option<JsonText>>(row, "tool_calls")?.map(|json| FreeForm::stored(json.0)),
    }
}

pg::written_columns! {
    NewRow = (message, place): (&'a NewMessage, &'a MessagePosition) {
        user_id: Text = place.user_id.as_str(),
        session_id: SqlUuid = message.session_id,
        seq: BigInt = place.seq,
        message_id: SqlUuid = message.message_id,
        message_type: Text = message.message_type.as_str(),
        role: Text = message.role.as_str(),
        content: Text = message.content.as_str(),
        tool_calls: Nullable<Jsonb> = message.tool_calls.as_ref().map(Json::new),
        tool_call_id: Nullable<Text> = message.tool_call_id.as_deref(),
        message_metadata: Jsonb = Json::new(&message.message_metadata),
        tokens_used: BigInt = message.tokens_used,
        cost_usd: BigInt = message.cost_usd.nano(),
        is_summary_candidate: Bool = message.is_summary_candidate,
        importance_score: Double = message.importance_score.get(),
        status: Text = message.status.as_str(),
        created_at: Timestamptz = place.at,
        updated_at: Timestamptz = place.at,
    }
}

/// A message on a page that was measured.
struct PageRow {
    message: Message,
    /// Number of rows found for the page, those that were too large for it included.
    found: i64,
}
pg::read_columns! { PageRow: { found } with { message: Message } }

struct ShownRow {
    value: FreeForm,
}
pg::read_columns! { ShownRow: { value } }

impl FromColumn for ImportanceScore {
    type Sql = Double;
    type Plain = f64;

    fn from_plain(score: f64) -> deserialize::Result<Self> {
        Ok(Self::try_from(score)?)
    }
}

/// Adds messages at their places; the answer is in no particular order.
///
/// The shared connection lets it be pipelined.
pub(crate) async fn insert(
    mut conn: &AsyncPgConnection,
    new: &[(&NewMessage, &MessagePosition)],
) -> Result<Vec<Message>, DbError> {
    let rows: Vec<Message> =
        pg::sql(&INSERT).bind_rows::<NewRow>(new.iter().copied()).load(&mut conn).await?;
    DbError::expect_rows("insertion of messages", new.len(), rows.len())?;
    Ok(rows)
}

/// The message of a user with this public id.
pub(crate) async fn find(
    conn: &mut AsyncPgConnection,
    user: &UserId,
    message_id: Uuid,
) -> Result<Option<Message>, DbError> {
    Ok(pg::sql(pg::once!(format!(
        "SELECT {} FROM sessions.messages WHERE user_id = $1 AND message_id = $2",
        Message::list("messages")
    )))
    .bind::<Text, _>(user.as_str())
    .bind::<SqlUuid, _>(message_id)
    .get_result(conn)
    .await
    .optional()?)
}

/// JSON objects and arrays as their columns show them: the database chooses order and spacing of members.
pub(crate) async fn as_columns_show(
    conn: &mut AsyncPgConnection,
    values: &[&FreeForm],
) -> Result<Vec<FreeForm>, DbError> {
    let rows: Vec<ShownRow> = pg::sql(
        "SELECT value FROM unnest($1::jsonb[]) WITH ORDINALITY AS given (value, place) ORDER BY place",
    )
    .bind::<Array<Jsonb>, _>(values.iter().map(|value| Json::new(value)).collect::<Vec<_>>())
    .load(conn)
    .await?;
    DbError::expect_rows("reading of JSON values", values.len(), rows.len())?;
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// One page of the messages of a session, oldest first, as far as their bytes fit, and how many there were.
///
/// The innermost part reads the rows of the page by the primary key, the next adds up what they measure, the outermost
/// sends those that fit: their large values are fetched only then. The plan is made without the values
/// (docs/adr/0008). A bare `($4 IS NULL OR ...)` would count as rare, and the planner would sort the few rows it expects
/// instead of walking the index until the page is full; a CASE it takes for even.
pub(crate) async fn list(
    conn: &mut AsyncPgConnection,
    session: &Session,
    filter: MessageFilter,
    page: &Page<i64>,
) -> Result<Found<Message>, DbError> {
    let (after, skip) = match (page.after(), filter.role) {
        (Some(seq), _) => (*seq, 0),
        // seq has no gap and begins with 1: skipping n messages is beginning behind seq n, and costs nothing.
        (None, None) => (page.offset(), 0),
        (None, Some(_)) => (0, page.offset()),
    };
    let rows: Vec<PageRow> = pg::sql(&LIST)
        .bind::<Text, _>(session.user_id.as_str())
        .bind::<SqlUuid, _>(session.session_id)
        .bind::<BigInt, _>(after)
        .bind::<Nullable<Text>, _>(filter.role.map(Role::as_str))
        .bind::<BigInt, _>(page.rows())
        .bind::<BigInt, _>(skip)
        .bind::<BigInt, _>(page.limit())
        .bind::<BigInt, _>(PAGE_BYTES_MAX)
        .load(conn)
        .await?;
    let found = rows.as_slice().first().map_or(0, |row| row.found);
    Ok(Found { items: rows.into_iter().map(|row| row.message).collect(), rows: found })
}

pub(super) static LIST: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT {}
FROM (
    SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, sum(size_bytes) OVER walk AS bytes
    FROM (
        SELECT * FROM sessions.messages
        WHERE user_id = $1 AND session_id = $2 AND seq > $3 AND CASE WHEN $4::text IS NULL THEN true ELSE role = $4 END
        ORDER BY seq LIMIT $5 OFFSET $6
    ) AS page
    WINDOW walk AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
) AS measured
WHERE nth = 1 OR (nth <= $7 AND bytes <= $8) ORDER BY seq",
        PageRow::list("measured")
    )
});

/// In order, so that the generated ids rise with seq.
pub(super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let messages = Placeholders::default().insert_in_order("sessions.messages", NewRow::COLUMNS);
    format!("{messages} RETURNING {}", Message::list("messages"))
});

//! The table `sessions.messages`.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use kernel::{Found, FreeForm, Page, Usd, page::PAGE_BYTES_MAX};
use pg::DbError;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ImportanceScore, Message, MessageFilter, NewMessage, Role, Session, rules::Place};

/// What a [`Row`] is loaded from. JSON travels as text, so that no number becomes a float on the way.
macro_rules! columns {
    () => {
        "id, message_id, session_id, user_id, seq, message_type, role, content, tool_calls::text AS tool_calls, \
         tool_call_id, message_metadata::text AS message_metadata, tokens_used, cost_usd, is_summary_candidate, \
         importance_score, status, created_at, updated_at"
    };
}

/// A message on a page that was measured.
#[derive(QueryableByName)]
struct PageRow {
    #[diesel(embed)]
    message: Row,
    /// How many rows were found for the page, those that were too large for it included.
    #[diesel(sql_type = BigInt)]
    found: i64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = SqlUuid)]
    message_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    session_id: Uuid,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Text)]
    message_type: String,
    #[diesel(sql_type = Text)]
    role: String,
    #[diesel(sql_type = Text)]
    content: String,
    #[diesel(sql_type = Nullable<Text>)]
    tool_calls: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    tool_call_id: Option<String>,
    #[diesel(sql_type = Text)]
    message_metadata: String,
    #[diesel(sql_type = BigInt)]
    tokens_used: i64,
    #[diesel(sql_type = BigInt)]
    cost_usd: i64,
    #[diesel(sql_type = Bool)]
    is_summary_candidate: bool,
    #[diesel(sql_type = Double)]
    importance_score: f64,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: OffsetDateTime,
    #[diesel(sql_type = Timestamptz)]
    updated_at: OffsetDateTime,
}

/// Adds messages at their places; the answer is in no particular order.
///
/// The shared connection lets it be pipelined.
pub(crate) async fn insert(
    mut conn: &AsyncPgConnection,
    new: &[(&NewMessage, &Place)],
) -> Result<Vec<Message>, DbError> {
    // Sorted by ordinality, so that the generated ids rise with seq.
    let rows: Vec<Row> = pg::sql(concat!(
        "INSERT INTO sessions.messages (user_id, session_id, seq, message_id, message_type, role, content, \
             tool_calls, tool_call_id, message_metadata, tokens_used, cost_usd, is_summary_candidate, \
             importance_score, created_at, updated_at) \
         SELECT new.user_id, new.session_id, new.seq, new.message_id, new.message_type, new.role, new.content, \
             new.tool_calls::jsonb, new.tool_call_id, new.message_metadata::jsonb, new.tokens_used, new.cost_usd, \
             new.is_summary_candidate, new.importance_score, new.at, new.at \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) WITH ORDINALITY \
             AS new (user_id, session_id, seq, message_id, message_type, role, content, tool_calls, tool_call_id, \
                 message_metadata, tokens_used, cost_usd, is_summary_candidate, importance_score, at, ordinality) \
         ORDER BY new.ordinality RETURNING ",
        columns!()
    ))
    .bind::<Array<Text>, _>(column(new, |_, place| place.user_id.as_str()))
    .bind::<Array<SqlUuid>, _>(column(new, |message, _| message.session_id))
    .bind::<Array<BigInt>, _>(column(new, |_, place| place.seq))
    .bind::<Array<SqlUuid>, _>(column(new, |message, _| message.message_id))
    .bind::<Array<Text>, _>(column(new, |message, _| message.message_type.as_str()))
    .bind::<Array<Text>, _>(column(new, |message, _| message.role.as_str()))
    .bind::<Array<Text>, _>(column(new, |message, _| message.content.as_str()))
    .bind::<Array<Nullable<Text>>, _>(column(new, |message, _| {
        message.tool_calls.as_ref().map(FreeForm::as_json)
    }))
    .bind::<Array<Nullable<Text>>, _>(column(new, |message, _| message.tool_call_id.as_deref()))
    .bind::<Array<Text>, _>(column(new, |message, _| message.message_metadata.as_json()))
    .bind::<Array<BigInt>, _>(column(new, |message, _| message.tokens_used))
    .bind::<Array<BigInt>, _>(column(new, |message, _| message.cost_usd.nano()))
    .bind::<Array<Bool>, _>(column(new, |message, _| message.is_summary_candidate))
    .bind::<Array<Double>, _>(column(new, |message, _| message.importance_score.get()))
    .bind::<Array<Timestamptz>, _>(column(new, |_, place| place.at))
    .load(&mut conn)
    .await?;
    DbError::expect_rows("insertion of messages", new.len(), rows.len())?;
    rows.into_iter().map(Row::into_message).collect()
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
    let rows: Vec<PageRow> = pg::sql(concat!(
        "SELECT ",
        columns!(),
        ", found FROM ( \
             SELECT page.*, count(*) OVER () AS found, row_number() OVER walk AS nth, \
                 sum(size_bytes) OVER walk AS bytes \
             FROM ( \
                 SELECT * FROM sessions.messages \
                 WHERE user_id = $1 AND session_id = $2 AND seq > $3 AND CASE WHEN $4::text IS NULL THEN true ELSE role = $4 END \
                 ORDER BY seq LIMIT $5 OFFSET $6 \
             ) AS page \
             WINDOW walk AS (ORDER BY seq ROWS UNBOUNDED PRECEDING) \
         ) AS measured \
         WHERE nth = 1 OR (nth <= $7 AND bytes <= $8) ORDER BY seq"
    ))
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
    let items = rows.into_iter().map(|row| row.message.into_message());
    Ok(Found { items: items.collect::<Result<_, _>>()?, rows: found })
}

fn column<'a, T>(
    new: &[(&'a NewMessage, &'a Place)],
    value: impl Fn(&'a NewMessage, &'a Place) -> T,
) -> Vec<T> {
    new.iter().map(|(message, place)| value(message, place)).collect()
}

impl Row {
    fn into_message(self) -> Result<Message, DbError> {
        let id = self.message_id;
        let wrong = |column| super::inconsistent("message", &id, column);
        Ok(Message {
            id: self.id,
            message_id: self.message_id,
            session_id: self.session_id,
            user_id: super::user_id(&self.user_id, "message", &id)?,
            seq: self.seq,
            message_type: self.message_type,
            role: self.role.parse().map_err(|_| wrong("role"))?,
            content: self.content,
            tool_calls: self.tool_calls.map(FreeForm::stored),
            tool_call_id: self.tool_call_id,
            message_metadata: FreeForm::stored(self.message_metadata),
            tokens_used: self.tokens_used,
            cost_usd: Usd::from_nano(self.cost_usd),
            is_summary_candidate: self.is_summary_candidate,
            importance_score: ImportanceScore::try_from(self.importance_score)
                .map_err(|_| wrong("importance_score"))?,
            status: self.status.parse().map_err(|_| wrong("status"))?,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

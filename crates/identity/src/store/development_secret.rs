//! The table `identity.development_secret`.

use diesel::{
    OptionalExtension, QueryableByName,
    sql_types::{Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;
use time::OffsetDateTime;

/// The secret, if one was made.
pub(crate) async fn find(conn: &mut AsyncPgConnection) -> Result<Option<String>, DbError> {
    let row: Option<SecretRow> =
        pg::sql("SELECT secret FROM identity.development_secret").get_result(conn).await.optional()?;
    Ok(row.map(|row| row.secret))
}

/// Makes a secret unless there is one.
///
/// The server draws it, because servers that log statements log their parameters too. Each UUID has 122 bits from the
/// server's cryptographic generator.
pub(crate) async fn insert_unless_there(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
) -> Result<(), DbError> {
    pg::sql(
        "INSERT INTO identity.development_secret (secret, created_at) \
         VALUES (encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex'), $1) \
         ON CONFLICT DO NOTHING",
    )
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(QueryableByName)]
struct SecretRow {
    #[diesel(sql_type = Text)]
    secret: String,
}

//! Writing `usage.model_aliases`.

use diesel::{
    QueryableByName,
    sql_types::{Array, BigInt, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::DbError;
use time::OffsetDateTime;

use crate::core::seeds::Alias;

/// Which of these can be inserted, as places: the name has no alias, what it means has a price, and there would be no chain
/// with an alias that exists.
pub(crate) async fn unknown(conn: &mut AsyncPgConnection, aliases: &[Alias]) -> Result<Vec<usize>, DbError> {
    let rows: Vec<PlaceRow> = pg::sql(UNKNOWN)
        .bind::<Array<Text>, _>(column(aliases, |one| one.name.0.as_str()))
        .bind::<Array<Text>, _>(column(aliases, |one| one.name.1.as_str()))
        .bind::<Array<Text>, _>(column(aliases, |one| one.meant.0.as_str()))
        .bind::<Array<Text>, _>(column(aliases, |one| one.meant.1.as_str()))
        .load(conn)
        .await?;
    let place = |row: PlaceRow| usize::try_from(row.place).ok();
    Ok(rows.into_iter().filter_map(place).collect())
}

/// Inserts aliases.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    aliases: &[&Alias],
) -> Result<(), DbError> {
    let inserted = pg::sql(INSERT)
        .bind::<Timestamptz, _>(now)
        .bind::<Array<Text>, _>(column(aliases, |one| one.name.0.as_str()))
        .bind::<Array<Text>, _>(column(aliases, |one| one.name.1.as_str()))
        .bind::<Array<Text>, _>(column(aliases, |one| one.meant.0.as_str()))
        .bind::<Array<Text>, _>(column(aliases, |one| one.meant.1.as_str()))
        .bind::<Array<Text>, _>(column(aliases, |one| one.source.as_str()))
        .execute(conn)
        .await?;
    DbError::expect_rows("insert aliases of models", aliases.len(), inserted)
}

const UNKNOWN: &str = "
SELECT given.place - 1 AS place
FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS given (provider, model, to_provider, to_model, place)
WHERE NOT EXISTS (
    SELECT FROM usage.model_aliases AS alias
    WHERE (alias.provider, alias.model) IN ((given.provider, given.model), (given.to_provider, given.to_model))
       OR (alias.to_provider, alias.to_model) = (given.provider, given.model))
  AND EXISTS (
    SELECT FROM usage.prices AS price
    WHERE price.provider = given.to_provider AND price.model = given.to_model)
ORDER BY place";

const INSERT: &str = "
INSERT INTO usage.model_aliases (created_at, provider, model, to_provider, to_model, source)
SELECT $1, given.* FROM unnest($2, $3, $4, $5, $6) AS given";

#[derive(QueryableByName)]
struct PlaceRow {
    #[diesel(sql_type = BigInt)]
    place: i64,
}

fn column<'a, S, T>(rows: &'a [S], value: impl FnMut(&'a S) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

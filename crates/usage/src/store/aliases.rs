//! Writing `usage.model_aliases`.

use std::sync::LazyLock;

use diesel::sql_types::{Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use pg::{
    DbError,
    columns::{self, Placeholders, Written},
};
use time::OffsetDateTime;

use super::places;
use crate::core::seeds::Alias;

/// Those of these that can be inserted, as indexes: the name has no alias, what it means has a price, and there would be no chain
/// with an alias that exists.
pub(crate) async fn unknown(conn: &mut AsyncPgConnection, aliases: &[Alias]) -> Result<Vec<usize>, DbError> {
    places(conn, pg::sql(&UNKNOWN).bind_rows::<NewAlias>(aliases.iter())).await
}

/// Inserts aliases.
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    now: OffsetDateTime,
    aliases: &[&Alias],
) -> Result<(), DbError> {
    let inserted = pg::sql(&INSERT)
        .bind::<Timestamptz, _>(now)
        .bind_rows::<NewAlias>(aliases.iter().copied())
        .execute(conn)
        .await?;
    DbError::expect_rows("insert aliases of models", aliases.len(), inserted)
}

pg::written_columns! {
    /// An alias. Its columns in the table come after the instant of writing.
    NewAlias = alias: &'a Alias {
        provider: Text = alias.name.0.as_str(),
        model: Text = alias.name.1.as_str(),
        to_provider: Text = alias.meant.0.as_str(),
        to_model: Text = alias.meant.1.as_str(),
        source: Text = alias.source.as_str(),
    }
}

static UNKNOWN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "
SELECT given.place - 1 AS place
FROM {} WITH ORDINALITY AS given (provider, model, to_provider, to_model, source, place)
WHERE NOT EXISTS (
    SELECT FROM usage.model_aliases AS alias
    WHERE (alias.provider, alias.model) IN ((given.provider, given.model), (given.to_provider, given.to_model))
       OR (alias.to_provider, alias.to_model) = (given.provider, given.model))
  AND EXISTS (
    SELECT FROM usage.prices AS price
    WHERE price.provider = given.to_provider AND price.model = given.to_model)
ORDER BY place",
        Placeholders::default().unnest(NewAlias::COLUMNS)
    )
});

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let mut given = Placeholders::default();
    let (now, names) = (given.one(), columns::names(NewAlias::COLUMNS));
    let rows = given.unnest(NewAlias::COLUMNS);
    format!(
        "INSERT INTO usage.model_aliases (created_at, {names}) SELECT {now}, given.* FROM {rows} AS given"
    )
});
